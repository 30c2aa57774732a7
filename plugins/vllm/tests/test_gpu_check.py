"""The check for a card, as far as it goes without one: what it compares with, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lvlm_saliency_vllm import gpu_check, reference


@pytest.mark.skipif(torch.cuda.is_available(), reason="a card is here")
def test_without_a_card_it_says_so_in_one_line():
    source = str(Path(gpu_check.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "lvlm_saliency_vllm.gpu_check"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": source},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "no CUDA device is here, and nothing was run; --tiny walks the path without one\n"


def test_a_part_that_fails_or_hangs_is_one_line_and_what_was_found_is_shown(monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "find_spec", lambda name: None)
    assert gpu_check.main(["--tiny"]) == 2
    assert capsys.readouterr().err.startswith("vLLM is not installed here")
    monkeypatch.setattr(gpu_check, "find_spec", lambda name: object())

    def apart(part, tiny, **environment):
        if part == "tokens":
            raise gpu_check.PartError("the part 'tokens' ended with status 1; its messages stand above")
        return {"float32": 1e-7}

    monkeypatch.setattr(gpu_check, "_apart", apart)
    assert gpu_check.main(["--tiny"]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ('{"kernel": {"float32": 1e-07}}\n', 1)
    monkeypatch.undo()
    monkeypatch.setattr(gpu_check, "LONGEST", 0.01)
    with pytest.raises(gpu_check.PartError, match=r"had not ended after 0\.01 seconds"):
        gpu_check._apart("kernel", True)


@pytest.mark.parametrize(("wrong", "kernel", "status"), [(0, 1e-6, 0), (1, 1e-6, 1), (0, 1e-3, 1)])
def test_the_verdict(capsys, wrong, kernel, status):
    found = {
        "kernel": {"float32": kernel},
        "tokens": {"paper": {"wrong": wrong}, "device": "a card"},
        "plain": {"idle 1": 0.01},
        "piecewise": {"idle 1": 0.01, "paper 1": 0.0101},
    }
    assert gpu_check._verdict(found) == status
    told = capsys.readouterr().out
    assert "paper 1     10.100 ms a step, plain   10.000: +1.0%" in told
    assert told.splitlines()[-1].startswith("WRONG" if status else "right")


@pytest.mark.parametrize("name", gpu_check.SETTINGS)
def test_what_tokens_are_compared_with_is_lvlm_saliency(tmp_path, name):
    """Its float32 model, with LocoRE's formula written in, chooses the tokens of `ls.generate`."""
    ls = pytest.importorskip("lvlm_saliency")
    model = reference.random_model(tmp_path, 4, 128, 2, 1, 256).float().eval()
    extra = gpu_check.SETTINGS[name]
    given = {key.removeprefix("locore_"): value for key, value in extra.items()}
    (ids,) = reference.prompts(1, 20, 256)
    inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, 20, dtype=torch.long)}
    methods = [ls.LocoRE(**given)] if given else []
    out = ls.generate(model, inputs, methods, max_new_tokens=30, do_sample=False)
    answer = out.sequences[0, 20:].tolist()
    chosen = reference.reference_gaps(model, ids, answer, extra)
    assert [best for best, _ in chosen] == answer
    if name == "strong":
        plain = reference.reference_gaps(model, ids, answer, {})
        assert [best for best, _ in plain] != answer  # else nothing was shown
