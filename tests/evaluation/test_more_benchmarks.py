"""The benchmarks that a judge or an upload server scores: prompts, questions without a picture, official layouts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lvlm_saliency.benchmarks import mm_vet, scienceqa, vizwiz
from lvlm_saliency.benchmarks.chair.adapter import whole_sentences
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.benchmarks.registry import judging
from lvlm_saliency.benchmarks.scienceqa.adapter import question
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation import Settings, evaluate, report

DATA = Path(__file__).parents[3] / "shared" / "data"
official = pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' own files are not here")
INSUFFICIENT = "\nWhen the provided information is insufficient, respond with 'Unanswerable'."
SHORT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
PLACE = {"subcategory": "figure", "set_id": "0", "sample_note": "", "gt_answer": "1", "gt_answer_details": "It is."}


@pytest.fixture
def files(tmp_path):
    """Every benchmark's files, two or three questions each, as their authors lay them out."""
    for name in ("001.jpg", "a.png", "v.jpg", "VD/f.png", "7/image.png", "1.jpg", "2.jpg", "p_o.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), "white").save(tmp_path / name)

    def lines(name, rows):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def whole(name, value):
        (tmp_path / name).write_text(json.dumps(value))

    lines("questions.jsonl", [{"question_id": 0, "image": "001.jpg", "text": "What is it?", "category": "conv"}])
    lines("context.jsonl", [{"id": "001", "image": "001.jpg", "caption": ["White.", "Paper."]}])
    lines("answers_gpt4.jsonl", [{"question_id": 0, "answer_id": "r", "text": "A sheet."}])
    whole("rule.json", {"llava_bench_conv": {"role": "Assistant", "prompt": "Judge."}})
    vet = {"imagename": "a.png", "question": "x?", "answer": "1", "capability": ["ocr"]}
    whole("mm-vet.json", {"v1_0": vet})
    people = [{"answer": "white"}] * 10
    whole("val.json", [{"image": "v.jpg", "question": "Which colour?", "answers": people}])
    whole("test.json", [{"image": "v.jpg", "question": "Which colour?"}])
    problem = {"task": "", "grade": "grade2", "subject": "natural science", "topic": "t", "answer": 1, "split": "test"}
    seen = {"question": "Which?", "choices": ["red", "white"], "image": "image.png", "hint": ""}
    unseen = {"question": "How  many?", "choices": ["1", "2"], "image": None, "hint": " Count. "}
    whole("problems.json", {"7": {**problem, **seen}, "8": {**problem, **unseen}})
    whole("pid_splits.json", {"test": ["7", "8"]})
    entry = {**PLACE, "figure_id": "0", "question_id": "0", "question": "Is it so?"}
    without = {**entry, "category": "VS", "visual_input": "0", "filename": None}
    whole("HallusionBench.json", [without, {**entry, "category": "VD", "visual_input": "1", "filename": "./VD/f.png"}])
    facts = {"image_src": "https://host/x/p_o.jpg", "image_content": ["Paper"], "gt_answer": "White."}
    whole("response_template.json", [{**facts, "question": "Colour?", "model_answer": ""}])
    with (tmp_path / "Questions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Index", "Question", "Options", "Correct Answer"])
        writer.writerows([[n, "Left or right?", "(a) Left (b) Right", f"({x})"] for n, x in ((1, "a"), (2, "b"))])
    return tmp_path


def opened(name, files, **settings):
    return open_benchmark(name, data=files, images=files, **settings)


def test_prompts_are_these(files):
    """A changed word changes figures that have been published: change these only with a reason."""
    asked = {
        name: [(item.prompt, item.image) for item in opened(name, files).items]
        for name in ("llava-bench", "mm-vet", "vizwiz", "scienceqa", "hallusionbench", "mmhal-bench", "mmvp")
    }
    pair = "Left or right? (a) Left (b) Right"
    assert asked == {
        "llava-bench": [("What is it?", "001.jpg")],
        "mm-vet": [("x?", "a.png")],
        "vizwiz": [("Which colour?" + INSUFFICIENT + SHORT, "v.jpg")],
        "scienceqa": [
            ("Which?\nA. red\nB. white" + LETTER, "7/image.png"),
            ("Context: Count.\nHow many?\nA. 1\nB. 2" + LETTER, ""),
        ],
        "hallusionbench": [("Is it so?", "VD/f.png"), ("Is it so?", "")],
        "mmhal-bench": [("Colour?", "p_o.jpg")],
        "mmvp": [(pair, "1.jpg"), (pair, "2.jpg")],
    }
    for name in ("scienceqa", "hallusionbench"):
        assert len(opened(f"{name}:images_only=true", files).items) == 1


@official
def test_prompts_are_the_official_ones():
    asked = [json.loads(line) for line in (DATA / "vizwiz/llava_test.jsonl").read_text().splitlines()]
    assert all(row["text"].endswith(INSUFFICIENT + SHORT) for row in asked)
    problems = json.loads((DATA / "scienceqa/problems.json").read_text())
    rows = json.loads((DATA / "scienceqa/llava_test_CQM-A_real.json").read_text())
    same = [
        row["conversations"][0]["value"].removeprefix("<image>\n") == question(problems[row["id"]])
        for row in rows
        if row["id"] in problems
    ]
    assert len(same) >= 350
    assert all(same)


