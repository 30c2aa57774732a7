"""Benchmarks that a judge or ten people read: every figure of ../shared/data/**/expected.json is ours to the last
digit."""

from __future__ import annotations

import json
import re

import pytest

from lvlm_saliency.benchmarks import hallusionbench, llava_bench, mm_vet, mmhal_bench, mmvp, scienceqa, vizwiz
from lvlm_saliency.stats.bootstrap import Bootstrap

NO_INTERVALS = Bootstrap(resamples=0)


def test_llava_bench(official, expected):
    figures = expected("llava_bench_w")
    assert {reply: list(llava_bench.parse(reply)) for reply, _ in figures["single_replies"]} == {
        reply: [float(mark) for mark in marks] for reply, marks in figures["single_replies"]
    }
    for name, categories in figures["reviews"].items():
        found = llava_bench.score(official / "llava_bench_w" / name)
        assert {
            category: {"relative": own["relative"], "reference_x10": own["reference"], "model_x10": own["model"]}
            for category, own in found.items()
        } == categories
        assert found["all"]["failed"] == figures["failed"].get(name, 0)


def test_mm_vet(official, expected):
    for name, figures in expected("mm_vet")["grades"].items():
        found = mm_vet.score(official / "mm_vet" / "mm-vet.json", official / "mm_vet" / name, bootstrap=NO_INTERVALS)
        whole = {"total": found["total"], "std": found["std"], "runs": found["runs"]}
        assert {**found["capabilities"], **whole} == figures["capabilities"]
        assert {**found["combinations"], **whole} == figures["combinations"]
        assert found["disagreeing"] == found["ungraded"] == 0


def test_mm_vet_of_odd_replies(official, expected):
    odd = expected("mm_vet")["odd_stream"]
    grades = {name: {"score": [mark], "content": [odd["contents"][name]]} for name, mark in odd["scores"].items()}
    found = mm_vet.score(official / "mm_vet" / "mm-vet.json", grades, subset=list(grades), bootstrap=NO_INTERVALS)
    own = {**found["capabilities"], "total": found["total"], "std": found["std"], "runs": found["runs"]}
    assert {name: own[name] for name in odd["capabilities"]} == odd["capabilities"]


def test_vizwiz_normalisers(expected):
    for text, by_llava, by_vizwiz in expected("vizwiz")["normaliser"]["rows"]:
        assert (vizwiz.normalise(text, "llava_m4c"), vizwiz.normalise(text)) == (by_llava, by_vizwiz), text


def test_vizwiz(official, expected):
    folder = official / "vizwiz"
    for name, figures in expected("vizwiz")["sets"].items():
        own, as_llava = (
            vizwiz.score(folder / "val_subset.json", folder / name, variant, bootstrap=NO_INTERVALS)
            for variant in vizwiz.VARIANTS
        )
        assert {"accuracy": own["accuracy"], "unanswerability": own["unanswerability"]} == figures["vizwiz_api"]
        assert {"accuracy": as_llava["accuracy"], "n": as_llava["questions"]} == figures["llava_m4c"]
        for one, other in zip(own["per_question"], as_llava["per_question"], strict=True):
            if "per_question" in figures:
                percent, fraction = figures["per_question"][one["image"]]
                assert round(100 * one["accuracy"], 2) == percent
                assert other["accuracy"] == pytest.approx(fraction, abs=1e-12)


def test_vizwiz_upload(official):
    folder = official / "vizwiz"
    upload = vizwiz.submission(folder / "llava_test.jsonl", folder / "answers_llava-v1.5-13b.jsonl")
    assert upload == json.loads((folder / "upload_llava-v1.5-13b.json").read_text())


