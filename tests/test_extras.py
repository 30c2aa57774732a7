"""What the core does without is named, with the extra that brings it, before anything is computed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lvlm_saliency.errors import InputError
from lvlm_saliency.extras import INSTALLED_AS, require

ROOT = Path(__file__).parents[1]
WITHOUT = "import sys; sys.modules.update(dict.fromkeys(('matplotlib', 'scipy', 'sklearn')));"
"""None in `sys.modules` is how Python says that a module cannot be imported."""


def python(code, *arguments, cwd):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def test_what_is_installed_is_no_error():
    require("plots", "json", "email", what="a test")


def test_what_is_missing_is_named_with_its_extra(monkeypatch):
    with pytest.raises(
        InputError, match=r"^a test needs nosuch, which is not installed: pip install 'lvlm-sal.*\[x\]'$"
    ):
        require("x", "nosuch", what="a test")
    monkeypatch.setitem(INSTALLED_AS, "nosuch", "no-such")
    with pytest.raises(InputError, match="needs no-such and other, which are not"):
        require("x", "nosuch", "other", what="a test")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["study", "separation", "--out", "x"], "a study needs matplotlib and scipy and scikit-learn"),
        (["tune", "--out", "x"], "tune needs"),
        (["explain", "--image", "x.png", "--prompt", "x", "--png", "x.png"], "--png needs matplotlib"),
    ],
)
def test_commands_say_what_they_lack(arguments, words, tmp_path):
    code = WITHOUT + "from lvlm_saliency.cli import main; sys.exit(main(sys.argv[1:]))"
    done = python(code, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {words}")
    assert "pip install 'lvlm-saliency[" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_explaining_and_generating_need_no_extra(tmp_path):
    code = WITHOUT + (
        "import lvlm_saliency as ls; from lvlm_saliency.scenes import draw_scene, generate_scenes;"
        "[getattr(ls, name) for name in ls.__all__];"
        "model, processor = ls.load_model('scenes'); picture = draw_scene(generate_scenes(1, seed=0)[0]);"
        "inputs = ls.build_inputs(processor, [picture], 'Describe.', model=model);"
        "out = ls.generate(model, inputs, [ls.LocoRE()], max_new_tokens=3); trace = ls.trace(model, inputs, out);"
        "trace.to_html('page.html', processor=processor);"
        "from importlib.resources import files; shipped = files('lvlm_saliency.risk') / 'scenes.safetensors';"
        "ls.RiskModel.load(shipped).predict(trace); print('done')"
    )
    done = python(code, cwd=tmp_path)
    assert done.stdout.strip() == "done", done.stderr


def test_every_extra_that_a_message_names_exists():
    extras = set(re.findall(r"^(\w[\w-]*) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE))
    named = set()
    for file in (ROOT / "src").rglob("*.py"):
        named |= set(re.findall(r"lvlm-saliency\[([\w-]+)\]|require\(\"([\w-]+)\"", file.read_text(encoding="utf-8")))
    assert {one or other for one, other in named} <= extras
