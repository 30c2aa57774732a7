"""The check for a card, walked on this CPU: it runs to its end, and finds right what is right."""

from __future__ import annotations

import subprocess
import sys


def test_the_whole_check_runs_in_one_call():
    done = subprocess.run(
        [sys.executable, "-m", "lvlm_saliency_vllm.gpu_check", "--tiny"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert lines[-1] == "right"
    assert [line.split()[:3] for line in lines if "ms a step" in line] == [
        ["piecewise", name, batch] for batch in "12" for name in ("idle", "paper")
    ]
