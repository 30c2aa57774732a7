"""The plug-in inside lmms-eval, on drawn scenes: `make test-lmms-eval`, which has an environment for it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

collect_ignore_glob = [] if find_spec("lmms_eval") else ["test_*.py"]

TASK = """
task: {name}
dataset_path: {data}
dataset_kwargs: {{load_from_disk: true}}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.pictures
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
process_results: !function utils.score
generation_kwargs: {{max_new_tokens: {tokens}, temperature: 0, do_sample: false}}
metric_list:
  - {{metric: right, aggregation: mean, higher_is_better: true}}
metadata: [{{version: 0.0}}]
{more}
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
OWN = "doc_to_messages: !function utils.messages"


@dataclass(frozen=True)
class Tasks:
    """Tasks of lmms-eval over drawn scenes. rows: question, answer and picture; the last question has no picture.

    `scenes_questions` says how a picture and a text are got, as POPE's task does; `scenes_messages` gives the same
    questions as messages; `scenes_captions` asks for longer answers.
    """

    folder: Path
    rows: list[dict[str, Any]]

    def run(self, model: Any, task: str = "scenes_questions", **settings: Any) -> tuple[list[str], float]:
        """The answers in the order of the rows, and the score. settings: of lmms-eval's `simple_evaluate`."""
        samples, score = self.samples(model, task, **settings)
        return [one["resps"][0][0] for one in samples], score

    def samples(self, model: Any, task: str, **settings: Any) -> tuple[list[dict[str, Any]], float]:
        """What lmms-eval logs of each document, in their order, and the score."""
        from lmms_eval.evaluator import simple_evaluate
        from lmms_eval.tasks import TaskManager

        manager = TaskManager(include_path=str(self.folder), include_defaults=False)
        found = simple_evaluate(
            model=model, tasks=[task], task_manager=manager, log_samples=True, bootstrap_iters=0, **settings
        )
        samples = sorted(found["samples"][task], key=lambda one: one["doc_id"])
        assert [one["doc_id"] for one in samples] == list(range(len(self.rows)))
        return samples, found["results"][task]["right,none"]


@pytest.fixture(scope="session")
def tasks(tmp_path_factory) -> Tasks:
    from datasets import Dataset, DatasetDict, Features, Value
    from datasets import Image as Picture

    from lvlm_saliency.benchmarks.opening import open_benchmark

    root = tmp_path_factory.mktemp("tasks")
    bench = open_benchmark("scenes-pope", n=3)
    items = bench.items[:8]
    rows = [
        {"question": i.prompt, "answer": bench.questions[i.index]["label"], "image": bench.picture(i)} for i in items
    ]
    rows.append({"question": "Is there a dog in the image?", "answer": "no", "image": None})
    kinds = Features({"question": Value("string"), "answer": Value("string"), "image": Picture()})
    DatasetDict({"test": Dataset.from_list(rows, features=kinds)}).save_to_disk(root / "data")
    captions = [{**row, "question": "Describe the image."} for row in rows]
    DatasetDict({"test": Dataset.from_list(captions, features=kinds)}).save_to_disk(root / "captions")
    for name, data, tokens, more in (
        ("scenes_questions", "data", 4, ""),
        ("scenes_messages", "data", 4, OWN),
        ("scenes_captions", "captions", 16, ""),
    ):
        text = TASK.format(name=name, data=root / data, tokens=tokens, more=more)
        (root / f"{name}.yaml").write_text(text)
    (root / "utils.py").write_text(UTILS)
    return Tasks(root, rows)


@pytest.fixture(scope="session")
def model():
    """Makes a model with methods; the checkpoint is the shipped one."""
    from lvlm_saliency.integrations.lmms_eval.model import SaliencyLMM

    return lambda methods="greedy", **settings: SaliencyLMM(
        "scenes", methods, **{"batch_size": 4, "seed": 7, **settings}
    )
