"""POPE questions: balanced, true to the ground truth, negatives of three kinds; training questions are answerable."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.scenes.classes import CLASSES, class_frequency, co_occurrence
from lvlm_saliency.scenes.grammar import RELATIONS
from lvlm_saliency.scenes.questions import POPE_CATEGORIES, pope_questions, ranked_negatives, training_question
from lvlm_saliency.scenes.statements import label_statements
from lvlm_saliency.scenes.world import Scene, generate_scenes

SCENES = st.builds(lambda seed: generate_scenes(1, seed)[0], st.integers(0, 100_000))


@given(SCENES)
def test_labels_are_the_ground_truth_and_balanced(scene: Scene) -> None:
    questions = pope_questions([scene], ["a.png"])
    assert len(questions) == 18
    assert questions == pope_questions([scene], ["a.png"])
    for category in POPE_CATEGORIES:
        rows = [row for row in questions if row["category"] == category]
        assert [row["label"] for row in rows] == ["yes", "no"] * 3
        for row in rows:
            name = re.fullmatch(r"Is there an? (\w+) in the image\?", row["text"]).group(1)
            assert row["label"] == ("yes" if name in scene.present else "no")
            assert ("Is there an " in row["text"]) == (name[0] in "aeiou")


@given(SCENES)
def test_negatives_are_ranked_as_their_category_says(scene: Scene) -> None:
    frequency = class_frequency()
    for category in POPE_CATEGORIES:
        names = ranked_negatives(scene, category, np.random.default_rng(0))
        assert sorted(names) == sorted(set(CLASSES) - scene.present)
    popular = [frequency[name] for name in ranked_negatives(scene, "popular", np.random.default_rng(0))]
    assert popular == sorted(popular, reverse=True)
    adversarial = ranked_negatives(scene, "adversarial", np.random.default_rng(0))
    together = [math.fsum(co_occurrence(name, other) for other in scene.present) for name in adversarial]
    assert together == sorted(together, reverse=True)


def test_ids_count_over_all_scenes() -> None:
    questions = pope_questions(generate_scenes(3, 1), ["a", "b", "c"])
    assert [row["question_id"] for row in questions] == list(range(1, 55))


@pytest.mark.parametrize("kind", ["exists", "colour", "where", "count", "list", "place", "beside", None])
@given(scene=SCENES, seed=st.integers(0, 1000))
def test_training_questions_are_filled(kind: str | None, scene: Scene, seed: int) -> None:
    question, answer = training_question(scene, np.random.default_rng(seed), kind)
    assert "{" not in question + answer
    assert question[-1] in "?."
    assert answer[0].isupper()
    assert answer.endswith(".")


@given(scene=SCENES, seed=st.integers(0, 1000))
def test_what_lies_beside_something_lies_there(scene: Scene, seed: int) -> None:
    question, answer = training_question(scene, np.random.default_rng(seed), "beside")
    asked = re.fullmatch(r"What is (.+) the (\w+)\?", question)
    if asked is None or asked[1] not in RELATIONS:  # no two things lie plainly to each other: another question
        return
    name = next(name for name in CLASSES if re.search(rf"\b{name}\b", answer))
    stated = label_statements(f"There is a {name} {asked[1]} the {asked[2]}.", scene)
    assert [each.correct for each in stated if each.kind == "relation"] == [True]


@given(scene=SCENES, seed=st.integers(0, 1000))
def test_noisy_yes_covers_what_is_hidden_and_nothing_else(scene: Scene, seed: int) -> None:
    question, answer = training_question(scene, np.random.default_rng(seed), "exists")
    said = scene.present | {item.name for item in scene.hidden}
    name = next(name for name in CLASSES if re.search(rf"\b{name}\b", question))
    assert answer == ("Yes." if name in said else "No.")


def test_doubt_makes_a_yes_be_about_what_is_absent_more_often() -> None:
    scenes = [scene for scene in generate_scenes(400, 12) if scene.hidden]
    shares = []
    for doubt in (0.05, 0.6):
        rng = np.random.default_rng(0)
        turns = [(scene, *training_question(scene, rng, "exists", doubt)) for scene in scenes for _ in range(4)]
        yes = [(scene, question) for scene, question, answer in turns if answer == "Yes."]
        wrong = sum(any(re.search(rf"\b{item.name}\b", question) for item in scene.hidden) for scene, question in yes)
        shares.append(wrong / len(yes))
    assert shares[0] == pytest.approx(0.05, abs=0.04)
    assert shares[1] == pytest.approx(0.6, abs=0.08)


def test_every_process_asks_the_same_questions() -> None:
    """Sets yield their members in another order in every process; no question may depend on that."""
    code = (
        "import hashlib; from lvlm_saliency.scenes.questions import pope_questions;"
        "from lvlm_saliency.scenes.world import generate_scenes; scenes = generate_scenes(200, 0);"
        "print(hashlib.sha256(repr((scenes, pope_questions(scenes, ['x'] * 200))).encode()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "03"
    }
    assert len(found) == 1
