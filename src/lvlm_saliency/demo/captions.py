"""Captions of the demonstration: written, traced, and their mentions labelled by the scenes' ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..report.content import Mark, Run

if TYPE_CHECKING:
    from ..chat import Chat

PROMPT = "Describe the image."
MAX_NEW_TOKENS = 96


@dataclass(frozen=True)
class Caption:
    """A caption with its trace, and its labelled mentions: where they are, and whether the first of their class."""

    text: str
    run: Run
    mentions: Sequence[tuple[Mark, bool]]

    @property
    def hallucinated(self) -> list[Mark]:
        """The mentions of what is not in the picture."""
        return [mark for mark, _ in self.mentions if mark.kind == "hallucinated"]


@dataclass(frozen=True)
class Way:
    """What one way of decoding wrote about every picture, and the seconds that it took."""

    name: str
    captions: Sequence[Caption]
    seconds: float


@dataclass(frozen=True)
class Demo:
    """Scenes, their drawings, and the captions of each way of decoding: greedy first, then the guard, then others."""

    scenes: Sequence[Any]
    images: Sequence[Any]
    ways: Sequence[Way]


def write_captions(count: int, tell: Callable[[str], None]) -> Demo:
    """Caption the first `count` demonstration scenes; `tell` is called with the name of each way as it begins."""
    from lvlm_saliency import SGRS, Chat, Guard, LocoRE

    from ..scenes import demo_scenes, draw_scene

    chat = Chat.load("scenes", device="cpu")
    scenes = demo_scenes(count)
    images = [draw_scene(scene) for scene in scenes]
    ways = {
        "greedy": [],
        "guard": [Guard()],
        "LocoRE": [LocoRE()],
        "SGRS": [SGRS(seed=0)],
        "SGRS + LocoRE": [SGRS(seed=0), LocoRE()],
    }
    written = []
    for name, methods in ways.items():
        tell(name)
        written.append(write_way(chat, scenes, images, name, methods))
    return Demo(scenes, images, written)


def write_way(chat: Chat, scenes: Sequence[Any], images: Sequence[Any], name: str, methods: Sequence[Any]) -> Way:
    """Caption all pictures as one batch, and explain it."""
    from ..chat import Query
    from ..risk.model import SHIPPED, RiskModel

    queries = [Query(PROMPT, [image]) for image in images]
    answers = chat.ask(queries, methods, name=name, max_new_tokens=MAX_NEW_TOKENS)
    captions = []
    risk = RiskModel.load(SHIPPED)
    for explained, scene in zip(chat.explain(answers, risk=risk), scenes, strict=True):
        mentions = labelled(explained.tokens, scene)
        run = explained.run(marks=[mark for mark, _ in mentions])
        captions.append(Caption(explained.text, run, mentions))
    return Way(name, captions, answers[0].output.cost.seconds)


def labelled(tokens: Sequence[str], scene: Any) -> list[tuple[Mark, bool]]:
    """Every mention as a span of tokens, and whether it is the first of its class."""
    from ..scenes import label_tokens

    offsets, end = [], 0
    for token in tokens:
        offsets.append((end, end + len(token)))
        end += len(token)
    found: dict[int, tuple[Any, list[int]]] = {}
    for at, mention in enumerate(label_tokens("".join(tokens), offsets, scene)):
        if mention is not None:
            found.setdefault(mention.start_char, (mention, []))[1].append(at)
    return [
        (Mark(where[0], where[-1] + 1, "correct" if mention.correct else "hallucinated"), mention.first)
        for mention, where in found.values()
    ]
