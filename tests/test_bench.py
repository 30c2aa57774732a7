"""The benchmarks as a command that a person can finish: what runs, what is said, and what is kept."""

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def bench(monkeypatch):
    """The package at the root of the checkout, which is not installed."""
    if not (ROOT / "bench").is_dir():
        pytest.skip("not a checkout")
    monkeypatch.syspath_prepend(str(ROOT))
    yield lambda name: importlib.import_module(f"bench.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == "bench"]:
        del sys.modules[name]


class Measured:
    """Parts that take what they are said to take on a clock of their own, times `slower`."""

    def __init__(self, bench, seconds, slower=1.0):
        self.plan, self.row = bench("plan"), bench("timing").row
        self.now, self.said, self.kept = 0.0, [], {}
        self.parts = [
            self.plan.Part("model", str(n), "a part", wanted, lambda n=n, wanted=wanted: self.rows(n, wanted * slower))
            for n, wanted in enumerate(seconds)
        ]

    def rows(self, number, seconds):
        self.now += seconds
        return [self.row(f"row {number}", "itself", "-", [1.0], [seconds])]

    def run(self, known=(), minutes=10):
        left = self.plan.run(
            self.parts,
            known,
            minutes,
            lambda p, rows: self.kept.update({p.key: rows}),
            self.said.append,
            lambda: self.now,
        )
        return [part.key for part in left]


def test_each_part_is_announced_and_kept(bench):
    measured = Measured(bench, [30, 60])
    assert measured.run() == []
    assert list(measured.kept) == ["model/0", "model/1"]
    assert [line for line in measured.said if "a part" in line] == [
        "[   0 s] model/0: a part; about 30 s",
        "[  30 s] model/1: a part; about 60 s",
    ]


def test_a_slow_machine_leaves_out_what_would_not_end_in_time(bench):
    measured = Measured(bench, [60, 300, 30], slower=4)
    assert measured.run(minutes=10) == ["model/1"]  # 240 s are spent, 1,200 s would follow; the last takes 120 s
    assert list(measured.kept) == ["model/0", "model/2"]
    assert measured.now == 360
    assert Measured(bench, [60, 300, 30], slower=4).run(minutes=0) == []


def test_what_is_known_is_not_measured_again(bench):
    measured = Measured(bench, [30, 60])
    measured.run(known={"model/0"})
    assert list(measured.kept) == ["model/1"]


def test_results_of_a_day_are_kept_and_replaced_by_part(bench, tmp_path):
    report, row = bench("report"), bench("timing").row
    first = report.Results.opened(tmp_path, "A Machine")
    first.put("small", "small/loop", [row("loop", "plain", "-", [1.0, 1.5], [0.1, 0.2])])
    first.put("small", "small/trace", [row("trace", "definition", "-", [0.5], [0.1], 0.6)])
    first.remarks["small"] = "a remark"
    first.plots["small"] = "<svg/>"
    first.write()
    again = report.Results.opened(tmp_path, "A Machine")
    assert again.parts == {"small/loop", "small/trace"}
    assert (again.tables, again.remarks, again.plots) == (first.tables, first.remarks, first.plots)
    again.put("small", "small/loop", [row("loop", "plain", "-", [2.0], [0.1])])
    assert [(one.what, one.ratio) for one in again.tables["small"]] == [("trace", 0.5), ("loop", 2.0)]
    assert "| loop | plain | - | 2 [2, 2] |" in again.write()


def test_default_parts_fit_into_ten_minutes(bench):
    cpu = bench("cpu")
    assert sum(part.seconds for part in cpu.parts(5, 1) if part.model in cpu.DEFAULT) < 540
    assert len({part.key for part in cpu.parts(5, 1)}) == len(cpu.parts(5, 1))
