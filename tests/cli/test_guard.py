"""`lvlm-saliency guard calibrate`: what it refuses, in one line and before a model is loaded."""

from __future__ import annotations

import pytest

from lvlm_saliency.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--out is missing"),
        (["--out", "{tmp}/x", "--recall-loss", "0"], "recall-loss"),
        (["--out", "{tmp}/x", "--labels", "scenes-pope"], "no labelled words in its answers"),
        (["--out", "{tmp}/x", "--labels", "{tmp}/none.jsonl"], "cannot be read (no such file)"),
        (["--out", "{tmp}/x", "--n", "12"], "12 pictures: too few for parts"),
        (["--out", "{tmp}/x", "--labels", "chair", "--data", "{tmp}"], "chair needs its pictures"),
    ],
)
def test_bad_input_is_one_line(arguments, said, tmp_path, capsys):
    status = main(["guard", "calibrate", *(one.format(tmp=tmp_path) for one in arguments)])
    error = capsys.readouterr().err.strip().splitlines()
    assert status == 2
    assert len(error) == 1
    assert said in error[0]
