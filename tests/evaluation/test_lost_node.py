"""`--ray` on a cluster of two nodes, one of which is lost in the middle of a run."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip("ray")

from lvlm_saliency.workers.cluster import SETTINGS, STORE

from .test_workers import ENVIRONMENT, answers, command, results, run

SIZE = ["--n", "150", "--batch-size", "1"]


@pytest.fixture
def nodes():
    """A cluster on this machine: the node that every run talks to, and one to lose."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ENVIRONMENT, **SETTINGS}.items():  # of Ray's own processes, which start the workers
            patch.setenv(name, value)
        node = {"num_cpus": 1, "object_store_memory": STORE}
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        try:
            yield cluster, cluster.add_node(**node)
        finally:
            cluster.shutdown()


def works(node) -> bool:
    """Whether a worker on this node is at a batch."""
    (raylet,) = node.all_processes["raylet"]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title, status = (process / "cmdline").read_bytes(), (process / "status").read_text()
        except OSError:
            continue
        if title.startswith(b"ray::Worker.work") and f"\nPPid:\t{raylet.process.pid}\n" in status:
            return True
    return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="finds the workers in /proc")
def test_a_lost_node_loses_nothing(checkpoint, nodes, tmp_path):
    cluster, node = nodes
    words = command(checkpoint, tmp_path / "run", "--ray", cluster.address, "--workers", "2", *SIZE)
    with (tmp_path / "log").open("w") as log:
        # with the token of the cluster, which Ray keeps in the environment of a process that had another one before
        driver = subprocess.Popen(words, env={**os.environ, **ENVIRONMENT}, stdout=log, stderr=log)
    try:
        patience = time.monotonic() + 300
        while not works(node):
            assert driver.poll() is None, "the run ended before the node had a part in it"
            assert time.monotonic() < patience, "no worker began on the node"
            time.sleep(0.02)
        cluster.remove_node(node, allow_graceful=False)
        before = answers(tmp_path / "run")
        assert driver.wait(timeout=900) == 0
    finally:
        driver.kill()
    whole = command(checkpoint, tmp_path / "whole", *SIZE)
    run(whole)
    assert before < answers(tmp_path / "whole"), "the run had ended before the node was lost"
    assert "was lost; another takes its place" in (tmp_path / "log").read_text()
    assert results(tmp_path / "run") == results(tmp_path / "whole")
