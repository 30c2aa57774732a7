"""What the guard reaches on the shipped model, into docs/guard.md (`make guard`).

Reads a finished run of `lvlm-saliency evaluate` with the guard, its controls and a few thresholds, and the table of
every other method (docs/results); writes the tables between the marks of the page, and the figure.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from marks import between_marks

from lvlm_saliency.evaluation.folder import RunFolder
from lvlm_saliency.evaluation.scoring import count_table
from lvlm_saliency.evaluation.summary.content import RunData
from lvlm_saliency.evaluation.systems import GREEDY
from lvlm_saliency.stats.counts import CountTable

BENCHMARK, CAPTIONS, STATEMENTS = "scenes-caption", "captions", "statements"
RESAMPLES = 4000
GUARD, ORACLE, RANDOM, POSITION = (
    "guard",
    "guard:verdicts=oracle",
    "guard:verdicts=random",
    "guard:verdicts=position",
)
REACHED, MISSED = "reached", "not reached"


@dataclass(frozen=True)
class Value:
    """A figure with its 95 % interval over pictures."""

    value: float
    low: float
    high: float

    def shown(self, digits: int = 1, scale: float = 100.0, sign: bool = False) -> str:
        form = f"{{:{'+' if sign else ''}.{digits}f}}"
        value, low, high = (form.format(one * scale).replace("-", "−") for one in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


class Measured:
    """One run, with figures, differences and ratios that redraw the same pictures."""

    def __init__(self, folder: Path):
        self.run = RunData(RunFolder(folder))
        self.scores = self.run.scores["benchmarks"][BENCHMARK]
        self.details = {label: self.run.detail(BENCHMARK, label) for label in self.run.labels}

    def table(self, label: str, part: str = CAPTIONS, pictures: int | None = None) -> CountTable:
        """The counts per picture; of the first pictures only, where so many are named."""
        found = count_table(self.details[label][part])
        images = sorted(found.images, key=str)
        return found.take(images if pictures is None else images[:pictures])

    @cached_property
    def weights(self) -> np.ndarray:
        """How often each picture is drawn, `[RESAMPLES, pictures]`."""
        count = len(self.table(GREEDY).images)
        return np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(float)

    def draws(self, table: CountTable, name: str) -> np.ndarray:
        """The figure as it is, then that of every resample."""
        sums = np.concatenate([table.counts.sum(axis=0)[None], self.weights[:, : len(table.images)] @ table.counts])
        return table.evaluate(sums)[name]

    def figure(self, label: str, name: str, part: str = CAPTIONS) -> Value:
        return _value(self.draws(self.table(label, part), name))

    def difference(self, label: str, other: str, name: str, part: str = CAPTIONS) -> Value:
        return _value(self.draws(self.table(label, part), name) - self.draws(self.table(other, part), name))

    def ratio(self, label: str, other: str, name: str, part: str = CAPTIONS) -> Value:
        return _value(self.draws(self.table(label, part), name) / self.draws(self.table(other, part), name))

    def gain(self, label: str, ceiling: str, name: str) -> Value:
        """The share of the ceiling's difference to greedy decoding that a system reaches."""
        base, own, most = (self.draws(self.table(one), name) for one in (GREEDY, label, ceiling))
        with np.errstate(divide="ignore", invalid="ignore"):
            return _value((own - base) / (most - base))

    def cost(self, label: str) -> Mapping[str, Any]:
        return self.run.cost(BENCHMARK, label)


def _value(draws: np.ndarray) -> Value:
    low, high = np.nanpercentile(draws[1:], [2.5, 97.5])
    return Value(float(draws[0]), float(low), float(high))


# --- the tables ---


