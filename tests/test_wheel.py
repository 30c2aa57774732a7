"""The wheel, installed into an environment of its own, works from anywhere and holds all that it needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import lvlm_saliency
from lvlm_saliency.scenes import draw_scene, generate_scenes

ROOT = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
APART = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing is left in the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    subprocess.run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source], check=True)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def program(wheel, tmp_path_factory):
    """The command in a fresh environment, where torch and the like are this one's."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    # Installed before the other packages can be seen: pip must not take the editable installation for an older one.
    subprocess.run([*PIP, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    code = "import lvlm_saliency; print(lvlm_saliency.__file__)"
    done = subprocess.run([python, "-c", code], env=APART, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(folder)
    return folder / "bin" / "lvlm-saliency"


def test_its_version_is_the_package_s(wheel):
    assert wheel.name == f"lvlm_saliency-{lvlm_saliency.__version__}-py3-none-any.whl"


def test_it_holds_every_file_of_the_package_and_no_other(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("lvlm_saliency/")}
    source = ROOT / "src"
    there = {path.relative_to(source).as_posix() for path in (source / "lvlm_saliency").rglob("*") if path.is_file()}
    assert held == {name for name in there if "__pycache__" not in name}


def test_methods_are_listed(program, tmp_path):
    done = subprocess.run([program, "methods", "--json"], env=APART, cwd=tmp_path, capture_output=True, check=True)
    assert {"locore", "sgrs"} <= {method["name"] for method in json.loads(done.stdout)}


def test_a_picture_is_explained(program, tmp_path):
    draw_scene(generate_scenes(1, seed=3)[0]).save(tmp_path / "picture.png")
    asked = ["explain", "--image", "picture.png", "--prompt", "Describe this picture.", "--max-new-tokens", "4"]
    command = [program, *asked, "--html", "page.html", "--json"]
    done = subprocess.run(command, env=APART, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["tokens"]) == 4
    assert (tmp_path / "page.html").stat().st_size > 10_000
