"""Reading captions against the ground truth: which mentions are hallucinated, word by word, and the CHAIR scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lvlm_saliency.errors import InputError
from lvlm_saliency.scenes.classes import SINGULAR
from lvlm_saliency.scenes.grammar import MENTION, reads_as_caption
from lvlm_saliency.scenes.world import Scene


@dataclass(frozen=True)
class Mention:
    """One word of a caption that names a class: `text[start_char:end_char]`.

    `correct` is whether the class is in the picture; `first` whether the caption names it for the first time here
    ("to the left of the cup" names a cup again).
    """

    start_char: int
    end_char: int
    class_name: str
    correct: bool
    first: bool


def label_mentions(text: str, scene: Scene) -> list[Mention]:
    """Every mention in the text, in order, labelled by the scene's ground truth (whether or not the text parses)."""
    mentions = []
    seen: set[str] = set()
    for match in MENTION.finditer(text):
        word = match.group().lower()
        name = SINGULAR.get(word, word)
        mentions.append(Mention(match.start(), match.end(), name, name in scene.present, name not in seen))
        seen.add(name)
    return mentions


def label_tokens(text: str, offsets: Sequence[tuple[int, int]], scene: Scene) -> list[Mention | None]:
    """Per token the mention that it is part of, else None.

    `offsets` are the tokens' (start, end) characters in `text`, as a tokenizer's `return_offsets_mapping` gives them.
    An empty token (start == end) belongs to nothing.
    """
    mentions = label_mentions(text, scene)
    return [
        next((m for m in mentions if start < m.end_char and end > m.start_char and start < end), None)
        for start, end in offsets
    ]


def parses(text: str) -> bool:
    """Whether the text is a well-formed caption of the world's grammar (its truth is not judged)."""
    return reads_as_caption(text)


@dataclass(frozen=True)
class ChairScores:
    """CHAIR (Rohrbach et al., EMNLP 2018), each between 0 and 1.

    `chair_s`: captions with at least one hallucinated mention over captions; `chair_i`: hallucinated mentions over
    mentions, every one counted, repetitions too; `recall`: classes of the pictures that their captions name, over all
    classes of the pictures.
    """

    chair_s: float
    chair_i: float
    recall: float


def chair_scores(texts: Sequence[str], scenes: Sequence[Scene]) -> ChairScores:
    """CHAIR over captions and their scenes, in order. Raises `InputError` when there are none or they do not pair."""
    if len(texts) != len(scenes) or not texts:
        raise InputError(f"CHAIR needs one caption per scene and at least one; got {len(texts)} and {len(scenes)}")
    wrong_captions = wrong = total = found = present = 0
    for text, scene in zip(texts, scenes, strict=True):
        mentions = label_mentions(text, scene)
        bad = sum(not mention.correct for mention in mentions)
        wrong_captions += bad > 0
        wrong += bad
        total += len(mentions)
        found += len({mention.class_name for mention in mentions if mention.correct})
        present += len(scene.present)
    return ChairScores(wrong_captions / len(texts), wrong / max(total, 1), found / max(present, 1))
