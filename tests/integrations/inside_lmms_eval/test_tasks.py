"""The own tasks of lmms-eval: what they ask of a model is served, and what docs/lmms-eval.md says of them holds.

They are those of the release that the environment has. Where one changes, the page has to.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import lmms_eval
import pytest
from lmms_eval.utils import load_yaml_config

from lvlm_saliency.benchmarks.pope import scorer
from lvlm_saliency.integrations.lmms_eval.requests import wanted

FOLDER = Path(lmms_eval.__file__).parent / "tasks"
TASKS = {
    "pope/pope.yaml": 128,
    "coco_cap_chair/coco_cap_chair.yaml": 2048,
    "mme/mme.yaml": 16,
    "llava-in-the-wild/llava-in-the-wild.yaml": 4096,
    "mmvet/mmvet.yaml": 1024,
    "vizwiz_vqa/_default_template_vqa_yaml": 128,
    "scienceqa/scienceqa_img.yaml": 16,
    "amber_g/amber_g.yaml": 2048,
    "hallusion_bench/hallusion_bench_image.yaml": 128,
    "mmvp/_default_template_yaml": 16,
}
"""Their limits of tokens."""


def settings(file: str) -> dict:
    """A task's settings, without importing its functions."""
    return load_yaml_config(str(FOLDER / file), mode="simple")


def utils(task: str):
    """A task's functions."""
    return import_module(f"lmms_eval.tasks.{task}.utils")


@pytest.mark.parametrize("file", TASKS)
def test_their_generation_settings_are_served_greedily(file):
    asked = wanted(settings(file)["generation_kwargs"], draws=False)
    greedy = {"do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None}
    assert asked.settings == {**greedy, "max_new_tokens": TASKS[file]}
    assert set(asked.until) <= {"ASSISTANT:"}


def test_pope_wants_the_bare_word_and_counts_the_truth():
    pope = utils("pope")
    truth, said = ["yes", "no", "yes", "no"], ["Yes", "Yes.", "yes", "no"]
    docs = [{"question_id": str(n), "answer": one} for n, one in enumerate(truth)]
    results = [pope.pope_process_results(doc, [text]) for doc, text in zip(docs, said, strict=True)]
    assert [one["pope_accuracy"]["score"] for one in results] == [1, 0, 1, 1]
    wrong = pope.pope_process_results(docs[0], ["Yes."])
    assert wrong["pope_accuracy"]["score"] == 0
    assert pope.pope_aggregate_yes_ratio([one["pope_yes_ratio"] for one in results]) == 0.5
    # "Yes." is neither yes nor no to it: no false positive, so its precision is better than the truth.
    assert pope.pope_aggregate_precision([one["pope_precision"] for one in results]) == 1
    asked = [{"question_id": n, "label": one, "text": "q"} for n, one in enumerate(truth)]
    given = [{"question_id": n, "answer": one} for n, one in enumerate(said)]
    ours = scorer.score(asked, given)
    assert (ours["yes_ratio"], ours["precision"]) == (0.75, pytest.approx(2 / 3))


def test_chair_has_no_ratio_where_nothing_is_named():
    chair = utils("coco_cap_chair")
    with pytest.raises(ZeroDivisionError):
        chair.coco_cap_chair_aggregate_results_chair_i([{"answer": ["dog"], "pred": []}])


def test_mme_needs_both_questions_of_a_picture():
    mme = utils("mme")
    one = {"question_id": "a", "category": "existence", "score": 1.0}
    assert mme.mme_aggregate_results([one, one]) == 200
    with pytest.raises(AssertionError):
        mme.mme_aggregate_results([one])


def test_prompts_and_judges_are_not_those_of_papers():
    assert "think step by step" in settings("mmvet/mmvet.yaml")["lmms_eval_specific_kwargs"]["default"]["pre_prompt"]
    for task in ("llava-in-the-wild", "mmvet"):
        assert '"gpt-4o-2024-11-20"' in (FOLDER / task / "utils.py").read_text()
    vizwiz = (FOLDER / "vizwiz_vqa" / "utils.py").read_text()
    assert "['question'].capitalize()" in vizwiz


def test_scienceqa_reads_a_letter_alone_or_before_a_point():
    sqa = utils("scienceqa")
    doc = {"answer": 1, "choices": ["x", "y"]}
    scores = [
        sqa.sqa_process_results(doc, [text])["exact_match"] for text in ("B", "b", "B. y", "The answer is B.", "(B)")
    ]
    assert scores == [1, 1, 1, 0, 0]


def test_amber_calls_more_of_its_cognition_error_better():
    better = {one["metric"]: one["higher_is_better"] for one in settings("amber_g/amber_g.yaml")["metric_list"]}
    assert better == {"amber_chair": False, "amber_cover": True, "amber_hal": False, "amber_cog": True}
