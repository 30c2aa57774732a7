"""Run the exactness and contract tests, and the demo, on the oldest and the newest releases that the package allows.

`python .ci/versions.py floor newest` (as `make test-versions`) makes an environment of its own for each, `.venv-floor`
and `.venv-newest`, installs there what `pyproject.toml` says (not `constraints.txt`), and runs the same tests and the
demo in both. Needs Python 3.11.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("pytest", "hypothesis", "accelerate", "num2words")
"""Of the test extra, what these tests need; the newest of each in both environments."""
EXTRAS = ("plots", "studies")
FAMILIES = "llava,qwen2_5_vl,gemma3,gemma2,qwen3_5"
ENGINE = ("call", "rows", "rows_of_loaded", "confident", "blockwise", "compact", "unit_rows", "logits", "stand_ins")
ENGINE += ("more_families", "contract", "prompts", "prompts_in_caches", "blocks", "locore", "sgrs")
RIVALS = ("beam", "beam_state", "opera", "over_trust", "contrast", "noise", "dola", "counterfactual", "memvr", "edits")
RIVALS += ("edited_rows", "retrospection")
TESTS = [
    *(f"tests/engine/test_{name}.py" for name in ENGINE),
    *(f"tests/rivals/test_{name}.py" for name in RIVALS),
    *(f"tests/guard/test_{name}.py" for name in ("guard", "composed", "questions")),
    "tests/detection/test_capture.py",
]
"""The tests of exactness (what is read and done against its definition) and of what every method promises."""
# These files try every method in every way to bring a prompt: here one method of each kind will do.
LEFT_OUT = ["any_way_to_bring_a_prompt", "(test_prompts or test_blocks) and (horizon or unnormalised or tame)"]


def floors() -> dict[str, str]:
    """The lowest release of each requirement of the core and of `EXTRAS`, by name, from `pyproject.toml`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]
    return dict(line.split(">=") for line in lines if ">=" in line)


def tested_torch() -> str:
    """The torch of `constraints.txt`: there is a CPU build of it, where the newest brings gigabytes for GPUs."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return next(line for line in lines if line.startswith("torch=="))


def environment(name: str) -> Path:
    """The Python of `.venv-NAME`, with the releases that the name asks for."""
    folder = ROOT / f".venv-{name}"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    lowest = floors()
    torch = f"torch=={lowest['torch']}" if name == "floor" else tested_torch()
    wanted = [f"{package}=={version}" for package, version in lowest.items()] if name == "floor" else list(lowest)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, torch], check=True)  # first, so that nothing else chooses another build
    others = [one for one in wanted if not one.startswith("torch")]
    subprocess.run([*pip, "--upgrade", "--editable", str(ROOT), torch, *others, *TOOLS], check=True)
    return python


def tested(name: str) -> bool:
    """Whether the tests pass and the demo runs on these releases."""
    python = environment(name)
    shown = "import torch, transformers; print(transformers.__version__, torch.__version__)"
    print(f"{name}: transformers and torch", flush=True)
    subprocess.run([python, "-c", shown], check=True)
    settings = {**os.environ, "LVLM_SALIENCY_FAMILIES": FAMILIES, "OMP_NUM_THREADS": "1"}
    chosen = " and ".join(f"not ({words})" for words in LEFT_OUT)
    # Old packages warn of what their new dependencies no longer like, and pyproject.toml makes an error of that.
    warned = ["-W", "ignore::DeprecationWarning"] if name == "floor" else []
    tests = [python, "-m", "pytest", "-m", "not slow", "-k", chosen, *warned, *TESTS]
    demo = [python, "-m", "lvlm_saliency.demo", "--out", ROOT / f".venv-{name}" / "demo"]
    return all([subprocess.run(one, cwd=ROOT, env=settings, check=False).returncode == 0 for one in (tests, demo)])


if __name__ == "__main__":
    results = {name: tested(name) for name in sys.argv[1:] or ("floor", "newest")}
    print("; ".join(f"{name}: {'passes' if good else 'FAILS'}" for name, good in results.items()))
    sys.exit(0 if all(results.values()) else 1)
