"""Drawn scenes with exact ground truth: nothing to download, nothing to annotate."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.benchmarks import pope
from lvlm_saliency.benchmarks.base import Benchmark, Item, Result, check_part, part
from lvlm_saliency.benchmarks.prompts import DESCRIBE
from lvlm_saliency.benchmarks.scenes import statements as scene_statements
from lvlm_saliency.stats.bootstrap import Bootstrap

if TYPE_CHECKING:
    from PIL.Image import Image

    from lvlm_saliency.scenes import Scene

DEFAULT_N = 500


@dataclass(frozen=True)
class Scenes(Benchmark):
    """Scenes of the drawn world.

    Attributes:
        seed: of the scenes (not of the decoding).
        split: "test", or "dev" to choose settings on; scenes of different splits are never the same.
        offset: number of the first scene.
    """

    seed: int = 0
    split: str = "test"
    offset: int = 0

    def __post_init__(self) -> None:
        check_part(self, ("test", "dev"))

    @cached_property
    def scenes(self) -> list[Scene]:
        from lvlm_saliency.scenes import generate_scenes

        return generate_scenes(self.n or DEFAULT_N, self.seed, self.split, start=self.offset)

    @cached_property
    def by_image(self) -> dict[str, Scene]:
        return {_image(scene): scene for scene in self.scenes}

    def picture(self, item: Item) -> Image:
        from lvlm_saliency.scenes import draw_scene

        return draw_scene(self.by_image[item.image])

    def present(self, item: Item) -> Collection[str]:
        return self.by_image[item.image].present

    def picture_digest(self, item: Item) -> str:
        return self._digests[item.image]

    @cached_property
    def _digests(self) -> dict[str, str]:
        from lvlm_saliency.scenes import draw_scene

        return {
            image: hashlib.sha256(draw_scene(scene).tobytes()).hexdigest() for image, scene in self.by_image.items()
        }

    def described(self) -> dict[str, Any]:
        return {**super().described(), "n": self.n or DEFAULT_N, "seed": self.seed, **part(self, "test")}


@dataclass(frozen=True)
class ScenesCaption(Scenes):
    """CHAIR's definitions on exact ground truth, what is named must be in the picture; and whether what is said of it,
    number, colour, place and relation, is true."""

    name: ClassVar[str] = "scenes-caption"

    def rows(self) -> Sequence[tuple[str, str, str]]:
        return [(_image(scene).removesuffix(".png"), _image(scene), DESCRIBE) for scene in self.scenes]

    def words(self) -> str:
        return "scenes"

    def captions(self) -> frozenset[int]:
        return frozenset(item.index for item in self.items)

    def score(self, texts: Mapping[int, str]) -> dict[str, Result]:
        entries = [_labelled(self.items[index].image, text, self.scenes[index]) for index, text in texts.items()]
        said = [_stated(self.items[index].image, text, self.scenes[index]) for index, text in texts.items()]
        formed = sum(one["counts"]["well_formed"] for one in said) / len(texts) if texts else float("nan")
        return {
            "captions": {
                "benchmark": "chair",
                "variant": "exact ground truth of the drawn world",
                "per_caption": entries,
                "extra": {"well-formed": formed},
            },
            "statements": {
                "benchmark": scene_statements.NAME,
                "variant": "exact ground truth of the drawn world",
                "per_caption": said,
            },
        }


@dataclass(frozen=True)
class ScenesPope(Scenes):
    """POPE's questions about the scenes: random, popular and adversarial negatives."""

    name: ClassVar[str] = "scenes-pope"

    @cached_property
    def questions(self) -> list[Any]:
        from lvlm_saliency.scenes import pope_questions

        return pope_questions(self.scenes, list(self.by_image))

    def rows(self) -> Sequence[tuple[str, str, str]]:
        return [(f"{row['category']}/{row['question_id']}", row["image"], row["text"]) for row in self.questions]

    def score(self, texts: Mapping[int, str]) -> dict[str, Result]:
        return score_by_category([self.questions[index] for index in texts], list(texts.values()), "official")


def score_by_category(questions: Sequence[Mapping[str, Any]], answers: Sequence[str], parser: str) -> dict[str, Result]:
    """POPE for each kind of negatives, and over all of them."""
    kinds = list(dict.fromkeys(question["category"] for question in questions))
    parts = {kind: [(q, a) for q, a in zip(questions, answers, strict=True) if q["category"] == kind] for kind in kinds}
    if len(kinds) > 1:
        parts["all"] = list(zip(questions, answers, strict=True))
    return {
        kind: pope.score(
            [question for question, _ in pairs],
            [{"question": question["text"], "answer": answer} for question, answer in pairs],
            parser,
            bootstrap=Bootstrap(0),
        )
        for kind, pairs in parts.items()
    }


def _image(scene: Scene) -> str:
    split = "" if scene.split == "test" else f"{scene.split}-"
    return f"scene-{split}{scene.seed}-{scene.index:05d}.png"


def _labelled(image: str, text: str, scene: Scene) -> dict[str, Any]:
    """An entry of `chair.score`'s `per_caption`, with the world's own labels in place of a synonym list."""
    from lvlm_saliency.scenes import label_mentions

    mentions = label_mentions(text, scene)
    wrong = [{"word": text[m.start_char : m.end_char], "node_word": m.class_name} for m in mentions if not m.correct]
    return {
        "image_id": image,
        "words": [text[m.start_char : m.end_char] for m in mentions],
        "node_words": [m.class_name for m in mentions],
        "hallucinated": wrong,
        "recalled": sorted({m.class_name for m in mentions if m.correct}),
        "truth_objects": len(scene.present),
        "tokens": len(text.split()),
        "CHAIR_s": int(bool(wrong)),
    }


def _stated(image: str, text: str, scene: Scene) -> dict[str, Any]:
    """An entry of the result that `scene_statements.table` reads."""
    from lvlm_saliency.scenes import label_claims, parses

    return {"image_id": image, "counts": scene_statements.counts_of(text, label_claims(text, scene), parses(text))}
