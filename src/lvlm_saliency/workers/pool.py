"""A pool of Ray actors that outlives its workers: what a lost one was doing is given to another."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lvlm_saliency.errors import LvlmSaliencyError, SettingError
from lvlm_saliency.extras import require
from lvlm_saliency.workers import cluster
from lvlm_saliency.workers.actor import Worker

LOSSES = 5
"""A job that was lost with so many workers is at fault itself, or the machine is: the run ends and says so."""
PATIENCE = 60.0
"""Seconds without a worker after which the user is told what is waited for."""


class WorkerError(LvlmSaliencyError, RuntimeError):
    """Workers cannot be had, do not agree with each other, or die over the same work again and again."""

    exit_status = 1


@dataclass(frozen=True)
class Workers:
    """What a user asks for with `--ray`.

    Args:
        address: of a running cluster ("auto", "host:6379", "ray://host:10001"); None starts one on this machine, which
            ends with the process.
        count: workers, each with a model of its own; None: one per `gpus` GPUs that the cluster has, or, without GPUs,
            one per core.
        gpus: of each worker: 0.5 puts two on a GPU, 2 gives a model two (with `device="spread"`). None: one where the
            cluster has GPUs, none elsewhere.

    Raises:
        SettingError: a count below 1, or a share of a GPU that cannot be.
    """

    address: str | None = None
    count: int | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        if self.count is not None and (not isinstance(self.count, int) or self.count < 1):
            raise SettingError(f"workers must be a whole number of at least 1, got {self.count!r}")
        if self.gpus is not None and not (math.isfinite(self.gpus) and self.gpus >= 0):
            raise SettingError(f"gpus per worker must be a number of at least 0, got {self.gpus!r}")
        if self.gpus is not None and self.gpus > 1 and self.gpus != int(self.gpus):
            raise SettingError(f"gpus per worker must be whole above 1, got {self.gpus!r}")


@dataclass(frozen=True, eq=False)
class Job:
    """`function(held, *arguments)` in some worker.

    Args:
        function: importable by its name there.
        arguments: anything that can be pickled, or what `Pool.share` returned.
        weight: how long it is expected to take, in any unit: the longest go out first, so that no worker is left with a
            long one at the end.
        label: names the work where something goes wrong with it.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    weight: float = 1.0
    label: str = "a job"


def span(first: str, count: int) -> str:
    """A batch in words, from the name of its first and how many it has."""
    return first if count == 1 else f"{first} and the {count - 1} after it"


STARTING = Job(Worker.begin, label="its start")


class Listener(Protocol):
    """Told what a user should know."""

    def note(self, text: str) -> None: ...


@dataclass(eq=False)
class Place:
    """One worker, or the one that takes its place after it was lost. `pending`: what Ray calls the result that it is
    at, of its start or of its job."""

    number: int
    actor: Any = None
    pid: int = 0
    ready: bool = False
    job: Job | None = None
    pending: Any = None


