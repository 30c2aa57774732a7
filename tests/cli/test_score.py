"""`lvlm-saliency score`: tables, JSON, statuses and one-line errors, on invented files."""

from __future__ import annotations

import json
import time

import pytest

from lvlm_saliency.cli import main

SYNONYMS = "person, man, people\ndog, puppy\ndining table, table\n"


@pytest.fixture
def chair_files(tmp_path):
    """Two systems on four images; the first sees a table that is not there."""
    (tmp_path / "synonyms.txt").write_text(SYNONYMS)
    (tmp_path / "objects.json").write_text(json.dumps({str(n): ["dog"] for n in range(4)}))
    for name, words in (("a.jsonl", "A dog on a table."), ("b.jsonl", "A dog.")):
        rows = [{"image_id": n, "caption": words if n else "A dog."} for n in range(4)]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def run(capsys):
    """`run("pope", ...)` -> exit status, stdout, stderr."""

    def call(*arguments):
        status = main(["score", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def chair(run, chair_files):
    def call(*arguments):
        data = ["--synonyms", chair_files / "synonyms.txt"]
        if "--instances" not in arguments:
            data += ["--objects", chair_files / "objects.json"]
        return run("chair", *[chair_files / a if str(a).endswith(".jsonl") else a for a in arguments], *data)

    return call


def test_a_table_says_what_it_is(chair):
    status, out, err = chair("a.jsonl", "b.jsonl")
    assert (status, err) == (0, "")
    assert "75.0" in out
    assert "3/7" in out  # raw mentions
    assert "b.jsonl" in out
    assert "variant official" in out
    assert "95 % percentile bootstrap over images, 2000 resamples, seed 0" in out


def test_json_is_the_result(chair):
    status, out, _ = chair("a.jsonl", "--json")
    result = json.loads(out)
    assert status == 0
    assert result["CHAIR_s"] == 0.75
    assert result["hallucinated_mentions"] == 3
    assert len(result["intervals"]["CHAIR_s"]) == 2
    assert result["bootstrap"]["seed"] == 0
    assert "per_caption" not in result
    _, out, _ = chair("a.jsonl", "b.jsonl", "--json", "--per-item", "--resamples", 0)
    first, second = json.loads(out)
    assert len(first["per_caption"]) == 4
    assert second["CHAIR_i"] == 0.0
    assert second["intervals"]["CHAIR_i"] == [None, None]


def test_versus(chair):
    status, out, _ = chair("a.jsonl", "--versus", "b.jsonl")
    assert status == 0
    assert "paired" in out
    assert "+75.0" in out
    _, out, _ = chair("a.jsonl", "--versus", "b.jsonl", "--json")
    figure = json.loads(out)["versus"]["figures"]["CHAIR_s"]
    assert figure["difference"] == 0.75
    assert 0 <= figure["interval"][0] <= 0.75 <= figure["interval"][1] <= 1


def test_errors_are_one_line_and_skips_are_told(chair, chair_files):
    with (chair_files / "a.jsonl").open("a") as file:
        file.write('{"image_id": 77, "caption": "A dog."}\n')
    status, out, err = chair("a.jsonl")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "a.jsonl:5: image 77" in err
    status, out, _ = chair("a.jsonl", "--skip-errors")
    assert status == 0
    assert "skipped 1 (unknown image)" in out


def test_ground_truth_from_coco(chair, chair_files):
    instances = {
        "annotations": [{"image_id": n, "category_id": 18} for n in range(4)],
        "categories": [{"id": 18, "name": "dog"}],
    }
    references = {"annotations": [{"image_id": 1, "caption": "A puppy under the table."}]}
    (chair_files / "instances.json").write_text(json.dumps(instances))
    (chair_files / "captions.json").write_text(json.dumps(references))
    coco = ["--instances", chair_files / "instances.json", "--references", chair_files / "captions.json"]
    status, out, _ = chair("a.jsonl", *coco, "--json")
    assert status == 0
    assert json.loads(out)["hallucinated_mentions"] == 2  # image 1's table is in a reference
    status, _, err = chair("a.jsonl", *coco[:2])
    assert status == 2
    assert "give the ground truth once" in err


def test_the_lemmatizer_says_what_is_missing(chair, monkeypatch):
    from lvlm_saliency.benchmarks import nltk_tools

    monkeypatch.setitem(__import__("sys").modules, "nltk", None)
    nltk_tools._nltk.cache_clear()
    status, _, err = chair("a.jsonl", "--variant", "lemmatizer")
    nltk_tools._nltk.cache_clear()
    assert status == 2
    assert "pip install 'lvlm-saliency[chair]'" in err
    assert err.count("\n") == 1


@pytest.fixture
def pope_files(tmp_path):
    labels, said = ["yes", "yes", "no", "no"], ["Yes", "no", "No.", "nope"]
    questions = [
        {"question_id": n, "image": f"{n}.jpg", "text": f"Thing {n}?", "label": label} for n, label in enumerate(labels)
    ]
    answers = [{"question_id": n, "question": f"Thing {n}?", "answer": word} for n, word in enumerate(said)]
    for name, rows in (("q.json", questions), ("a.json", answers), ("shuffled.json", answers[::-1])):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_pope(run, pope_files):
    ask = ["--questions", pope_files / "q.json"]
    status, out, _ = run("pope", pope_files / "a.json", *ask, "--json")
    result = json.loads(out)
    assert (status, result["tp"], result["fp"], result["tn"], result["fn"]) == (0, 1, 1, 1, 1)
    status, _, err = run("pope", pope_files / "shuffled.json", *ask)
    assert status == 2
    assert "shuffled.json:1: answers question 3 where question 0 is asked" in err
    by_id = run("pope", pope_files / "shuffled.json", *ask, "--pairing", "id", "--json")[1]
    assert json.loads(by_id)["accuracy"] == result["accuracy"]
    _, out, _ = run("pope", pope_files / "a.json", *ask, "--parser", "vcd", "--versus", pope_files / "a.json")
    assert "parser vcd" in out
    assert "+0.0" in out


def test_mme(run, tmp_path):
    line = "1.jpg\tq\tYes\tyes\n1.jpg\tq\tNo\tno\n"
    for name in ("count", "color"):
        (tmp_path / f"{name}.txt").write_text(line)
    status, out, _ = run("mme", tmp_path, "--task", "count", "--task", "color", "--versus", tmp_path)
    assert status == 0
    assert "200.00" in out
    status, _, err = run("mme", tmp_path)
    assert status == 2
    assert "existence.txt: the task's file is missing" in err
    _, out, _ = run("mme", tmp_path, "--skip-errors", "--json")
    result = json.loads(out)
    assert result["perception"] is None
    assert result["skipped"] == {"missing_task": 12}


@pytest.fixture
def amber_files(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    annotations = [
        {"id": 1, "type": "discriminative-hallucination", "truth": "no"},
        {"id": 2, "type": "relation", "truth": "no"},
        {"id": 3, "type": "generative", "truth": ["dog"], "hallu": ["cat"]},
    ]
    (data / "annotations.json").write_text(json.dumps(annotations))
    (data / "relation.json").write_text('{"dog": []}')
    (data / "safe_words.txt").write_text("light")
    (data / "query.json").write_text(json.dumps([{"id": n, "image": "AMBER_1.jpg"} for n in (1, 2)]))
    (tmp_path / "yes_no.json").write_text('[{"id": 1, "response": "No"}, {"id": 2, "response": "Yes"}]')
    (tmp_path / "words.json").write_text('[{"id": 3, "response": "A dog."}]')
    return tmp_path


def test_amber(run, amber_files):
    data = ["--data", amber_files / "data"]
    status, out, _ = run("amber", amber_files / "yes_no.json", *data, "--versus", amber_files / "yes_no.json")
    assert status == 0
    assert "bootstrap over questions" in out
    assert "existence" in out
    _, out, _ = run(
        "amber", amber_files / "yes_no.json", *data, "--queries", amber_files / "data" / "query.json", "--json"
    )
    result = json.loads(out)
    assert result["bootstrap"]["unit"] == "image"
    assert result["accuracy"] == 0.5
    status, _, err = run("amber", amber_files / "words.json", *data, "--similarity", amber_files / "none.json")
    assert status == 2
    assert "none.json: cannot be read" in err


@pytest.fixture
def judged_files(tmp_path):
    """`judged_files(name)`: arguments of that score command, on small files."""
    rating = {"score": [0.5], "content": ["0.5"]}
    entry = {
        "category": "VD",
        "subcategory": "map",
        "set_id": "0",
        "figure_id": "0",
        "question_id": "0",
        "visual_input": "1",
        "gt_answer": "1",
        "correctness_reply": "correct",
        "same_reply": "same",
    }
    people = [{"answer": "cup"}] * 10
    values = {
        "llava-bench": ([{"category": "conv", "content": "8 4\n[red]fine[/red]"}], {}),
        "mm-vet": ({"v1_0": rating}, {"--metadata": {"v1_0": {"imagename": "a.png", "capability": ["ocr"]}}}),
        "vizwiz": ([{"image": "a.jpg", "answer": "cup"}], {"--annotations": [{"image": "a.jpg", "answers": people}]}),
        "scienceqa": (
            [{"question_id": "1", "prompt": "<image>", "text": "A"}],
            {"--problems": {"1": {"choices": ["x", "y"], "answer": 0}}, "--splits": {"test": ["1"]}},
        ),
        "hallusionbench": ([entry], {}),
        "mmhal-bench": (["Rating: 4"] * 8, {}),
        "mmvp": (["yes", "yes"], {"--answers": [{"question_id": n, "answer": "(a)"} for n in (1, 2)]}),
    }

    def made(name):
        judged, options = values[name]
        arguments = [name]
        for option, value in [("file", judged), *options.items()]:
            path = tmp_path / f"{option.strip('-')}.json"
            path.write_text(json.dumps(value))
            arguments += [path] if option == "file" else [option, path]
        return arguments

    return made


@pytest.mark.parametrize(
    ("name", "figure", "value"),
    [
        ("llava-bench", "relative", 50.0),
        ("mm-vet", "total", 50.0),
        ("vizwiz", "accuracy", 100.0),
        ("scienceqa", "image_accuracy", 100.0),
        ("hallusionbench", "qAcc", 100.0),
        ("mmhal-bench", "average_score", 4.0),
        ("mmvp", "pair_accuracy", 1.0),
    ],
)
def test_judged_benchmarks(run, judged_files, name, figure, value):
    arguments = judged_files(name)
    status, out, _ = run(*arguments, "--json", "--resamples", "40")
    assert status == 0
    result = json.loads(out)
    assert result[figure] == value
    assert not any(key.startswith("per_") and isinstance(value, list) for key, value in result.items())
    status, out, err = run(*arguments, "--versus", arguments[1], "--resamples", "40")
    assert (status, err) == (0, "")
    assert f"{value * (100 if name == 'mmvp' else 1):.1f}" in out
    assert "minus" in out
    arguments[1].write_text("[1]")
    status, _, err = run(*arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_an_unknown_split_is_told_of_the_nearest(run, judged_files):
    status, _, err = run(*judged_files("scienceqa"), "--split", "tset")
    assert status == 2
    assert "did you mean 'test'" in err


JUDGED = ["llava-bench", "mm-vet", "vizwiz", "scienceqa", "hallusionbench", "mmhal-bench", "mmvp"]


@pytest.mark.parametrize("name", ["chair", "pope", "mme", "amber", *JUDGED])
def test_help_has_examples_and_is_quick(name, run):
    started = time.perf_counter()
    status, out, _ = run(name, "--help")
    assert status == 0
    assert f"lvlm-saliency score {name}" in out
    assert time.perf_counter() - started < 0.3


def test_bad_usage(run, tmp_path):
    for arguments in (["pope"], ["chair", tmp_path / "none.jsonl"], ["mme", tmp_path, "--level", "2"], ["nonsense"]):
        status, _, err = run(*arguments)
        assert status == 2
        assert err.startswith("error: ")
        assert err.count("\n") == 1
