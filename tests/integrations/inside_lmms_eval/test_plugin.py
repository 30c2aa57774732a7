"""How lmms-eval finds the model."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["lvlm_saliency", "lvlm-saliency"])
def test_both_names_are_the_class(name):
    from lmms_eval.models import get_model

    from lvlm_saliency.integrations.lmms_eval.model import SaliencyLMM

    assert get_model(name) is SaliencyLMM
    assert SaliencyLMM.is_simple is False
    assert not SaliencyLMM.__abstractmethods__  # three of them; the guide of lmms-eval names two


def python(code: str, path: str = "") -> str:
    """What a new Python prints."""
    where = os.pathsep.join(one for one in (path, os.environ.get("PYTHONPATH", "")) if one)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": where},
    )
    return done.stdout + done.stderr


def test_what_lmms_eval_calls_at_import_is_light():
    """What raises there hides every plug-in, so nothing that may be missing is imported."""
    light = "from lvlm_saliency.integrations.lmms_eval import manifests; manifests()"
    heavy = "print([one for one in ('torch', 'transformers', 'PIL', 'numpy') if one in sys.modules])"
    assert python(f"import sys; {light}; {heavy}").strip().endswith("[]")


def test_another_plug_in_that_raises_hides_this_one(tmp_path):
    """lmms-eval's own way, and on the page; what is looked for is then not there."""
    other = Path(tmp_path) / "other-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[lmms_eval.models]\nother = not_there_at_all:manifests\n")
    look = "from lmms_eval.models import list_available_models as names; print('lvlm_saliency' in names())"
    assert python(look).strip().endswith("True")
    hidden = python(look, str(tmp_path))
    assert "False" in hidden
    assert "not_there_at_all" in hidden


def test_processes_of_one_machine_take_a_card_each(monkeypatch):
    """lmms-eval tells all of them the same one."""
    import torch

    from lvlm_saliency.integrations.lmms_eval.model import _device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _device("cuda") is None  # it passes this unasked, on machines without one too
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [_device(name) for name in ("cuda", "cuda:1", "cpu", "None")] == ["cuda", "cuda:1", "cpu", None]
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [_device(name) for name in ("cuda", "cuda:0", "cpu")] == ["cuda:3", "cuda:3", "cpu"]
