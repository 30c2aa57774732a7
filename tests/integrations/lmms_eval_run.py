"""The plug-in inside lmms-eval itself, on drawn scenes: run by `make test-lmms-eval`, in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lmms_eval")
from datasets import Dataset, DatasetDict, Features, Value
from datasets import Image as Picture

import lvlm_saliency as ls
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.evaluation.systems import system

TASK = """
task: scenes_questions
dataset_path: {data}
dataset_kwargs: {{load_from_disk: true}}
test_split: test
output_type: generate_until
doc_to_messages: !function utils.messages
doc_to_visual: !function utils.pictures
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
process_results: !function utils.score
generation_kwargs: {{max_new_tokens: 4, temperature: 0, do_sample: false}}
metric_list:
  - {{metric: right, aggregation: mean, higher_is_better: true}}
metadata: [{{version: 0.0}}]
"""
UTILS = """
def messages(doc, lmms_eval_specific_kwargs=None):
    seen = [{"type": "image", "url": doc["image"]}] if doc["image"] is not None else []
    return [{"role": "user", "content": [*seen, {"type": "text", "text": doc["question"]}]}]


def pictures(doc):
    return [doc["image"]] if doc["image"] is not None else []


def score(doc, results):
    return {"right": float(results[0].strip().lower().startswith(doc["answer"]))}
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A task of lmms-eval over drawn scenes, one of its questions without a picture."""
    root = tmp_path_factory.mktemp("task")
    bench = open_benchmark("scenes-pope", n=3)
    items = bench.items[:8]
    rows = [
        {"question": i.prompt, "answer": bench.questions[i.index]["label"], "image": bench.picture(i)} for i in items
    ]
    rows.append({"question": "Is there a dog in the image?", "answer": "no", "image": None})
    kinds = Features({"question": Value("string"), "answer": Value("string"), "image": Picture()})
    DatasetDict({"test": Dataset.from_list(rows, features=kinds)}).save_to_disk(root / "data")
    (root / "tasks").mkdir()
    (root / "tasks" / "scenes.yaml").write_text(TASK.format(data=root / "data"))
    (root / "tasks" / "utils.py").write_text(UTILS)
    return root, rows


def lmms_eval(root: Path, methods: str, *more: str) -> tuple[int, list[dict], str]:
    """Exit status, samples and log of a run of the command."""
    out = root / f"out-{abs(hash(methods))}"
    words = ["--model", "lvlm_saliency", "--model_args", f"pretrained=scenes,methods={methods}{','.join(('', *more))}"]
    places = ["--tasks", "scenes_questions", "--include_path", str(root / "tasks"), "--output_path", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "lmms_eval", *words, *places, "--batch_size", "4", "--log_samples"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
    )
    samples = [json.loads(line) for file in out.rglob("*samples*.jsonl") for line in file.read_text().splitlines()]
    return done.returncode, sorted(samples, key=lambda one: one["doc_id"]), done.stdout + done.stderr


@pytest.mark.parametrize("methods", ["greedy", "locore:beta=0.15", "sgrs:alpha=0.9;order=greedy+locore:beta=0.3"])
def test_answers_are_those_of_our_own_chat(task, methods):
    root, rows = task
    _, samples, log = lmms_eval(root, methods, "seed=7")
    assert len(samples) == len(rows), log[-3000:]
    one, chat = system(methods.replace(";", ","), 7), ls.Chat.load("scenes")
    sampled = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}
    for number, (row, sample) in enumerate(zip(rows, samples, strict=True)):
        pictures = [row["image"]] if row["image"] is not None else []
        query = ls.Query(messages=[ls.Message("user", [*pictures, row["question"]])])
        how = sampled if one.decides and pictures else {}
        acting = one.methods if pictures else ()
        (answer,) = chat.ask([query], acting, sample_ids=[number], max_new_tokens=4, **how)
        assert sample["filtered_resps"] == [answer.text]


def test_an_error_leaves_no_results(task):
    root, _ = task
    _, samples, log = lmms_eval(root, "nosuchmethod")
    assert not samples
    assert "nosuchmethod" in log
