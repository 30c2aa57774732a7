"""Captions of the demonstration: written, traced, and their mentions labelled by the scenes' ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..report.content import Mark, Run, run_of

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
    """Scenes, their drawings, and what each way of decoding wrote, the greedy one first."""

    scenes: Sequence[Any]
    images: Sequence[Any]
    ways: Sequence[Way]


def write_captions(count: int, tell: Callable[[str], None]) -> Demo:
    """Caption the first `count` demonstration scenes; `tell` is called with the name of each way as it begins."""
    from lvlm_saliency import SGRS, LocoRE, load_model

    from ..scenes import demo_scenes, draw_scene

    model, processor = load_model("scenes", device="cpu")
    scenes = demo_scenes(count)
    images = [draw_scene(scene) for scene in scenes]
    ways = {"greedy": [], "LocoRE": [LocoRE()], "SGRS": [SGRS(seed=0)], "SGRS + LocoRE": [SGRS(seed=0), LocoRE()]}
    written = []
    for name, methods in ways.items():
        tell(name)
        written.append(write_way(model, processor, scenes, images, name, methods))
    return Demo(scenes, images, written)


def write_way(
    model: Any, processor: Any, scenes: Sequence[Any], images: Sequence[Any], name: str, methods: Sequence[Any]
) -> Way:
    """Caption all pictures as one batch, and trace it under the methods that shaped its attention."""
    import torch

    from lvlm_saliency import build_inputs, generate, image_layouts, trace
    from lvlm_saliency.model.cut_off import finish
    from lvlm_saliency.model.regions import end_token_ids

    # One prompt for all, so every row has the same length and none needs padding.
    single = [build_inputs(processor, [image], PROMPT, model=model) for image in images]
    inputs = {key: torch.cat([row[key] for row in single]) for key in single[0]}
    output = generate(model, inputs, methods=methods, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
    shaping = [method for method in methods if hasattr(method, "edit_rows")]
    found = trace(model, inputs, output.sequences, methods=shaping)
    layouts = image_layouts(processor, inputs, [[image] for image in images], model=model)
    captions = []
    for at, (tokens, scene) in enumerate(zip(found.tokens(processor), scenes, strict=True)):
        mentions = labelled(tokens, scene)
        marks = [mark for mark, _ in mentions]
        steps = output.steps[at]
        cut = finish([step.token_id for step in steps], end_token_ids(model), MAX_NEW_TOKENS) == "length"
        run = run_of(found, processor, name=name, sample=at, layouts=layouts[at], marks=marks, steps=steps, cut=cut)
        ids = found.token_ids[at][found.valid[at]]
        captions.append(Caption(processor.tokenizer.decode(ids, skip_special_tokens=True).strip(), run, mentions))
    return Way(name, captions, output.cost.seconds)


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
