"""Tasks of lmms-eval as they are, POPE and MME, on data in their data sets' own layout, which lie on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import lvlm_saliency as ls
from lvlm_saliency.benchmarks.mme import scorer as mme
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.benchmarks.pope import scorer as pope
from lvlm_saliency.evaluation.systems import system

METHODS = "sgrs:alpha=0.9;order=greedy+locore:beta=0.3"
ASKED = "\nAnswer the question using a single word or phrase."
COUNT = 8


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A folder with both data sets as the hub has them (a parquet file below the name), and their rows."""
    from datasets import Dataset, Features, Value
    from datasets import Image as Picture

    root = tmp_path_factory.mktemp("work")
    bench = open_benchmark("scenes-pope", n=4)
    # pairs about one picture, one with yes and one with no, as MME has them
    pairs = {}
    for item in bench.items:
        label = bench.questions[item.index]["label"]
        pairs.setdefault(item.image, {}).setdefault(label, item)
    chosen = [(image, label, pair[label]) for image, pair in pairs.items() for label in ("yes", "no")][:COUNT]
    found = {"POPE": [], "MME": []}
    for number, (image, label, item) in enumerate(chosen):
        text, picture = bench.questions[item.index]["text"], bench.picture(item)
        shared = {"question": text, "answer": label, "image": picture}
        found["POPE"].append({
            "id": str(number), "question_id": str(number), "image_source": image, "category": "random", **shared,
        })  # fmt: skip
        found["MME"].append({
            "question_id": image, "category": "existence", **shared, "answer": label.capitalize(),
            "question": text + " Please answer yes or no.",
        })  # fmt: skip
    for name, some in found.items():
        kinds = Features({key: Picture() if key == "image" else Value("string") for key in some[0]})
        folder = root / "lmms-lab-encoder" / name / "data"
        folder.mkdir(parents=True)
        Dataset.from_list(some, features=kinds).to_parquet(folder / "test-00000-of-00001.parquet")
    return root, found


def test_pope_and_mme_on_local_files(rows):
    root, found = rows
    words = ["--model", "lvlm_saliency", "--model_args", f"pretrained=scenes,methods={METHODS},seed=7"]
    places = ["--tasks", "pope,mme", "--output_path", "out", "--batch_size", "4", "--log_samples"]
    done = subprocess.run(
        [sys.executable, "-m", "lmms_eval", *words, *places],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,  # where a folder has a data set's name, it is that data set
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
    )
    log = done.stdout + done.stderr
    reports = list((root / "out").rglob("*results.json"))
    assert len(reports) == 1, log[-3000:]
    results = json.loads(reports[0].read_text())["results"]
    samples = {}
    for name in ("pope", "mme"):
        (file,) = (root / "out").rglob(f"*samples_{name}.jsonl")
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        samples[name] = [one["filtered_resps"] for one in sorted(lines, key=lambda one: one["doc_id"])]
        assert samples[name] == own(found[name.upper()], 128 if name == "pope" else 16)
    truth = [row["answer"] for row in found["POPE"]]
    said = [text.strip().lower() for text in samples["pope"]]
    bare = sum(text == label for text, label in zip(said, truth, strict=True)) / len(truth)
    assert results["pope"]["pope_accuracy,none"] == pytest.approx(bare)  # a trap of the page: "Yes." is wrong
    asked = [{"question_id": n, "text": r["question"], "label": r["answer"]} for n, r in enumerate(found["POPE"])]
    ours = pope.score(asked, [{"question_id": n, "answer": text} for n, text in enumerate(samples["pope"])])
    right = sum(text.startswith(label) for text, label in zip(said, truth, strict=True)) / len(truth)
    assert ours["accuracy"] == pytest.approx(right)
    assert right > 0.5
    lines = [
        "\t".join((one["question_id"], one["question"], one["answer"], text))
        for one, text in zip(found["MME"], samples["mme"], strict=True)
    ]
    (root / "existence.txt").write_text("\n".join(lines) + "\n")
    ours = mme.score(root, tasks=["existence"])["tasks"]["existence"]["score"]
    assert results["mme"]["mme_perception_score,none"] == pytest.approx(ours)


def own(rows, limit):
    """What our own chat answers to the prompts of both tasks."""
    acting, chat = system(METHODS.replace(";", ","), 7), ls.Chat.load("scenes")
    answers = []
    for number, row in enumerate(rows):
        text = row["question"].replace(" Please answer yes or no.", "") + ASKED
        query = ls.Query(messages=[ls.Message("user", [row["image"], text])])
        answers += chat.ask(
            [query], acting.methods, sample_ids=[number], max_new_tokens=limit, do_sample=True, temperature=1.0,
            top_p=1.0, top_k=0,
        )  # fmt: skip
    return [answer.text for answer in answers]