@dataclass(eq=False)
class Pool:
    """Workers of one kind; a context manager.

    Args:
        wanted: how many, where.
        build: makes what each worker holds, in the worker.
        introduce: what a worker says of what it holds (weights, versions). All must say the same: answers of two models
            are never mixed.
        listener: told of workers that are lost.

    Raises:
        InputError: Ray is not installed.
        SettingError: the cluster cannot hold one worker, or there is none at the address.
    """

    wanted: Workers
    build: Callable[[], Any]
    introduce: Callable[[Any], Any]
    listener: Listener
    introduction: Any = None
    _places: list[Place] = field(default_factory=list)
    _losses: dict[Job, int] = field(default_factory=dict)

    def __enter__(self) -> Pool:
        require("ray", "ray", what="--ray")
        self.cluster = cluster.Cluster.joined(self.wanted.address, self.wanted.count, self.wanted.gpus)
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            for place in self._places:
                self._dismiss(place)
        finally:
            self._places.clear()
            self.cluster.leave()

    @property
    def pids(self) -> list[int]:
        """Process numbers of the workers that are ready."""
        return [place.pid for place in self._places if place.ready]

    def share(self, value: Any) -> Any:
        """`value` sent once, for the arguments of many jobs."""
        import ray

        return ray.put(value)

    def one(self, function: Callable[..., Any], *arguments: Any, label: str = "a job") -> Any:
        """What `function(held, *arguments)` returns in some worker."""
        ((_, result),) = self.run([Job(function, arguments, label=label)])
        return result

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Any]]:
        """Every job with its result, as they are done.

        Raises:
            LvlmSaliencyError: what a job raised. Results that were given out before stay good.
            WorkerError: workers hold different models, or die as they start; or, when all other jobs are done, a job
                was lost with `LOSSES` workers.
        """
        import ray
        from ray.exceptions import RayError, RayTaskError

        # The last is taken first; equal weights go out in the order in which they were given.
        waiting = sorted(reversed(jobs), key=lambda job: job.weight)
        faults: list[WorkerError] = []
        try:
            while waiting or any(place.job for place in self._places):
                self._hire(len(waiting))
                for place in self._places:
                    if place.pending is None and waiting:
                        place.job = waiting.pop()
                        place.pending = place.actor.work.remote(place.job.function, *place.job.arguments)
                pending = {place.pending: place for place in self._places if place.pending is not None}
                done, _ = ray.wait(list(pending), num_returns=1, timeout=PATIENCE)
                if not done and not self.pids:
                    self.listener.note(f"no worker has started yet: {self.cluster.wanted()}")
                for place in map(pending.__getitem__, done):
                    try:
                        result = ray.get(place.pending)
                    except RayTaskError as error:
                        raise _cause(error) from None
                    except RayError as error:
                        self._lost(place, error, waiting, faults)
                    else:
                        place.pending = None
                        if (job := self._finished(place, result)) is not None:
                            yield job, result
            if faults:
                raise faults[0]
        finally:
            for place in [one for one in self._places if one.job]:  # an error, or nobody wants the rest
                self._dismiss(place)
                self._places.remove(place)

    # --- workers ---

    def _hire(self, jobs: int) -> None:
        """Start workers, no more than are wanted, and no more than there are jobs to begin or in work."""
        at_work = sum(place.job is not None for place in self._places)
        while len(self._places) < min(self.cluster.count, at_work + jobs):
            place = Place(number=len(self._places) + 1)
            self._places.append(place)
            self._start(place)

    def _start(self, place: Place) -> None:
        import ray

        place.actor = ray.remote(Worker).options(max_restarts=0, **self.cluster.options()).remote(os.getcwd())
        place.pending = place.actor.begin.remote(self.build, self.introduce)

    def _finished(self, place: Place, result: Any) -> Job | None:
        """The job that the worker has done; None where it was its start."""
        if place.job is None:
            self._welcome(place, *result)
            return None
        job, place.job = place.job, None
        self._losses.pop(job, None)
        return job

    def _welcome(self, place: Place, said: Any, pid: int) -> None:
        if self.introduction is None:
            self.introduction = said
        elif said != self.introduction:
            raise WorkerError(
                f"worker {place.number} does not hold what the others hold: {_difference(self.introduction, said)}; "
                "give every machine of the cluster the same model and the same releases"
            )
        place.ready, place.pid = True, pid
        self._losses.pop(STARTING, None)

    def _lost(self, place: Place, error: Exception, waiting: list[Job], faults: list[WorkerError]) -> None:
        """Start another worker in the place of a lost one, and put off its job; one lost too often is at fault."""
        job, place.job, place.ready = place.job, None, False
        self._dismiss(place)
        key = job or STARTING
        losses = self._losses[key] = self._losses.get(key, 0) + 1
        again = f" and does {key.label} again" if job else ""
        if losses >= LOSSES:
            said = f"{losses} workers were lost over {key.label}; what is done is kept. Ray says of the last: "
            faults.append(WorkerError(said + _what(error)))
            if job is None:
                raise faults[-1]
            again = ""
        elif job is not None:
            waiting.insert(0, job)  # it may be at fault: the others first
        self.listener.note(f"worker {place.number} was lost; another takes its place{again}")
        self._start(place)

    def _dismiss(self, place: Place) -> None:
        import ray

        ray.kill(place.actor, no_restart=True)


def _cause(error: Any) -> BaseException:
    """What was raised in a worker, if it is ours; else the whole of what Ray says, with the worker's traceback."""
    return error.cause if isinstance(error.cause, (LvlmSaliencyError, MemoryError)) else error


def _difference(known: Any, other: Any) -> str:
    if isinstance(known, dict) and isinstance(other, dict):
        differ = [name for name in known.keys() | other.keys() if known.get(name) != other.get(name)]
        return ", ".join(f"{name} {other.get(name)!r}, not {known.get(name)!r}" for name in sorted(differ))
    return f"{other!r}, not {known!r}"


def _what(error: Exception) -> str:
    """The line that says most: the last of a traceback, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if "Traceback" in str(error) else lines[0]) if lines else type(error).__name__