def goals(run: Measured, asked: float, alone: float | None, pace: str) -> list[str]:
    """The goals, what was measured, and whether that reaches them; the interval is shown, the figure itself decides."""
    chair, recall = run.ratio(GUARD, GREEDY, "CHAIR_i"), run.difference(GUARD, GREEDY, "recall")
    words = run.ratio(GUARD, GREEDY, "length")
    false = run.difference(GUARD, GREEDY, "false_statements", STATEMENTS)
    place, relation = (run.difference(GUARD, GREEDY, name, STATEMENTS) for name in ("false_place", "false_relation"))
    again = run.difference(GUARD, GREEDY, "introduced_again", STATEMENTS)
    formed = run.figure(GUARD, "well_formed", STATEMENTS)
    passes = run.cost(GUARD)["forwards_per_token"]
    of_chair, of_recall = run.gain(GUARD, ORACLE, "CHAIR_i"), run.gain(GUARD, ORACLE, "recall")
    rows = [
        ("CHAIR_i, relative to greedy", "at most .12", chair.shown(2, 1), chair.value <= 0.12),
        (
            "recall lost, points",
            f"at most .5, and at most the {100 * asked:g} asked for",
            Value(-recall.value, -recall.high, -recall.low).shown(2),
            -recall.value <= min(0.005, asked),
        ),
        ("words, relative to greedy", "at least .93", words.shown(2, 1), words.value >= 0.93),
        ("false statements, points", "at least 4 lower", false.shown(1, sign=True), false.value <= -0.04),
        ("wrong places, points", "no more", place.shown(1, sign=True), _no_more(place)),
        ("wrong relations, points", "no more", relation.shown(1, sign=True), _no_more(relation)),
        ("introduced again, points", "at most .5 more", again.shown(1, sign=True), again.value <= 0.005),
        ("forward passes per token", "at most 1.5", f"{passes:.2f}", passes <= 1.5),
        (
            "processor time, batches of 16, relative to greedy",
            "at most 1.6",
            pace,
            float(pace.partition(" ")[0]) <= 1.6,
        ),
    ]
    for name, label in (("random gate", RANDOM), ("position gate", POSITION)):
        if label not in run.run.labels:
            continue
        found = run.difference(GUARD, label, "CHAIR_i")
        rows.append((f"CHAIR_i against the {name}, points", "lower", found.shown(1, sign=True), found.high < 0))
    cut = run.scores["length_shuffled"]["differences"][CAPTIONS][GUARD]["CHAIR_i"]
    shuffled = Value(cut["difference"], *cut["interval"])
    rows.append(("CHAIR_i against the shuffled cut, points", "lower", shuffled.shown(1, sign=True), shuffled.high < 0))
    rows += [
        ("share of the oracle gate's gain in CHAIR_i", "at least .9", of_chair.shown(2, 1), of_chair.value >= 0.9),
        ("share of the oracle gate's gain in recall", "at least .9", of_recall.shown(2, 1), of_recall.value >= 0.9),
        ("captions well-formed", "at least .99", formed.shown(1), formed.value >= 0.99),
    ]
    if alone is not None:
        name = "questions alone, first 150 scenes: share of the guard's gain in CHAIR_i"
        rows.append((name, "at least .5", f"{alone:.2f}", alone >= 0.5))
    lines = ["| | goal | measured | |", "|---|---|---|---|"]
    said = {True: REACHED, False: f"**{MISSED}**", None: "cannot tell: the interval holds 0"}
    return [*lines, *(f"| {n} | {g} | {m} | {said[ok]} |" for n, g, m, ok in rows)]


def _no_more(found: Value) -> bool | None:
    """Whether a share has not grown; None where it has, by no more than chance could do."""
    return True if found.value <= 0 else None if found.low <= 0 else False


