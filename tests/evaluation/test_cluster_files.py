"""The cluster file and the SLURM script of docs/workers.md, taken from that page."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

pytest.importorskip("ray")

from .test_workers import ENVIRONMENT, OPTIONS, command, results, run

PAGE = Path(__file__).parents[2] / "docs" / "workers.md"
SRUN = """#!/bin/bash
# Runs the command here, as every node is this machine; options are those that the script uses.
echo "$@" >> "$SRUN_LOG"
while [[ "$1" == -* ]]; do
    case "$1" in
        -w) shift 2 ;;
        --nodes=*|--ntasks=*|--exclude=*|--overlap) shift ;;
        *) echo "srun: no such option $1" >&2; exit 2 ;;
    esac
done
exec "$@"
"""
SCONTROL = """#!/bin/bash
[ "$1 $2 $3" = "show hostnames 127.0.0.[1-2]" ] && printf '127.0.0.1\\n127.0.0.2\\n'
"""


def block(language: str, mark: str) -> str:
    """The code of the page in this language that holds the mark."""
    (found,) = [code for code in re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S) if mark in code]
    return found


def test_ray_takes_the_cluster_file(monkeypatch):
    from ray.autoscaler._private.cli_logger import cli_logger
    from ray.autoscaler._private.util import prepare_config, validate_config

    pytest.importorskip("jsonschema")
    said = []
    for name in ("warning", "abort"):
        monkeypatch.setattr(cli_logger, name, lambda text, *_, **__: said.append(text))
    given = yaml.safe_load(block("yaml", "cluster_name"))
    prepared = prepare_config(given)
    validate_config(prepared)
    assert not said
    assert prepared["max_workers"] == len(given["provider"]["worker_ips"])
    assert prepared["setup_commands"] == given["setup_commands"]
    given["provider"]["worker_ip"] = "10.0.0.4"
    given["workers"] = 3
    with pytest.raises(Exception, match="workers"):
        validate_config(prepare_config(given))


@pytest.fixture
def slurm(tmp_path):
    """The environment of a job on two nodes."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    job = {"SLURM_JOB_NODELIST": "127.0.0.[1-2]", "SLURM_NNODES": "2", "SRUN_LOG": str(tmp_path / "srun.log")}
    small = {"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(2**28), "RAY_USAGE_STATS_ENABLED": "0"}
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    home = tmp_path / "home"  # Ray keeps its token there
    home.mkdir()
    return {**ENVIRONMENT, **job, **small, "PATH": path, "HOME": str(home)}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return one.getsockname()[1]


@pytest.mark.slow
def test_the_slurm_script_with_stand_ins(checkpoint, slurm, tmp_path):
    if shutil.which("bash") is None or shutil.which("ray", path=slurm["PATH"]) is None:
        pytest.skip("needs bash, and Ray's command beside this Python")
    script = block("bash", "#SBATCH").replace("6379", str(free_port())).replace("--workers 64", "--workers 2")
    (tmp_path / "job.sh").write_text(script)
    settings = {name.removeprefix("--"): yaml.safe_load(value) for name, value in OPTIONS.items()}
    listed = {f"{name}s": [settings.pop(name)] for name in ("benchmark", "method")}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"model": checkpoint, **settings, **listed}))
    with (tmp_path / "log").open("w") as log:
        job = subprocess.Popen(
            ["bash", "job.sh"], cwd=tmp_path, env=slurm, stdout=log, stderr=log, start_new_session=True
        )
        try:
            status = job.wait(timeout=400)
        finally:  # as SLURM ends what a job leaves running
            os.killpg(job.pid, signal.SIGTERM)
            time.sleep(10)
    assert status == 0, (tmp_path / "log").read_text()[-3000:]
    steps = (tmp_path / "srun.log").read_text()
    assert steps.count("ray start") == 2
    assert "--nodes=1 --ntasks=1 --exclude=127.0.0.1 ray start --address=127.0.0.1:" in steps
    alone = tmp_path / "alone"
    run(command(checkpoint, alone))
    assert threadless(results(tmp_path / "runs/llava")) == threadless(results(alone))


def threadless(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without how many threads computed: the two nodes each count the cores of this one machine as theirs."""
    return {name: re.sub(rb", \d+ threads", b"", content) for name, content in files.items()}
