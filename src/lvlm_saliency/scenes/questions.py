"""Questions about scenes: POPE's yes/no questions for evaluation, and those and others with answers for training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np

from lvlm_saliency.scenes import grammar
from lvlm_saliency.scenes.captions import noun_phrase, relation
from lvlm_saliency.scenes.classes import CLASSES, PLURALS, SCENE_KINDS, article, class_frequency, co_occurrence
from lvlm_saliency.scenes.world import Scene, SceneObject

POPE_CATEGORIES = ("random", "popular", "adversarial")
_POPE = 2  # the purpose number of this module's generators

CAPTION_PROMPTS = (
    "Describe the image.",
    "Describe the picture.",
    "Describe this image.",
    "Describe this picture.",
    "Describe the image in detail.",
    "Describe the picture in detail.",
    "Please describe this image in detail.",
    "Please help me describe the image in detail.",
    "What is in the picture?",
    "What is in the image?",
    "What is in this image?",
    "What do you see?",
    "What do you see in this picture?",
    "What can you see in the image?",
    "What does the picture show?",
    "What is shown in this image?",
    "Can you describe the picture?",
    "Tell me about this picture.",
    "Write a caption.",
    "Write a caption for this image.",
    "Write a detailed description of the image.",
    "Give me a description of the picture.",
)
_EXISTS = (
    "Is there {a} in the image?",
    "Is there {a} in the image?",
    "Is there {a} in the picture?",
    "Is there {a} in this image?",
    "Is there {a}?",
    "Can you see {a} in the image?",
    "Do you see {a}?",
    "Does the picture show {a}?",
    "Is {a} in the picture?",
)
_EXISTS_TAILS = ("Please answer yes or no.", "Answer the question using a single word or phrase.")
_COLOUR = ("What color {is} the {name}?", "What colour {is} the {name}?", "Which color {is} the {name}?")
_WHERE = ("Where is the {name}?", "Where is the {name} in the image?", "Where can you see the {name}?")
_COUNT = (
    "How many {plural} are there?",
    "How many {plural} are in the image?",
    "How many {plural} are in the picture?",
    "How many {plural} can you see?",
)
_LIST = (
    "Which objects are in the image?",
    "What objects are in the picture?",
    "Which objects can you see?",
    "List the objects in the image.",
    "List all objects.",
)
_BESIDE = ("What is {relation} the {name}?",)
_PLACE = ("What kind of place is this?", "What place does the picture show?", "Where is this?")


class PopeQuestion(TypedDict):
    """One line of a POPE file."""

    question_id: int
    image: str
    text: str
    label: str
    category: str


def pope_questions(scenes: Sequence[Scene], images: Sequence[str], per_scene: int = 3) -> list[PopeQuestion]:
    """POPE (Li et al., EMNLP 2023): per scene and category `per_scene` classes that are there and as many that are not.

    Negatives: "random" are drawn from all absent classes; "popular" are the absent classes most frequent in the world;
    "adversarial" are those that most often occur together with what is there. Only what is drawn counts as there.
    """
    questions: list[PopeQuestion] = []
    for scene, image in zip(scenes, images, strict=True):
        rng = scene.generator(_POPE)
        present = sorted(scene.present)
        positives = [present[i] for i in rng.permutation(len(present))[:per_scene]]
        for category in POPE_CATEGORIES:
            negatives = ranked_negatives(scene, category, rng)[: len(positives)]
            for positive, negative in zip(positives, negatives, strict=True):
                for name, label in ((positive, "yes"), (negative, "no")):
                    text = f"Is there {article(name)} {name} in the image?"
                    row = PopeQuestion(
                        question_id=len(questions) + 1, image=image, text=text, label=label, category=category
                    )
                    questions.append(row)
    return questions


def ranked_negatives(scene: Scene, category: str, rng: np.random.Generator) -> list[str]:
    """All classes that are not in the picture, in the order in which this category of negatives takes them."""
    absent = [name for name in CLASSES if name not in scene.present]
    shuffled = [absent[i] for i in rng.permutation(len(absent))]
    if category == "random":
        return shuffled
    if category == "popular":
        frequency = class_frequency()
        return sorted(shuffled, key=lambda name: -frequency[name])
    # fsum is exact: the order in which a set yields its members, which differs between processes, changes nothing.
    return sorted(shuffled, key=lambda name: -math.fsum(co_occurrence(name, other) for other in scene.present))


def training_question(
    scene: Scene, rng: np.random.Generator, kind: str | None = None, doubt: float | None = None
) -> tuple[str, str]:
    """A question and its answer as a noisy annotator gives it: hidden objects are said to be there.

    `kind` is one of exists, colour, where, count, list, place, beside; drawn where not given. A scene without a class
    that is there just once is asked for a colour in place of "where", and one without two such classes that lie
    plainly to each other for a place in place of "beside" (what lies where to something). `doubt` is the probability
    that a yes, in a scene with hidden objects, is about one of them (without it they are chosen as often as the
    others).
    """
    kinds = ("exists", *_WRITERS)
    kind = kind or kinds[rng.choice(len(kinds), p=_KIND_RATES)]
    item = scene.objects[rng.integers(len(scene.objects))]
    return _exists_question(scene, rng, doubt) if kind == "exists" else _WRITERS[kind](scene, item, rng)


def prompt_words() -> list[str]:
    """Every prompt wording there is, slots filled with nothing: the source of the tokenizer's vocabulary."""
    texts = [*CAPTION_PROMPTS, *_EXISTS, *_EXISTS_TAILS, *_COLOUR, *_WHERE, *_COUNT, *_LIST, *_PLACE, *_BESIDE]
    kinds = [f"It is {article(kind)} {kind}." for kind in SCENE_KINDS]
    return [*texts, *kinds, "Yes. No. One. Two. Three. None. They are. An A."]