def systems(run: Measured, labels: Mapping[str, str]) -> list[str]:
    """Every system of the run."""
    head = (
        "",
        "CHAIR\\_s",
        "CHAIR\\_i",
        "recall",
        "words",
        "false statements",
        "introduced again",
        "well-formed",
        "passes/token",
        "questions and rewritten sentences a caption",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for label, title in labels.items():
        cells = [title]
        for name in ("CHAIR_s", "CHAIR_i", "recall"):
            cells.append(run.figure(label, name).shown())
        cells.append(f"{run.figure(label, 'length').value:.1f}")
        cells += [run.figure(label, "false_statements", STATEMENTS).shown()]
        cells += [
            f"{100 * run.figure(label, name, STATEMENTS).value:.1f}" for name in ("introduced_again", "well_formed")
        ]
        cells += [f"{run.cost(label)['forwards_per_token']:.2f}", _acts(run, label)]
        lines.append("| " + " | ".join(cells) + " |")
    for kind, title in (
        ("length_matched", "greedy, cut to the guard's length"),
        ("length_shuffled", "the same, lengths shuffled"),
    ):
        found = run.scores[kind]["figures"]
        cells = [title]
        for name in ("CHAIR_s", "CHAIR_i", "recall"):
            entry = found[CAPTIONS][GUARD]
            cells.append(Value(entry["figures"][name], *entry["intervals"][name]).shown())
        cells.append(f"{found[CAPTIONS][GUARD]['figures']['length']:.1f}")
        entry = found[STATEMENTS][GUARD]
        cells.append(Value(entry["figures"]["false_statements"], *entry["intervals"]["false_statements"]).shown())
        cells += [f"{100 * entry['figures']['introduced_again']:.1f}", "–", "–", "–"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _acts(run: Measured, label: str) -> str:
    """Questions and rewritten sentences for each caption, from what the guard wrote down."""
    rows = run.run.folder.rows("items", BENCHMARK, run.run.system(label))
    if not any("guard" in row for row in rows):
        return "–"
    asked = sum(len({e["object"] for e in row["guard"] if e["margin"] is not None}) for row in rows)
    tries = sum(len(event["tries"]) for row in rows for event in row["guard"])
    return f"{asked / len(rows):.1f}, {tries / len(rows):.2f}"


def rates(run: Measured, label: str = GUARD) -> list[str]:
    """What became of the words that the guard acted on: of the sentences that it wrote again."""
    from lvlm_saliency.benchmarks.opening import open_benchmark
    from lvlm_saliency.scenes import label_claims

    described = run.run.config["benchmarks"][BENCHMARK]
    scenes = open_benchmark(f"{BENCHMARK}:seed={described['seed']}", n=described["n"]).scenes
    kinds = dict.fromkeys(
        ("a true new object", "no object", "an object named before", "a false attribute", "an absent object"), 0
    )
    dropped = flagged = right = wrong = 0
    for row in run.run.folder.rows("items", BENCHMARK, run.run.system(label)):
        scene, text = scenes[row["index"]], row["text"]
        for name, _, attempt, _, acted in row["judged"]:
            if acted and not attempt:
                right, wrong = right + (name in scene.present), wrong + (name not in scene.present)
        for event in row["guard"]:
            if event["action"] == "dropped":
                dropped += 1
            if event["action"] == "flagged" and event["tries"]:
                flagged += 1
            if event["action"] == "rewritten":
                became = _became(run, row, event, label_claims(text, scene))
                kinds[became] = kinds.get(became, 0) + 1
    total = sum(kinds.values()) + dropped + flagged
    first = right + wrong
    lines = [
        f"Of {first} words that it acted on at a first attempt, {wrong} were absent and {right} were there "
        f"({100 * wrong / max(first, 1):.0f} % right). Of {total} sentences that were taken back:",
        "",
        "| what stands in its place | sentences |",
        "|---|---|",
    ]
    lines += [f"| {kind} | {count} |" for kind, count in kinds.items()]
    return [*lines, f"| nothing: the sentence was dropped | {dropped} |", f"| kept and flagged | {flagged} |"]


def _became(run: Measured, row: Mapping[str, Any], event: Mapping[str, Any], claims: Sequence[Any]) -> str:
    pieces = _pieces(run, row["token_ids"])
    start, end = (sum(map(len, pieces[:at])) for at in event["span"])
    shift = len("".join(pieces)) - len("".join(pieces).lstrip())
    here = [claim for claim in claims if start - shift <= claim.start_char < end - shift]
    if not here:
        return "no object"
    if any(not claim.present for claim in here):
        return "an absent object"
    if any(claim.again for claim in here):
        return "an object named before"
    return "a false attribute" if any(claim.false for claim in here) else "a true new object"


_TOKENIZERS: dict[str, Any] = {}


def _pieces(run: Measured, ids: Sequence[int]) -> list[str]:
    from lvlm_saliency.model.load import load_model
    from lvlm_saliency.studies.texts import text_pieces

    if "scenes" not in _TOKENIZERS:
        _TOKENIZERS["scenes"] = load_model("scenes")[1].tokenizer
    return text_pieces(_TOKENIZERS["scenes"], ids)


# --- the figure ---


def rivals(page: Path) -> dict[str, tuple[float, float]]:
    """(recall, CHAIR_i) of every other decoder, from the table of docs/results."""
    found = {}
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 8 and re.match(r"[\d.]+ \[", cells[1]):
            numbers = [float(re.match(r"[\d.]+", cell).group()) for cell in cells[1:4]]  # type: ignore[union-attr]
            found[cells[0]] = (numbers[2], numbers[1])
    return found


def curve(run: Measured, points: Mapping[str, str], pictures: int) -> list[tuple[str, float, float]]:
    """(title, recall, CHAIR_i) of these systems on the first pictures, percentages."""
    found = []
    for label, title in points.items():
        values = run.table(label, pictures=pictures).values()
        found.append((title, 100 * values["recall"], 100 * values["CHAIR_i"]))
    return found


def above(line: Sequence[tuple[str, float, float]], others: Mapping[str, tuple[float, float]]) -> list[str]:
    """The decoders that no point of the curve is at least as good as, in recall and in CHAIR_i."""
    return [
        name
        for name, (recall, chair) in others.items()
        if not any(r >= recall - 0.05 and c <= chair + 0.05 for _, r, c in line)
    ]


def draw(
    line: Sequence[tuple[str, float, float]],
    extra: Sequence[tuple[str, float, float]],
    others,
    file: Path,
    pictures: int,
):
    """The figure: the guard's curve, its controls, and every other decoder as a point."""
    from lvlm_saliency.studies.figures import BLUE, GREY, ORANGE, panels

    figure, (axes,) = panels(width=8.0, height=5.2)
    line = sorted(line, key=lambda point: point[2])  # from what acts most to greedy decoding
    axes.plot(
        [p[1] for p in line],
        [p[2] for p in line],
        color=BLUE,
        marker="o",
        linewidth=1.6,
        label="the guard, by recall_loss",
    )
    for title, x, y in line:
        axes.annotate(title, (x, y), textcoords="offset points", xytext=(5, -11), fontsize=7, color=BLUE)
    axes.scatter([p[1] for p in extra], [p[2] for p in extra], color=ORANGE, marker="s", s=28, label="controls")
    for title, x, y in extra:
        axes.annotate(title, (x, y), textcoords="offset points", xytext=(5, 3), fontsize=7, color=ORANGE)
    shown = {name: point for name, point in others.items() if point[0] > 90}
    axes.scatter(
        [p[0] for p in shown.values()],
        [p[1] for p in shown.values()],
        color=GREY,
        marker="^",
        s=26,
        label="other decoders",
    )
    for name, (x, y) in shown.items():
        axes.annotate(name, (x, y), textcoords="offset points", xytext=(5, 3), fontsize=7, color=GREY)
    axes.set_xlabel(f"recall (%), first {pictures} scenes")
    axes.set_ylabel("CHAIR_i (%)")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150, metadata={"Software": None})


def made(run: Measured) -> str:
    """When, on what machine and on how many pictures."""
    file = run.run.folder.path / "scores.json"
    date = datetime.fromtimestamp(file.stat().st_mtime, tz=timezone.utc).date().isoformat()
    pictures = run.run.config["benchmarks"][BENCHMARK]["pictures"]
    machine = run.run.config["machine"]
    return f"{pictures} unseen scenes, greedy base; {date}, {machine}. 95 % intervals over pictures, paired."


def main() -> None:
    """Write the page's tables and its figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=Path, default=Path("runs/guard/captions"))
    parser.add_argument(
        "--more",
        type=Path,
        nargs="*",
        default=[Path("runs/guard/thresholds")],
        help="runs on the first 150 scenes: other thresholds, questions alone",
    )
    parser.add_argument("--cost", type=Path, default=Path("runs/guard/cost.txt"), help="what `bench.guard` printed")
    parser.add_argument("--results", type=Path, default=Path("docs/results/README.md"))
    parser.add_argument("--page", type=Path, default=Path("docs/guard.md"))
    parser.add_argument("--figure", type=Path, default=Path("docs/img/guard-curve.png"))
    options = parser.parse_args()
    if not (options.captions / "scores.json").exists():
        sys.exit(f"error: no finished run in {options.captions}; make guard makes it")
    timed = re.search(r"time, relative to greedy: ([\d.]+ \([^)]*\))", options.cost.read_text(encoding="utf-8"))
    if timed is None:
        sys.exit(f"error: {options.cost} is not what bench.guard prints")
    pace = timed.group(1)
    run = Measured(options.captions)
    asked = next(one["recall_loss"] for one in run.run.config["systems"][GUARD] if one["name"] == "guard")
    titles = {GREEDY: "greedy", "sample": "sampled", GUARD: "**the guard**"}
    titles |= {ORACLE: "oracle gate", RANDOM: "random gate", POSITION: "position gate"}
    titles = {label: title for label, title in titles.items() if label in run.run.labels}
    count = min(150, len(run.table(GREEDY).images))
    line = curve(run, {GUARD: f"recall_loss {asked:g}", GREEDY: "greedy"}, count)
    extra = curve(run, {label: titles[label] for label in (ORACLE, RANDOM, POSITION) if label in titles}, count)
    alone = None
    for folder in options.more:
        more = Measured(folder)
        for label in more.run.labels:
            swept = re.fullmatch(r"guard:recall_loss=([\d.]+)", label)
            if swept is not None:
                line += curve(more, {label: f"recall_loss {swept.group(1)}"}, count)
            elif label.startswith("guard:risk=off"):
                ((_, _, chair),) = point = curve(more, {label: "questions alone"}, count)
                extra += point
                greedy, guarded = (100 * run.table(one, pictures=count).values()["CHAIR_i"] for one in (GREEDY, GUARD))
                alone = (greedy - chair) / (greedy - guarded)
    others = {name: point for name, point in rivals(options.results).items() if name != "greedy"}
    draw(line, extra, others, options.figure, count)
    beyond = above(line, others)
    told = "Every other decoder has less recall or a higher CHAIR\\_i than some point of the curve, and neither better."
    if beyond:
        listed = "; ".join(f"{name} {others[name][0]:.1f} / {others[name][1]:.1f}" for name in beyond)
        told = f"Not below the curve (recall / CHAIR\\_i): {listed}. Every other decoder is."
    told += " The curve (recall / CHAIR\\_i): "
    told += "; ".join(f"{title} {x:.1f} / {y:.1f}" for title, x, y in sorted(line, key=lambda one: one[2])) + "."
    between_marks(options.page, "goals", [made(run), "", *goals(run, asked, alone, pace)])
    between_marks(options.page, "systems", systems(run, titles))
    between_marks(options.page, "rates", rates(run))
    between_marks(options.page, "curve", [told])


if __name__ == "__main__":
    main()
