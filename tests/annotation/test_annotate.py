"""`annotate`: rows are what the Python face says, and bad input is one line."""

from __future__ import annotations

import dataclasses
import json

import pytest

import lvlm_saliency as ls
from lvlm_saliency.annotation import Annotator, annotate, read_items
from lvlm_saliency.cli import main
from lvlm_saliency.errors import ImageError, PromptError
from lvlm_saliency.risk.model import SHIPPED, RiskModel

from .runs import TEXTS, lines, run, settings


def test_rows_say_what_the_python_face_says(folder, loaded, whole):
    summary, out = whole
    rows = lines(out / "rows.jsonl")
    assert (summary["items"], summary["rows"], summary["skipped"]) == (5, len(rows), 0)
    named = {(row["id"], row["name"], row["occurrence"]) for row in rows}
    assert named == {
        ("t0", "dog", 1), ("t0", "bed", 1), ("t0", "dog", 2), ("t1", "clock", 1), ("t3", "cat", 1),
        ("t3", "chair", 1), ("t4", "cup", 1), ("t4", "bed", 1),
    }  # fmt: skip
    assert [row["negated"] for row in rows if row["item"] == 3] == [False, True]
    model, processor = loaded
    risk = RiskModel.load(SHIPPED)
    for item in read_items(folder / "in.jsonl"):
        own = [row for row in rows if row["item"] == item.index]
        if not item.answer:
            assert own == []
            continue
        picture = ls.open_image(item.images[0])
        inputs = ls.build_inputs(processor, [picture], item.prompt, model=model)
        ids = processor.tokenizer(item.answer, add_special_tokens=False, return_tensors="pt")["input_ids"]
        sequences = __import__("torch").cat([inputs["input_ids"], ids], 1)
        trace = ls.trace(model, inputs, sequences)
        reading = ls.reading(model, inputs, sequences, ["svar", "nll"], processor=processor, images=[[picture]])[0]
        for row in own:
            assert item.answer[row["start"] : row["end"]] == row["word"]
            at, word = row["first_token"], ls.Mention(row["first_token"], row["end_token"], row["name"])
            assert row["image"] == f"{item.index}.png"
            assert row["risk"] == pytest.approx(risk.predict(trace)[0, at].item(), rel=1e-3, abs=1e-4)
            assert row["logprob"] == pytest.approx(trace.logprobs[0, at].item(), rel=1e-3, abs=1e-4)
            assert row["saliency"]["image"] == pytest.approx(trace.scores("image")[0, at].item(), rel=1e-3)
            for name in ("svar", "nll"):
                risks = ls.detector(name).score(reading, word)
                assert row["detectors"][name] == pytest.approx(risks, rel=1e-3, abs=1e-4)


def test_a_row_for_every_token_and_for_every_word(folder, loaded, tmp_path):
    run(folder, tmp_path / "tokens", loaded, per="token", detectors=["nll"])
    rows = lines(tmp_path / "tokens" / "rows.jsonl")
    for item in read_items(folder / "in.jsonl"):
        own = [row for row in rows if row["item"] == item.index]
        assert "".join(row["text"] for row in own) == item.answer
        assert [row["token"] for row in own] == list(range(len(own)))
        assert all(item.answer[row["start"] : row["end"]] == row["text"] for row in own)
        for row in own:
            if any(map(str.isalpha, row["text"])):
                assert row["detectors"]["nll"] == pytest.approx(-row["logprob"], rel=1e-3, abs=1e-4)
            else:
                assert row["detectors"]["nll"] is None
    run(folder, tmp_path / "words", loaded, words="every", detectors=[])
    rows = lines(tmp_path / "words" / "rows.jsonl")
    own = [row for row in rows if row["item"] == 0]
    assert [row["word"] for row in own] == ["There", "is", "a", "dog", "on", "a", "bed", "The", "dog", "is", "brown"]
    assert all(TEXTS[0][row["start"] : row["end"]] == row["word"] for row in own)
    assert [row["risk"] is not None for row in own if row["name"] in ("dog", "bed")] == [True] * 3


