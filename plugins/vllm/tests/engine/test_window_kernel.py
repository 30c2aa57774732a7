"""`interpreted_kernel.py`, in a process of its own: Triton's interpreter is chosen before Triton is first imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_kernel_is_the_merge():
    script = Path(__file__).parent / "interpreted_kernel.py"
    words = ["-q", "-p", "no:cacheprovider", "-o", "addopts=", script]
    done = subprocess.run([sys.executable, "-m", "pytest", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "12 passed" in done.stdout