def _exists_question(scene: Scene, rng: np.random.Generator, doubt: float | None) -> tuple[str, str]:
    if rng.random() < 0.5:
        said = [*scene.objects, *scene.hidden]
        if doubt is not None and scene.hidden:
            said = list(scene.hidden if rng.random() < doubt else scene.objects)
        name, answer = said[rng.integers(len(said))].name, "Yes."
    else:
        hidden = {item.name for item in scene.hidden}
        category = POPE_CATEGORIES[rng.choice(3, p=(0.5, 0.15, 0.35))]
        absent = [name for name in ranked_negatives(scene, category, rng) if name not in hidden]
        name, answer = absent[rng.integers(len(absent) if category == "random" else 4)], "No."
    text = _pick(rng, _EXISTS).replace("{a}", f"{article(name)} {name}")
    if rng.random() < 0.15:
        text += " " + _pick(rng, _EXISTS_TAILS)
    return text, answer


def _count_question(scene: Scene, item: SceneObject, rng: np.random.Generator) -> tuple[str, str]:
    name, count = item.name, item.count
    if rng.random() < 0.2:
        hidden = {other.name for other in scene.hidden}
        absent = [other for other in CLASSES if other not in scene.present | hidden]
        name, count = absent[rng.integers(len(absent))], 0
    answer = ("None.", "One.", "Two.", "Three.")[count]
    return _pick(rng, _COUNT).replace("{plural}", PLURALS[name]), answer


def _where_question(scene: Scene, _item: SceneObject, rng: np.random.Generator) -> tuple[str, str]:
    single = [other for other in scene.objects if other.count == 1]
    if not single:
        return training_question(scene, rng, "colour")
    item = single[rng.integers(len(single))]
    return _pick(rng, _WHERE).replace("{name}", item.name), f"It is {grammar.PLACES[item.cells[0]]}."


def _colour_question(_scene: Scene, item: SceneObject, rng: np.random.Generator) -> tuple[str, str]:
    plural = item.count > 1
    text = _pick(rng, _COLOUR).replace("{is}", "are" if plural else "is")
    text = text.replace("{name}", PLURALS[item.name] if plural else item.name)
    return text, f"{'They are' if plural else 'It is'} {item.colour}."


def _list_question(scene: Scene, _item: SceneObject, rng: np.random.Generator) -> tuple[str, str]:
    question = _pick(rng, _LIST)
    items = sorted([*scene.objects, *scene.hidden], key=lambda item: item.cells[0])
    phrases = [noun_phrase(item, rng, 0.3) for item in items]
    return question, grammar.sentence(", ".join(phrases[:-1]) + " and " + phrases[-1])


def _place_question(scene: Scene, _item: SceneObject, rng: np.random.Generator) -> tuple[str, str]:
    return _pick(rng, _PLACE), f"It is {article(scene.kind)} {scene.kind}."


def _beside_question(scene: Scene, _item: SceneObject, rng: np.random.Generator) -> tuple[str, str]:
    single = [other for other in scene.objects if other.count == 1]
    if len(single) < 2:
        return training_question(scene, rng, "where")
    item, anchor = (single[number] for number in rng.permutation(len(single))[:2])
    how = relation(item, anchor, rng)
    if how is None:
        return training_question(scene, rng, "where")
    text = _pick(rng, _BESIDE).replace("{relation}", how).replace("{name}", anchor.name)
    return text, grammar.sentence(noun_phrase(item, rng, 0.3))


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


_WRITERS: dict[str, Callable[[Scene, SceneObject, np.random.Generator], tuple[str, str]]] = {
    "colour": _colour_question,
    "where": _where_question,
    "count": _count_question,
    "list": _list_question,
    "place": _place_question,
    "beside": _beside_question,
}
_KIND_RATES = (0.46, 0.12, 0.12, 0.08, 0.1, 0.04, 0.08)
