"""The tables of docs/guard.md: goals, systems, and what became of the sentences that were taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guard_run import BENCHMARK, BEST, CAPTIONS, GUARD, ORACLE, POSITION, RANDOM, SAMPLED, STATEMENTS, Measured, Value

from lvlm_saliency.evaluation.systems import GREEDY

REACHED, MISSED = "reached", "not reached"


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


def sampled(run: Measured) -> list[str]:
    """The guard on a sampled base, and the best of several texts by the labels, beside what they start from."""
    names = {"CHAIR_s": CAPTIONS, "CHAIR_i": CAPTIONS, "recall": CAPTIONS, "length": CAPTIONS}
    names |= dict.fromkeys(("false_statements", "introduced_again", "well_formed"), STATEMENTS)
    lines = [
        "|  | CHAIR\\_s | CHAIR\\_i | recall | words | false statements | introduced again | well-formed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    titles = {GREEDY: "greedy", "sample": "sampled", SAMPLED: "sampled, with the guard"}
    titles |= {BEST: "greedy and six samples, the best by the labels (oracle best-of-7)"}
    for label, title in titles.items():
        if label not in run.run.labels:
            continue
        found = {name: run.figure(label, name, part) for name, part in names.items()}
        cells = [value.shown(1, 1.0) if name == "length" else value.shown() for name, value in found.items()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
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
    from lvlm_saliency.tracing.pieces import text_pieces

    if "scenes" not in _TOKENIZERS:
        _TOKENIZERS["scenes"] = load_model("scenes")[1].tokenizer
    return text_pieces(_TOKENIZERS["scenes"], ids)
