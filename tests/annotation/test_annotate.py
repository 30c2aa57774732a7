"""`annotate`: rows are what the Python face says, a killed run goes on to the same bytes, bad input is one line."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency.annotation import AnnotateSettings, Annotator, annotate, read_items
from lvlm_saliency.annotation.items import batches
from lvlm_saliency.annotation.ledger import Ledger
from lvlm_saliency.cli import main
from lvlm_saliency.errors import ImageError, InputError, PromptError, SettingError
from lvlm_saliency.evaluation.runner import Silent
from lvlm_saliency.risk.model import SHIPPED, RiskModel
from lvlm_saliency.scenes import demo_scenes, draw_scene

TEXTS = (
    "There is a dog on a bed. The dog is brown.",
    "There is a clock.",
    "",
    "There are two cats and no chair.",
    "There is a cup on the bed.",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures, and texts about them."""
    path = tmp_path_factory.mktemp("texts")
    for number, scene in enumerate(demo_scenes(len(TEXTS))):
        draw_scene(scene).save(path / f"{number}.png")
    rows = [
        {"id": f"t{number}", "image": f"{number}.png", "prompt": "Describe the image.", "answer": text}
        for number, text in enumerate(TEXTS)
    ]
    (path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def loaded():
    return ls.load_model("scenes", device="cpu")


def settings(folder, out, **more):
    chosen = {"words": "scenes", "detectors": ["svar", "nll"], "risk": SHIPPED, "batch_size": 2, **more}
    return AnnotateSettings(input=folder / "in.jsonl", out=out, **chosen)


def run(folder, out, loaded, listener=None, **more):
    return annotate(settings(folder, out, **more), model=loaded[0], processor=loaded[1], listener=listener)


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(folder, loaded, tmp_path_factory):
    """A finished run."""
    out = tmp_path_factory.mktemp("whole") / "out"
    return run(folder, out, loaded), out


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


class Killed(Exception):
    """Stands for a kill."""


class Dying(Silent):
    """Ends the run behind so many batches."""

    def __init__(self, after: int):
        self.left = after

    def begin(self, label, total, done):
        if not self.left:
            raise Killed

    def advance(self, label, count):
        self.left -= 1
        if not self.left:
            raise Killed


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_killed_run_goes_on_to_the_same_bytes(folder, loaded, whole, tmp_path, after):
    out = tmp_path / "out"
    with pytest.raises(Killed):
        run(folder, out, loaded, listener=Dying(after))
    for name in ("rows.jsonl", "items.jsonl"):  # what a kill in the midst of a write leaves
        with (out / name).open("ab") as file:
            file.write(b'{"index": 4, "id"')
    assert run(folder, out, loaded)["rows"] == whole[0]["rows"]
    for name in ("rows.jsonl", "items.jsonl"):
        assert (out / name).read_bytes() == (whole[1] / name).read_bytes()
    before = (out / "rows.jsonl").stat().st_mtime_ns
    run(folder, out, loaded)  # finished: nothing is done again
    assert (out / "rows.jsonl").stat().st_mtime_ns == before


@pytest.mark.slow
def test_kill_9_and_the_same_command_again(folder, whole, tmp_path):
    command = ["annotate", "--input", str(folder / "in.jsonl"), "--detector", "svar", "--detector", "nll"]
    command += ["--batch-size", "2", "--out", str(tmp_path / "out")]
    script = (
        "import os, signal, sys\n"
        "from lvlm_saliency.annotation.ledger import Ledger\n"
        "from lvlm_saliency.cli import main\n"
        "add = Ledger.add\n"
        "def dying(self, found):\n"
        "    add(self, found)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Ledger.add = dying\n"
        "main(sys.argv[1:])\n"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", script, *command], env=os.environ, check=False, timeout=300)
        assert done.returncode == -signal.SIGKILL
    assert main(command) == 0
    for name in ("rows.jsonl", "items.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (whole[1] / name).read_bytes()


@hypothesis.settings(max_examples=25)  # every write is seen on the disk
@given(
    counts=st.lists(st.integers(0, 3), min_size=1, max_size=7),
    together=st.integers(1, 3),
    data=st.data(),
)
def test_the_ledger_survives_a_cut_anywhere(tmp_path_factory, counts, together, data):
    def filled(folder, start=0):
        ledger = Ledger(folder, together, len(counts))
        for batch in batches(len(counts), together):
            if batch.start >= start:
                ledger.add([({"index": at}, [{"item": at, "row": row} for row in range(counts[at])]) for at in batch])
        return ledger

    whole, torn = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("torn")
    filled(whole)
    ledger = filled(torn)
    # A kill leaves a beginning of both files, and the rows of every line of items.
    items = data.draw(st.integers(0, ledger.items.stat().st_size))
    kept = ledger.items.read_bytes()[:items]
    ends = [json.loads(line)["end"] for line in kept.split(b"\n")[:-1]]
    rows = data.draw(st.integers(ends[-1] if ends else 0, ledger.rows.stat().st_size))
    ledger.items.write_bytes(kept)
    ledger.rows.write_bytes(ledger.rows.read_bytes()[:rows])
    done = ledger.mend()
    assert done % together == 0 or done == len(counts)
    filled(torn, done)
    assert ledger.rows.read_bytes() == (whole / "rows.jsonl").read_bytes()
    assert ledger.items.read_bytes() == (whole / "items.jsonl").read_bytes()


def test_rows_that_are_missing_are_told(tmp_path):
    ledger = Ledger(tmp_path, 1, 2)
    ledger.add([({"index": 0}, [{"a": 1}])])
    ledger.rows.write_bytes(b"")
    with pytest.raises(InputError, match="shorter"):
        ledger.mend()
    ledger.items.write_text('{"index": 1, "rows": 0, "end": 0}\n')
    with pytest.raises(InputError, match="not those of the input"):
        ledger.mend()


def test_other_settings_and_other_texts_are_refused(folder, loaded, whole, tmp_path):
    for more in ({"batch_size": 3}, {"detectors": ["nll"]}, {"words": "every"}, {"risk": None}):
        with pytest.raises(SettingError, match="give another --out"):
            run(folder, whole[1], loaded, **more)
    changed = tmp_path / "in.jsonl"
    changed.write_text((folder / "in.jsonl").read_text().replace("clock", "cat"))
    chosen = dataclasses.replace(settings(folder, whole[1]), input=changed, images=folder)
    with pytest.raises(SettingError, match=r"input\.sha256"):
        annotate(chosen, model=loaded[0], processor=loaded[1])


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


def test_two_workers_write_what_one_process_writes(folder, whole, tmp_path):
    pytest.importorskip("ray")
    words = [
        "annotate",
        "--input",
        str(folder / "in.jsonl"),
        "--detector",
        "svar",
        "--detector",
        "nll",
        "--device",
        "cpu",
    ]
    words += ["--batch-size", "2", "--out", str(tmp_path / "out"), "--ray", "--workers", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = [sys.executable, "-m", "lvlm_saliency", *words]
    subprocess.run(run, env=environment, check=True, capture_output=True, timeout=300)
    alone = tmp_path / "alone"
    subprocess.run([*run[: run.index("--out")], "--out", str(alone)], env=environment, check=True, timeout=300)
    for name in ("rows.jsonl", "items.jsonl", "config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (alone / name).read_bytes()
