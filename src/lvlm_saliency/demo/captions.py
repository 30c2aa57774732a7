"""Captions of the demonstration: written, traced, and their mentions labelled by the scenes' ground truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..report.content import Mark, Run, run_of

PROMPT = "Describe the image."
MAX_NEW_TOKENS = 96


@dataclass(frozen=True)
class Caption:
    """A caption with its trace and its labelled mentions: (tokens, whether correct, whether first of its class)."""

    text: str
    run: Run
    mentions: Sequence[tuple[Mark, bool]]
    cost: Any

    @property
    def hallucinated(self) -> list[Mark]:
        """The mentions of what is not in the picture."""
        return [mark for mark, _ in self.mentions if mark.kind == "hallucinated"]


@dataclass(frozen=True)
class Picture:
    """A scene, its drawing, and one caption per method, the greedy one first."""

    scene: Any
    image: Any
    captions: Sequence[Caption]


def write_captions(count: int) -> Iterator[Picture]:
    """The first `count` demonstration scenes, one after the other."""
    from .. import SGRS, LocoRE, load_model
    from ..scenes import demo_scenes, draw_scene

    model, processor = load_model("scenes", device="cpu")
    ways = {"greedy": [], "LocoRE": [LocoRE()], "SGRS": [SGRS(seed=0)], "SGRS + LocoRE": [SGRS(seed=0), LocoRE()]}
    for scene in demo_scenes(count):
        image = draw_scene(scene)
        captions = [write_caption(model, processor, scene, image, name, methods) for name, methods in ways.items()]
        yield Picture(scene, image, captions)


def write_caption(model: Any, processor: Any, scene: Any, image: Any, name: str, methods: Sequence[Any]) -> Caption:
    """Write one caption, trace it under the methods that shaped its attention, and label its mentions."""
    from .. import build_inputs, generate, image_layouts, trace

    inputs = build_inputs(processor, [image], PROMPT, model=model)
    output = generate(model, inputs, methods=methods, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
    shaping = [method for method in methods if hasattr(method, "edit_rows")]
    found = trace(model, inputs, output.sequences, methods=shaping)
    layouts = image_layouts(processor, inputs, [[image]], model=model)[0]
    tokens = found.tokens(processor)[0]
    mentions = labelled(tokens, scene)
    marks = [mark for mark, _ in mentions]
    run = run_of(found, processor, name=name, layouts=layouts, marks=marks, steps=output.steps[0])
    text = processor.tokenizer.decode(found.token_ids[0], skip_special_tokens=True).strip()
    return Caption(text, run, mentions, output.cost)


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
