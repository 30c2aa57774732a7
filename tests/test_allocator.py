"""Freed memory stays with a process that asks for that."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from lvlm_saliency.allocator import keep_freed_memory

FAULTS = """
import resource, sys
import numpy as np
from lvlm_saliency.allocator import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()
np.ones(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_memory_is_not_fetched_anew():
    faults = {
        mode: int(subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, check=True).stdout)
        for mode in ("default", "kept")
    }
    assert faults["kept"] * 10 < faults["default"], faults


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False
