"""A pool of workers: every job is done once it can be, whatever dies meanwhile."""

from __future__ import annotations

import logging
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.workers import Job, Pool, WorkerError, Workers
from lvlm_saliency.workers.cluster import SETTINGS
from lvlm_saliency.workers.pool import LOSSES, span

os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", SETTINGS["RAY_DEDUP_LOGS_SKIP_REGEX"])  # read as it is imported
ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """One cluster for all tests here; a pool joins it and leaves it running."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        # Workers import this file's functions by name.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
        ray.init(address="local", num_cpus=3, object_store_memory=128 * 2**20, **quiet)
        yield
        ray.shutdown()


class Told:
    def __init__(self):
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def held() -> dict:
    return {"factor": 10}


def introduced(value) -> dict:
    return {"weights": value["factor"]}


def random_introduction(value) -> dict:
    return {"weights": os.getpid()}


def times(value, number: int) -> int:
    return value["factor"] * number


def slowly(value) -> None:
    time.sleep(0.2)


def working_folder(value) -> str:
    return os.getcwd()


def broken(value, text: str):
    raise InputError(text)


def odd(value):
    raise KeyError("odd")


def dies_until(value, folder: str, deaths: int) -> str:
    """Kill this process, until it was killed so often."""
    files = list(Path(folder).iterdir())
    if len(files) < deaths:
        (Path(folder) / str(len(files))).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def pool(count: int = 2, introduce=introduced, listener=None) -> Pool:
    return Pool(Workers(count=count, gpus=0), held, introduce, listener or Told())


def test_every_job_is_done():
    jobs = [Job(times, (number,), weight=number % 3) for number in range(12)]
    with pool() as workers:
        found = {job.arguments[0]: result for job, result in workers.run(jobs)}
        again = [result for _, result in workers.run([Job(times, (workers.share(7),))])]
    assert found == {number: 10 * number for number in range(12)}
    assert again == [70]


def test_the_longest_jobs_go_out_first():
    jobs = [Job(times, (number,), weight=weight) for number, weight in enumerate([1, 5, 3, 5])]
    with pool(count=1) as workers:
        order = [job.arguments[0] for job, _ in workers.run(jobs)]
    assert order == [1, 3, 2, 0]


def test_relative_paths_mean_the_same_in_a_worker(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pool(count=1) as workers:
        assert workers.one(working_folder) == str(tmp_path)


def test_an_error_of_ours_arrives_as_it_is():
    with pool() as workers, pytest.raises(InputError, match=r"^no such picture$"):
        list(workers.run([Job(broken, ("no such picture",))]))


def test_another_error_keeps_its_traceback():
    with pool() as workers, pytest.raises(Exception, match="odd") as caught:
        list(workers.run([Job(odd)]))
    assert "test_pool.py" in str(caught.value)


def test_what_a_lost_worker_was_at_is_done_by_another(tmp_path):
    told = Told()
    jobs = [Job(times, (number,)) for number in range(4)] + [Job(dies_until, (str(tmp_path), 2), label="the hard one")]
    with pool(listener=told) as workers:
        results = [result for _, result in workers.run(jobs)]
    assert sorted(map(str, results)) == ["0", "10", "20", "30", "alive"]
    assert sum("the hard one" in line for line in told.lines) == 2


@pytest.mark.slow
def test_a_job_that_kills_every_worker_ends_the_run_after_the_others(tmp_path):
    jobs = [Job(dies_until, (str(tmp_path), 99), label="a poisoned job"), *(Job(times, (n,)) for n in range(3))]
    found = []
    with pool() as workers, pytest.raises(WorkerError, match=f"{LOSSES} workers were lost over a poisoned job"):
        found.extend(result for _, result in workers.run(jobs))
    assert sorted(found) == [0, 10, 20]
    assert len(list(tmp_path.iterdir())) == LOSSES


def test_workers_that_hold_different_models_are_refused():
    with pool(introduce=random_introduction) as workers, pytest.raises(WorkerError, match="does not hold what the"):
        list(workers.run([Job(slowly) for _ in range(100)]))


def test_no_worker_is_left_behind():
    with pool() as workers:
        list(workers.run([Job(times, (number,)) for number in range(4)]))
        pids = workers.pids
    assert pids
    until = time.monotonic() + 20
    while left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < until, left
        time.sleep(0.1)


def test_results_that_nobody_waits_for_are_let_go():
    with pool() as workers:
        running = workers.run([Job(times, (number,)) for number in range(6)])
        next(running)
        running.close()
        assert sorted(result for _, result in workers.run([Job(times, (n,)) for n in range(3)])) == [0, 10, 20]


def test_a_cluster_without_gpus_is_told():
    with pytest.raises(SettingError, match="needs 1 GPUs and the cluster has 0"):
        Pool(Workers(gpus=1), held, introduced, Told()).__enter__()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:port", "127.0.0.1:99999999"])
def test_an_address_where_nobody_answers_is_told_at_once(address, monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(SettingError, match="no Ray cluster answers"):
        Pool(Workers(address=address), held, introduced, Told()).__enter__()


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": 1.5}, {"gpus": -1}, {"gpus": float("nan")}, {"gpus": 1.5}])
def test_shares_that_cannot_be_are_refused(wrong):
    with pytest.raises(SettingError):
        Workers(**wrong)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("lvlm_saliency.extras.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'lvlm-saliency\[ray\]'"):
        Pool(Workers(), partial(held), introduced, Told()).__enter__()


def test_a_batch_in_words():
    assert [span("item 4", count) for count in (1, 3)] == ["item 4", "item 4 and the 2 after it"]
