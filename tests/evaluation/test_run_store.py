"""A run's folder between two writes, on a full disk, and with lines that are not its own."""

from __future__ import annotations

import errno
import json
import os
import random
import re

import pytest

from files.damage import damaged
from lvlm_saliency.errors import InputError
from lvlm_saliency.evaluation import evaluate, runner
from lvlm_saliency.evaluation.summary.build import report
from lvlm_saliency.evaluation.systems import system
from lvlm_saliency.files import json_lines as store
from strange import strange

from .conftest import lines


class Killed(BaseException):
    """Stands for signal 9: nothing of the run's own code handles it."""


def counted(folder, label="locore:beta=1") -> list[int]:
    """The items that the cost rows of a system speak of."""
    (file,) = folder.glob(f"cost/scenes-caption/{system(label, 0).slug}.*")
    return [index for row in store.read_lines(file) for index in row["items"]]


@pytest.mark.parametrize(
    "moment", [pytest.param(n, marks=[] if n in (1, 2, 5, 12) else pytest.mark.slow) for n in range(1, 13)]
)
def test_a_kill_before_any_write_loses_neither_an_answer_nor_a_cost(settings, ended, tiny, monkeypatch, moment):
    """The n-th write of the run never happens; before or after it, another one has."""
    model, processor = tiny
    whole = ended("whole").out
    writes = iter(range(1, 1000))

    def append(path, rows):
        if next(writes) == moment:
            raise Killed
        real(path, rows)

    real = store.append
    monkeypatch.setattr(runner.store, "append", append)
    with pytest.raises(Killed):
        evaluate(settings("killed"), model=model, processor=processor)
    monkeypatch.setattr(runner.store, "append", real)
    evaluate(settings("killed"), model=model, processor=processor)
    killed = settings("killed").out
    assert lines(killed) == lines(whole)
    for label in ("greedy", "sample", "locore:beta=1"):
        assert sorted(counted(killed, label)) == list(range(6))


def test_a_batch_whose_answers_were_torn_is_done_again_with_its_cost(ended, tiny):
    model, processor = tiny
    chosen = ended(methods=[])
    whole = lines(chosen.out)
    file = chosen.out / "items/scenes-caption/greedy.1-of-1.jsonl"
    first, second, *_ = file.read_bytes().split(b"\n")
    file.write_bytes(first + b"\n" + second[:20])  # of the first batch of four, one answer and a part of the next
    (chosen.out / "scores.json").unlink()
    evaluate(chosen, model=model, processor=processor)
    assert lines(chosen.out) == whole
    assert sorted(counted(chosen.out, "greedy")) == list(range(6))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"index": 6}, "item 6, and the list ends at 5"),
        ({"index": -1}, "index is no whole number"),
        ({"index": True}, "index is no whole number"),
        ({"index": 10**30}, "index is no whole number"),
        ({"image": "other.png"}, "item 5 is"),
        ({"text": None}, "text is no text"),
        ({"token_ids": [1, 2.5]}, "token_ids are no whole numbers"),
        ({"finish": "perhaps"}, "finish is none of"),
    ],
)
def test_a_line_that_is_not_of_the_run_is_named(ended, tiny, change, words):
    chosen = ended(methods=[])
    file = chosen.out / "items/scenes-caption/greedy.1-of-1.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows[:-1], {**rows[-1], **change}]))
    with pytest.raises(InputError, match=words) as caught:
        evaluate(chosen, model=tiny[0], processor=tiny[1])
    assert "items" in str(caught.value)
    assert "scenes-caption" in str(caught.value)


def test_what_is_still_to_come_is_counted_item_by_item(settings, tiny):
    told = []

    class Listener(runner.Silent):
        def note(self, text):
            told.append(text)

    evaluate(settings(methods=[], shard="1/2"), model=tiny[0], processor=tiny[1], listener=Listener())
    assert any(note.startswith("6 answers are still to come") for note in told)  # three of each of two systems


def test_a_full_disk_is_one_line_and_leaves_no_part_of_a_line(settings, ended, tiny, monkeypatch):
    """The disk fills up at some write; once there is room, the same command ends as if nothing had been."""
    chosen = settings(methods=[])
    real, written = os.fsync, []

    def fsync(descriptor):
        written.append(descriptor)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(InputError, match=r"cannot write .*No space left"):
        evaluate(chosen, model=tiny[0], processor=tiny[1])
    monkeypatch.setattr(os, "fsync", real)
    assert not [path for path in chosen.out.rglob(".*") if not path.name.startswith(".lock")]
    for file in chosen.out.glob("items/*/*"):
        assert file.read_bytes()[-1:] in (b"", b"\n")
    evaluate(chosen, model=tiny[0], processor=tiny[1])
    assert lines(chosen.out) == lines(ended("whole", methods=[]).out)
    assert sorted(counted(chosen.out, "greedy")) == list(range(6))


@pytest.mark.parametrize("count", [25, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["scores.json", "config.json", "cost/scenes-caption/greedy.1-of-1.jsonl"])
def test_a_finished_run_whose_files_are_damaged(ended, name, count):
    """It is reported, or refused with the folder's name."""
    chosen = ended(methods=[], n=3)
    file, chance, refused = chosen.out / name, random.Random(name), 0
    content = file.read_bytes()
    for _ in range(count):
        file.write_bytes(damaged(content, chance))
        told = ""
        try:
            found = report([chosen.out])
            assert found.markdown()
            assert found.html()
        except InputError as error:
            told = str(error)
        if told:
            refused += 1
            assert chosen.out.name in told
    assert refused


@pytest.mark.parametrize("name", ["scores.json", "config.json"])
def test_a_finished_run_whose_files_hold_strange_values(ended, name):
    """It is reported in whole, or refused with the folder's name: never while the page is drawn."""
    chosen = ended(methods=[], n=3)
    file, refused = chosen.out / name, 0
    found = json.loads(file.read_text())
    every = list(strange(found, 1, 1))
    for _, values in random.Random(0).sample(every, min(len(every), 60)):
        file.write_text(json.dumps(values))
        told = ""
        try:
            made = report([chosen.out])
            assert not re.search(r"\b(nan|inf)\b", made.markdown())
            assert made.html()
        except InputError as error:
            told = str(error)
        if told:
            refused += 1
            assert chosen.out.name in told
    assert refused


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("benchmarks", "scenes-caption", "parts", "captions", "greedy", "figures", "CHAIR_i"), 1e308),
        (("benchmarks", "scenes-caption", "parts", "captions", "greedy", "figures", "CHAIR_i"), True),
        (("benchmarks",), {"cHair": {}}),
    ],
)
def test_a_finished_run_with_a_wrong_value_is_refused(ended, path, value):
    chosen = ended(methods=[], n=3)
    found = json.loads((chosen.out / "scores.json").read_text())
    *above, last = path
    node = found
    for key in above:
        node = node[key]
    assert last in node or path == ("benchmarks",)
    node[last] = value
    (chosen.out / "scores.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match=r"run.*damaged"):
        report([chosen.out])
