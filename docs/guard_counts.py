"""The counts behind the words of docs/guard.md, from finished runs of `lvlm-saliency evaluate`.

    python docs/guard_counts.py runs/guard/captions runs/guard/more

Of every system with a guard in every folder: objects of the pictures that its texts name and the greedy ones do not,
and the reverse; how many of the objects that it acted on are there; what became of the sentences. Of a guard over beams
beside the search alone (`--method beam`): the differences, paired over pictures.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from guard_run import BEAMS, BENCHMARK, CAPTIONS, STATEMENTS, Measured

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.evaluation.systems import GREEDY

SEARCH = "beam"
FIGURES = (("CHAIR_i", CAPTIONS, 100.0), ("recall", CAPTIONS, 100.0), ("false_statements", STATEMENTS, 100.0))
FIGURES += (("length", CAPTIONS, 1.0),)


def named(run: Measured, label: str) -> dict[str, set[str]]:
    """By picture, the objects of the picture that the text names."""
    found = run.details[label][CAPTIONS]["per_caption"]
    return {one["image_id"]: set(one["recalled"]) for one in found}


def counts(run: Measured, label: str) -> Iterator[str]:
    """Lines about one system with a guard."""
    described = run.run.config["benchmarks"][BENCHMARK]
    scenes = open_benchmark(f"{BENCHMARK}:seed={described['seed']}", n=described["n"]).scenes
    before, after = named(run, GREEDY), named(run, label)
    more, fewer = (sum(len(a[one] - b[one]) for one in before) for a, b in ((after, before), (before, after)))
    passes = run.cost(label)["forwards_per_token"]
    yield f"  objects named: {more} that greedy texts do not name, {fewer} the other way; {passes:.2f} passes a token"
    acted: Counter[str] = Counter()
    actions: Counter[str] = Counter()
    for row in run.run.folder.rows("items", BENCHMARK, run.run.system(label)):
        for name, _, attempt, _, was in row["judged"]:
            there = "there" if name in scenes[row["index"]].present else "absent"
            acted[f"{'later' if attempt else 'first'}, {there}"] += was
        actions.update(event["action"] for event in row["guard"])
    yield f"  objects acted on: {_listed(acted)}"
    yield f"  words and sentences: {_listed(actions)}"


def _listed(found: Counter[str]) -> str:
    return "; ".join(f"{name}: {count}" for name, count in sorted(found.items()))


def main() -> None:
    """Print the lines of every folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    for folder in parser.parse_args().folders:
        run = Measured(folder)
        for label in run.run.labels:
            rows = run.run.folder.rows("items", BENCHMARK, run.run.system(label))
            if not any("judged" in row for row in rows):
                continue
            print(f"{folder}: {label}", *counts(run, label), sep="\n")
            if SEARCH in run.run.labels and re.fullmatch(BEAMS, label):
                for name, part, scale in FIGURES:
                    print(
                        f"  {name} minus {SEARCH}'s: {run.difference(label, SEARCH, name, part).shown(2, scale, True)}"
                    )


if __name__ == "__main__":
    main()
