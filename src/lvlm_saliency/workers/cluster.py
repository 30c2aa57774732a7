"""The Ray cluster that workers live on: started on this machine, or joined."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import SettingError

PATIENCE = 5.0
"""Seconds in which a cluster has to answer."""
STORE = 256 * 2**20
"""Bytes for objects on their way, of a cluster that is started here: pictures go by path and results are small."""

SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": ".*"}
"""Of Ray: no figures of its use go to its makers, its workers are as urgent as this process (it would put them far
behind every other program), and it prints nothing of its own on stdout: the pool tells what is lost."""


@dataclass(frozen=True)
class Cluster:
    """count: workers; cpus, gpus: of each; ours: started here, and ended with the work."""

    count: int
    cpus: float
    gpus: float
    total_cpus: float
    total_gpus: float
    ours: bool

    @classmethod
    def joined(cls, address: str | None, count: int | None, gpus: float | None) -> Cluster:
        """Join the cluster at `address`, or start one here; the shares of `count` workers in it.

        Raises:
            SettingError: no cluster is there, or it is too small for one worker.
        """
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        import ray

        ours = not ray.is_initialized()
        if ours:
            _start(address, count)
        elif address is not None:
            raise SettingError("this process has joined a Ray cluster already: leave the address out")
        has = ray.cluster_resources()
        total_cpus, total_gpus = has.get("CPU", 0.0), has.get("GPU", 0.0)
        share = gpus if gpus is not None else min(1.0, total_gpus)
        most = int(total_gpus / share) if share else int(total_cpus)
        if most < 1:
            if ours:
                ray.shutdown()
            raise SettingError(
                f"a worker needs {share:g} GPUs and the cluster has {total_gpus:g}: see --gpus-per-worker"
            )
        count = count or most
        # Whole cores, so that each worker's library for matrix products uses as many threads and no more.
        cpus = max(1.0, float(int(total_cpus / count))) if total_cpus >= count else total_cpus / count
        return cls(count, cpus, share, total_cpus, total_gpus, ours)

    def options(self) -> dict[str, Any]:
        """Of a worker: its share, and its environment."""
        threads = str(max(1, int(self.cpus)))
        settings = {"OMP_NUM_THREADS": threads}
        # The same code as here, also where it was not installed.
        paths = [str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        settings["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in paths if path)
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "runtime_env": {"env_vars": settings}}

    def wanted(self) -> str:
        """What is asked for and what there is, in words."""
        return (
            f"{self.count} workers of {self.cpus:g} cores and {self.gpus:g} GPUs are asked for; the cluster has "
            f"{self.total_cpus:g} cores and {self.total_gpus:g} GPUs"
        )

    def leave(self) -> None:
        """Let go of the cluster, and end it if it was started here."""
        import ray

        if self.ours:
            ray.shutdown()


def _start(address: str | None, count: int | None) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # More workers than cores are allowed on one machine: they share.
        ray.init(
            address="local",
            num_cpus=max(os.cpu_count() or 1, count or 1),
            include_dashboard=False,
            object_store_memory=STORE,
            **quiet,
        )
        return
    _check_answers(address)
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise SettingError(
            f"no Ray cluster can be joined at {address!r} ({first}); --ray alone starts one here"
        ) from None


def _check_answers(address: str) -> None:
    """Find out in seconds whether anybody listens there; Ray itself tries for a minute, and logs as it does.

    Raises:
        SettingError: nothing answers there, or it is no address.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:  # a name, such as auto, which Ray looks up on this machine
        return
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, ValueError, OverflowError) as error:
        raise SettingError(
            f"no Ray cluster answers at {address!r} ({error}); ray start --head begins one, --ray alone starts one here"
        ) from None
