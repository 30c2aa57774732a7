"""`annotate` that is killed goes on to the same bytes, and its ledger survives a cut anywhere."""

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

from lvlm_saliency.annotation import annotate
from lvlm_saliency.annotation.items import batches
from lvlm_saliency.annotation.ledger import Ledger
from lvlm_saliency.cli import main
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation.runner import Silent

from .runs import run, settings


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


def test_a_run_that_read_nothing_does_not_hold_its_folder(folder, loaded, tmp_path):
    """A mistake in the input ends the run; the mended input goes into the same folder."""
    out = tmp_path / "out"
    with pytest.raises(Killed):
        run(folder, out, loaded, listener=Dying(0))
    assert (out / "config.json").exists()
    with pytest.raises(Killed):
        run(folder, out, loaded, listener=Dying(1), detectors=["entropy"])
    assert json.loads((out / "config.json").read_text())["annotation"]["detectors"] == ["entropy"]
    with pytest.raises(SettingError, match="give another --out"):  # now there are rows
        run(folder, out, loaded)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"format": 1, "benchmarks": ["pope"]}')
    with pytest.raises(SettingError, match="give another --out"):  # a folder of something else stays as it is
        run(folder, other, loaded)
    assert "pope" in (other / "config.json").read_text()
