"""What the guard reaches on the shipped model, into docs/guard.md (`make guard`).

Reads a finished run of `lvlm-saliency evaluate` with the guard, its controls and a few thresholds, and the table of
every other method (docs/results); writes the tables between the marks of the page, and the figure.
"""

from __future__ import annotations

import argparse
import re
import sys
from datetime import datetime, timezone
from pathlib import Path

from guard_curve import compared, curve, draw, rivals
from guard_run import BEAMS, BENCHMARK, BEST, GUARD, ORACLE, POSITION, RANDOM, SAMPLED, Measured
from guard_tables import goals, rates, sampled, systems
from marks import between_marks

from lvlm_saliency.evaluation.systems import GREEDY


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
    alone, searched = None, []
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
            elif (beams := re.fullmatch(BEAMS, label)) is not None:
                searched += curve(more, {label: f"over beams, recall_loss {beams.group(1) or f'{asked:g}'}"}, count)
            elif label == BEST:
                extra += curve(more, {label: "oracle best-of-7"}, count)
        if SAMPLED in more.run.labels:
            between_marks(options.page, "sampled", sampled(more))
    others = {name: point for name, point in rivals(options.results).items() if name != "greedy"}
    draw(line, searched, extra, others, options.figure, count)
    between_marks(options.page, "goals", [made(run), "", *goals(run, asked, alone, pace)])
    between_marks(options.page, "systems", systems(run, titles))
    between_marks(options.page, "rates", rates(run))
    between_marks(options.page, "curve", [compared([*sorted(line, key=lambda one: one[2]), *searched], others)])


if __name__ == "__main__":
    main()
