"""Run the plug-in inside lmms-eval: `make test-lmms-eval`. More arguments go to pytest.

lmms-eval brings 130 packages, so `.venv-lmms-eval` is an environment of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("LVLM_SALIENCY_LMMS_ENV", ROOT / ".venv-lmms-eval"))
TORCH = "torch==2.13.0"
# torchvision is pinned with torch, or pip replaces torch by a CUDA build; filelock 4 has moved what lmms-eval patches.
WANTED = (TORCH, "torchvision==0.28.*", "lmms-eval==0.7.3", "filelock<4", "pytest>=8")


def environment() -> Path:
    """The Python of the environment, which is made where it is not there."""
    python, ready = FOLDER / "bin" / "python", FOLDER / ".ready"
    if ready.exists():
        return python
    if not python.exists():
        venv.create(FOLDER, with_pip=True)
    pip = [python, "-m", "pip"]
    install = [*pip, "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*install, TORCH], check=True)  # first, so that nothing else chooses another build
    subprocess.run([*install, *WANTED, "--editable", str(ROOT)], check=True)
    # torchvision from PyPI does not load beside a CPU build of torch; without it everything here runs.
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", "torchvision"], check=True)
    ready.touch()
    return python


def main(arguments: list[str]) -> int:
    """The exit status of the tests."""
    command = [environment(), "-m", "pytest", "-o", "addopts=-q", "tests/integrations/lmms_eval_run.py", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