def test_scienceqa(official, expected):
    folder, figures = official / "scienceqa", expected("scienceqa")
    splits = json.loads((folder / "pid_splits.json").read_text())
    for text, (letter, index) in figures["single_answers"].items():
        assert scienceqa.parse(text) == letter
        assert scienceqa.option(letter, 4) == index
    for name, counts in figures["answers"].items():
        file = name.split(",")[0]
        rows = [json.loads(line) for line in (folder / file).read_text().splitlines()]
        if file != name:  # "with gaps": every ninth answer is left out
            rows = [row for index, row in enumerate(rows) if index % 9]
            counts = {**figures["answers"][file], **counts}  # noqa: PLW2901
        first, last = map(int, re.findall(r"\d+", counts["ids"]))
        found = scienceqa.score(folder / counts["problems"], splits["test"][first:last], rows, bootstrap=NO_INTERVALS)
        printed = (
            "Total: {questions}, Correct: {correct}, Accuracy: {accuracy:.2f}%, IMG-Accuracy: {image_accuracy:.2f}%"
        )
        assert printed.format(**found) == counts["printed"]
        assert [found["image_questions"], found["image_correct"], found["failed"], found["out_of_range"]] == [
            counts[key] for key in ("img_total", "img_correct", "failed", "out_of_range_letter")
        ]
        assert found["accuracy"] == counts["acc"]


def test_scienceqa_categories(official, expected):
    folder = official / "scienceqa"
    splits = json.loads((folder / "pid_splits.json").read_text())
    for name, figures in expected("scienceqa")["categories"].items():
        found = scienceqa.score(
            folder / figures["problems"], splits[figures["ids"]], folder / name, "normal", bootstrap=NO_INTERVALS
        )
        assert found["categories"] == figures["figures"]


def test_hallusionbench(official, expected):
    folder = official / "hallusionbench"
    for name, figures in expected("hallusionbench")["judged"].items():
        found = hallusionbench.score(folder / name, folder / "HallusionBench.json", bootstrap=NO_INTERVALS)
        leaderboard = figures["leaderboard"]
        assert found["qAcc"] == leaderboard["Acc per question pair (qAcc)"]
        assert found["fAcc"] == leaderboard["Acc per figure (fAcc)"]
        assert found["easy_aAcc"] == leaderboard["Acc per easy question (easy aAcc)"]
        assert found["hard_aAcc"] == leaderboard["Acc per hard question (hard aAcc)"]
        assert found["aAcc"] == leaderboard["Acc per question (aAcc)"]
        diagnosis = figures["diagnosis"]
        assert found["yes_percentage_difference"] == pytest.approx(diagnosis["Yes/No Bias (Pct Diff)"], abs=1e-12)
        assert found["fp_ratio"] == pytest.approx(diagnosis["Yes/No Bias (FP Ratio)"], abs=1e-12)
        assert found["consistency"] == {
            each: diagnosis[f"Consistency Test ({each})"] for each in ("correct", "inconsistent", "wrong")
        }
        assert {cause: found[cause] for cause in hallusionbench.CAUSES} == {
            cause: diagnosis[cause] for cause in hallusionbench.CAUSES
        }
        for category, counts in figures["counts"].items():
            own = found["counts"][category]
            for group in ("question", "pair", "figure", "easy", "hard"):
                assert own[group] == {"total": counts[group]["total"], "correct": counts[group]["correct"]}
            assert own["causes"] == {
                cause: counts["pair"][f"{cause[:3] if cause == 'Mixed' else cause}_cg"]
                for cause in hallusionbench.CAUSES
            }
        labels = "".join(str(entry["label"]) for entry in found["per_question"])
        same = "".join(str(int(entry["same"])) for entry in found["per_question"])
        assert {"correctness": labels, "same": same} == figures["labels"]


def test_mmhal_bench(official, expected):
    for name, figures in expected("mmhal_bench")["replies"].items():
        found = mmhal_bench.score(official / "mmhal_bench" / name, bootstrap=NO_INTERVALS)
        assert round(found["average_score"], 2) == figures["average_score"]
        assert found["average_score"] == figures["exact_average"]
        assert found["hallucination_rate"] == figures["exact_hallucination_rate"]
        assert round(found["informativeness"], 2) == figures["rlhfv_informativeness"]
        assert {kind: round(value, 2) for kind, value in found["per_type"].items()} == figures["per_type"]
        assert [entry["score"] for entry in found["per_question"]] == figures["scores"]
        assert found["unparsable"] == figures["warnings"]


def test_mmvp(official, expected):
    folder = official / "mmvp"
    found = mmvp.score(folder / "answers.jsonl", folder / "judge_replies.json", bootstrap=NO_INTERVALS)
    assert (found["pair_accuracy"], found["pairs"]) == (
        expected("mmvp")["pair_accuracy"],
        expected("mmvp")["pairs"],
    )
