"""Run the plug-in inside lmms-eval: `make test-lmms-eval`. More arguments go to pytest.

lmms-eval brings 130 packages, so `.venv-lmms-eval` is an environment of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from environments import environment

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("LVLM_SALIENCY_LMMS_ENV", ROOT / ".venv-lmms-eval"))
TORCH = "torch==2.13.0"
# torchvision is pinned with torch, or pip replaces torch by a CUDA build; filelock 4 has moved what lmms-eval patches.
WANTED = (TORCH, "torchvision==0.28.*", "lmms-eval==0.7.3", "filelock<4", "pytest>=8", "hypothesis>=6.100")
STEPS = (
    ("install", TORCH),  # first, so that nothing else chooses another build
    ("install", *WANTED, "--editable", str(ROOT)),
    # torchvision from PyPI does not load beside a CPU build of torch; without it everything here runs.
    ("uninstall", "--yes", "torchvision"),
)


def main(arguments: list[str]) -> int:
    """The exit status of the tests."""
    python = environment(FOLDER, STEPS, ROOT)
    command = [
        python,
        "-m",
        "pytest",
        "-o",
        "addopts=-q --strict-markers",
        "-W",
        "default",
        "--disable-warnings",
        *(arguments or ["tests/integrations/inside_lmms_eval"]),
    ]
    # The repository is on the path of what the tests start, too, and its models and data sets are all at hand.
    settings = {"PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return subprocess.run(command, cwd=ROOT, check=False, env={**os.environ, **settings}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