@pytest.fixture(scope="module")
def model():
    import lvlm_saliency as ls

    return ls.load_model("scenes")


def run(files, model, *benchmarks, methods=("locore",), **settings):
    places = {"images": files, "data": files}
    shared = {"max_new_tokens": 5, "resamples": 0, **places, **settings}
    chosen = Settings("scenes", benchmarks, files / "run", methods=methods, **shared)
    scores = evaluate(chosen, model=model[0], processor=model[1])
    rows = {
        str(path.relative_to(files / "run/items")): [json.loads(line) for line in path.read_text().splitlines()]
        for path in (files / "run/items").rglob("*.jsonl")
    }
    return scores, rows


def test_questions_without_a_picture_are_answered_by_greedy_decoding_and_say_so(files, model):
    scores, rows = run(files, model, "scienceqa:max_new_tokens=3", batch_size=4)
    assert len(rows) == 3
    plain, texts = {}, set()
    for name, found in rows.items():
        assert len(found) == 2
        assert all(len(row["token_ids"]) <= 3 for row in found)
        seen, unseen = sorted(found, key=lambda row: row["index"])
        assert "plain" not in seen
        plain[name] = unseen.get("plain", False)
        texts.add(unseen["text"])
    assert sorted(plain.values()) == [False, True, True]
    assert len(texts) == 1
    figures = scores["benchmarks"]["scienceqa"]["parts"]["answers"]["greedy"]["figures"]
    written = files / "run/answers/scienceqa/greedy/answers.jsonl"
    problems = json.loads((files / "problems.json").read_text())
    assert figures["image_accuracy"] == scienceqa.score(problems, ["7", "8"], written, "normal")["image_accuracy"]
    assert "scienceqa" in report([files / "run"]).markdown()


def test_answers_stand_in_the_official_layouts_and_a_judge_can_read_them(files, model):
    judged = ("mm-vet", "llava-bench", "hallusionbench", "mmhal-bench", "mmvp")
    names = (*(f"{name}:max_new_tokens=4" for name in judged), "vizwiz:max_new_tokens=4")
    scores, _ = run(files, model, *names, methods=())
    assert scores["benchmarks"]["mm-vet"]["parts"] == {}
    assert report([files / "run"]).markdown().count("Not scored here") == 5
    answers = files / "run/answers"
    for name in judged:
        (written,) = (answers / name / "greedy").iterdir()
        assert judging(name).items(written, files)
    upload = json.loads((answers / "vizwiz/greedy/upload.json").read_text())
    assert [row["image"] for row in upload] == ["v.jpg"]
    text = vizwiz.normalise("A White.", "llava_m4c")
    val = json.loads((files / "val.json").read_text())
    assert vizwiz.score(val, [{"image": "v.jpg", "answer": text}], "llava_m4c")["fraction"] == 1
    assert opened("vizwiz:split=test", files).score({0: "white"}) == {}
    assert mm_vet.score(files / "mm-vet.json", {"v1_0": {"score": [1.0], "content": ["1"]}})["total"] == 100


@pytest.mark.parametrize(
    ("name", "kind", "line"),
    [
        ("vizwiz:split=dev", SettingError, "no split 'dev'"),
        ("vizwiz:variant=x", SettingError, "no VizWiz variant|no variant"),
        ("scienceqa:split=tset", InputError, "did you mean 'test'"),
        ("mm-vet:max_new_tokens=0", SettingError, "max_new_tokens must be a whole number"),
        ("chair:last_sentence=cut", SettingError, "keep or drop"),
    ],
)
def test_a_wrong_setting_is_told(files, name, kind, line):
    with pytest.raises(kind, match=line):
        _ = opened(name, files).items


def test_the_last_sentence_of_a_cut_caption_is_dropped(files):
    (files / "synonyms.txt").write_text("dog\ncat\n")
    (files / "coco_objects.json").write_text(json.dumps({"1": ["dog"], "2": ["dog"], "3": ["dog"]}))
    bench = opened("chair:last_sentence=drop,max_new_tokens=64", files)
    rows = {
        0: {"text": "A dog. A c", "finish": "length"},
        1: {"text": "A dog. A cat", "finish": "stop"},
        2: {"text": "A cat and", "finish": "length"},
    }
    assert bench.texts(rows) == {0: "A dog.", 1: "A dog. A cat", 2: "A cat and"}
    assert bench.described()["last_sentence"] == "drop"
    assert bench.described()["max_new_tokens"] == 64


@given(st.text(alphabet="ab .!?\"'\n", max_size=30))
def test_what_is_kept_is_a_beginning_that_ends_a_sentence(text):
    kept = whole_sentences(text)
    assert text.startswith(kept)
    assert kept == text or kept.rstrip("\"'")[-1] in ".!?"
    assert whole_sentences(kept) == kept