def test_the_words_that_the_input_names_are_judged(folder, loaded):
    start = TEXTS[0].index("brown")
    spans = [{"start": start, "end": start + 5, "name": "Colour"}]
    row = {"image": ["0.png", "1.png"], "prompt": "Describe the images.", "text": TEXTS[0], "spans": spans}
    file = folder / "spans.jsonl"
    file.write_text(json.dumps(row) + "\n")
    item = read_items(file)[0]
    assert [path.name for path in item.images] == ["0.png", "1.png"]
    found = Annotator(ls.Chat(*loaded), ["svar"]).annotate([item])[0]
    assert [(one["word"], one["name"], one["image"]) for one in found.rows] == [("brown", "colour", ["0.png", "1.png"])]


def test_what_cannot_be_read_is_left_out_with_its_reason(folder, loaded, tmp_path):
    rows = [json.loads(line) for line in (folder / "in.jsonl").read_text().splitlines()]
    rows[1]["answer"] = "There is a xylophone."
    (folder / "broken.png").write_bytes(b"no picture")
    rows[3]["image"] = "broken.png"
    file = folder / "bad.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = dataclasses.replace(settings(folder, tmp_path / "skip"), input=file, skip_errors=True)
    summary = annotate(chosen, model=loaded[0], processor=loaded[1])
    assert summary["skipped"] == 2
    errors = {line["index"]: line.get("error", "") for line in lines(tmp_path / "skip" / "items.jsonl")}
    assert "xylophone" in errors[1]
    assert "broken.png" in errors[3]
    assert not any(errors[index] for index in (0, 2, 4))
    assert {row["item"] for row in lines(tmp_path / "skip" / "rows.jsonl")} == {0, 4}
    strict = dataclasses.replace(chosen, skip_errors=False)
    with pytest.raises(PromptError, match=r"bad\.jsonl:2: .*xylophone"):
        annotate(dataclasses.replace(strict, out=tmp_path / "raise"), model=loaded[0], processor=loaded[1])
    rows[1]["answer"] = "A cat."
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ImageError, match=r"bad\.jsonl:4: "):
        annotate(dataclasses.replace(strict, out=tmp_path / "more"), model=loaded[0], processor=loaded[1])


GOOD = {"image": "0.png", "prompt": "Describe it.", "answer": "A dog."}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**GOOD, "prompt": " "}, "'prompt' must be text"),
        ({**GOOD, "answer": 3}, "'answer' must be text"),
        ({**GOOD, "image": None}, "'image' must be the name"),
        ({**GOOD, "image": []}, "'image' must be the name"),
        ({**GOOD, "image": "nowhere.png"}, "no picture 'nowhere.png'"),
        ({**GOOD, "id": 1.5}, "'id' must be"),
        ({**GOOD, "spans": [{"start": 2, "end": 50}]}, "whole numbers within"),
        ({**GOOD, "spans": [{"start": 2, "end": 5}, {"start": 4, "end": 6}]}, "overlap"),
        ({**GOOD, "spans": [{"start": 1, "end": 2}]}, "not empty"),
    ],
)
def test_a_line_that_cannot_be_used_is_told_before_a_model_is_loaded(folder, tmp_path, capsys, row, said):
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps(GOOD) + "\n" + json.dumps(row) + "\n")
    status = main(["annotate", "--input", str(file), "--images", str(folder), "--out", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert (status, told.count("\n")) == (2, 1)
    assert f"{file}:2: " in told
    assert said in told


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--detector", "svra"], "did you mean"),
        (["--detector", "probe"], "fitted"),
        (["--words", "nowhere.txt"], "nowhere.txt"),
        (["--risk", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--input", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_settings_that_cannot_be_used(folder, tmp_path, capsys, more, said):
    command = ["annotate", "--input", str(folder / "in.jsonl"), "--out", str(tmp_path / "out"), *more]
    status = main(command)
    told = capsys.readouterr().err
    assert (status, told.count("\n")) == (2, 1)
    assert said in told


def test_the_command(folder, tmp_path, capsys):
    file = tmp_path / "one.jsonl"
    file.write_text((folder / "in.jsonl").read_text().splitlines()[0] + "\n")
    command = ["annotate", "--input", str(file), "--images", str(folder), "--detector", "all"]
    assert main([*command, "--out", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 3
    scores = lines(tmp_path / "out" / "rows.jsonl")[0]["detectors"]
    assert {"nll", "svar", "self-check", "risk", "cgc"} <= set(scores)
    assert "probe" not in scores
