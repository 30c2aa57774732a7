"""Measures the shipped model: greedy captions and POPE answers on held-out scenes, with bootstrap intervals.

`python -m training.evaluate` prints the figures of the 1,000 test scenes as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration, LlavaProcessor

from lvlm_saliency import hf
from lvlm_saliency.scenes.classes import PLURALS
from lvlm_saliency.scenes.draw import draw_scene
from lvlm_saliency.scenes.grammar import NUMBERS, PLACES
from lvlm_saliency.scenes.labels import label_mentions, parses
from lvlm_saliency.scenes.questions import POPE_CATEGORIES, pope_questions
from lvlm_saliency.scenes.statements import KINDS, label_statements
from lvlm_saliency.scenes.world import Scene, generate_scenes

PROMPT = "Describe the image."
MODEL = Path("src/lvlm_saliency/scenes/model")
ATTRIBUTES = ("colour", "place", "count")
STATED = (*(kind for kind in KINDS if kind != "object"), "several")
Figures = dict[str, list[float]]


def evaluate(folder: Path, scenes: Sequence[Scene], resamples: int = 2000, batch: int = 100) -> Figures:
    """Each figure as [value, low, high], a 95 % percentile bootstrap over scenes.

    The weights are those on disk (fp16 as shipped); the computation is in float32, `batch` scenes at a time. CHAIR
    counts every mention, including repeated ones.
    """
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder)
    captions = greedy_captions(model, processor, scenes, batch)
    counts = caption_counts(captions, scenes)
    counts |= attribute_counts(model, processor, scenes, batch)
    for category, (right, asked) in pope_counts(model, processor, scenes, max(1, batch // 2)).items():
        counts[f"{category}_right"], counts[f"{category}_asked"] = right, asked

    def figures(rows: np.ndarray) -> dict[str, float]:
        sums = {name: values[rows].sum() for name, values in counts.items()}
        found = {
            "parse_rate": sums["parses"] / len(rows),
            "recall": sums["found"] / sums["present"],
            "chair_s": sums["hallucinates"] / len(rows),
            "chair_i": sums["wrong"] / max(sums["mentions"], 1),
            "words": sums["words"] / len(rows),
        }
        found |= {f"said_{kind}": sums[f"said_{kind}_right"] / max(sums[f"said_{kind}"], 1) for kind in STATED}
        found |= {f"{kind}s_per_caption": sums[f"said_{kind}"] / len(rows) for kind in ("place", "relation")}
        found["said_all"] = sums["statements_right"] / max(sums["statements"], 1)
        found |= {name: sums[f"{name}_right"] / sums[f"{name}_asked"] for name in ATTRIBUTES}
        found |= {f"pope_{name}": sums[f"{name}_right"] / sums[f"{name}_asked"] for name in POPE_CATEGORIES}
        found["pope_random_minus_adversarial"] = found["pope_random"] - found["pope_adversarial"]
        return found

    rng = np.random.default_rng(0)
    value = figures(np.arange(len(scenes)))
    samples = [figures(rng.integers(len(scenes), size=len(scenes))) for _ in range(resamples)]
    result = {}
    for name, point in value.items():
        low, high = np.percentile([sample[name] for sample in samples], [2.5, 97.5])
        result[name] = [round(float(each), 4) for each in (point, low, high)]
    return result


@torch.no_grad()
def greedy_captions(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, scenes: Sequence[Scene], batch: int = 100
) -> list[str]:
    """One greedy caption per scene, by `generate` and the processor, as a user would call them."""
    captions: list[str] = []
    for start in range(0, len(scenes), batch):
        some = scenes[start : start + batch]
        inputs = inputs_for(processor, some, [PROMPT] * len(some))
        out = model.generate(**inputs, max_new_tokens=96, do_sample=False)
        captions += processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return captions


def caption_counts(captions: Sequence[str], scenes: Sequence[Scene]) -> dict[str, np.ndarray]:
    """Per-scene counts, float64 [n], that the caption figures are ratios of."""
    counts: dict[str, list[float]] = {}
    for text, scene in zip(captions, scenes, strict=True):
        mentions = label_mentions(text, scene)
        wrong = sum(not mention.correct for mention in mentions)
        row = {
            "parses": parses(text),
            "hallucinates": wrong > 0,
            "wrong": wrong,
            "mentions": len(mentions),
            "found": len({mention.class_name for mention in mentions if mention.correct}),
            "present": len(scene.present),
            "words": len(text.split()),
        } | _statement_counts(text, scene)
        for name, value in row.items():
            counts.setdefault(name, []).append(float(value))
    return {name: np.array(values) for name, values in counts.items()}


def _statement_counts(text: str, scene: Scene) -> dict[str, int]:
    """Numbers of statements about objects in the picture, by kind, and of the true ones.

    "several" counts numbers above one; "statements" counts all statements, including those about absent objects.
    """
    counts = dict.fromkeys([f"said_{kind}{end}" for kind in STATED for end in ("", "_right")], 0)
    statements = label_statements(text, scene)
    for each in statements:
        if each.kind == "object" or not each.present:
            continue
        several = each.kind == "count" and text[each.start_char : each.end_char].lower() not in {"a", "an"}
        for kind in (each.kind, "several") if several else (each.kind,):
            counts[f"said_{kind}"] += 1
            counts[f"said_{kind}_right"] += each.correct
    return counts | {"statements": len(statements), "statements_right": sum(each.correct for each in statements)}


@torch.no_grad()
def attribute_counts(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, scenes: Sequence[Scene], batch: int = 100
) -> dict[str, np.ndarray]:
    """Per scene the right answers (word for word) about one object's colour, place and number, and the questions asked.

    Colour and place are asked of the first class that is there once (not asked where there is none), the number of the
    first class.
    """
    counts = {f"{name}_{what}": np.zeros(len(scenes)) for name in ATTRIBUTES for what in ("right", "asked")}
    for name in ATTRIBUTES:
        asked = [(row, *turn) for row, scene in enumerate(scenes) if (turn := _attribute_turn(scene, name))]
        for start in range(0, len(asked), batch):
            rows, questions, answers = zip(*asked[start : start + batch], strict=True)
            inputs = inputs_for(processor, [scenes[row] for row in rows], questions)
            out = model.generate(**inputs, max_new_tokens=10, do_sample=False)
            said = processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            for row, text, answer in zip(rows, said, answers, strict=True):
                counts[f"{name}_right"][row] = text == answer
                counts[f"{name}_asked"][row] = 1
    return counts


def _attribute_turn(scene: Scene, attribute: str) -> tuple[str, str] | None:
    if attribute == "count":
        item = scene.objects[0]
        return f"How many {PLURALS[item.name]} are there?", f"{NUMBERS[item.count].capitalize()}."
    item = next((item for item in scene.objects if item.count == 1), None)
    if item is None:
        return None
    if attribute == "colour":
        return f"What color is the {item.name}?", f"It is {item.colour}."
    return f"Where is the {item.name}?", f"It is {PLACES[item.cells[0]]}."


@torch.no_grad()
def pope_counts(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, scenes: Sequence[Scene], batch: int = 50
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per category the right answers and the questions of every scene, float64 [n] each.

    A scene's questions share the key/value cache of the prompt up to the picture: the same numbers as asking one by
    one, several times faster. The answer is the first token written: "Yes" or "No"; anything else is wrong.
    """
    counts = {name: (np.zeros(len(scenes)), np.zeros(len(scenes))) for name in POPE_CATEGORIES}
    yes, no = processor.tokenizer.convert_tokens_to_ids(["Yes", "No"])
    for start in range(0, len(scenes), batch):
        some = scenes[start : start + batch]
        questions = pope_questions(some, [str(start + i) for i in range(len(some))])
        inputs = inputs_for(processor, some, [questions[0]["text"]] * len(some))
        ids = inputs["input_ids"]
        split = int((ids[0] == model.config.image_token_id).nonzero().max()) + 1
        read = model(input_ids=ids[:, :split], pixel_values=inputs["pixel_values"], use_cache=True)
        cache = hf.cache_of(read)
        owners = torch.tensor([int(question["image"]) - start for question in questions])
        cache.batch_select_indices(owners)
        tails = [prompt_for(processor, question["text"]).split(processor.image_token)[1] for question in questions]
        # Filled up on the right, where causal attention does not look: no mask is needed.
        tail = processor.tokenizer(
            tails, add_special_tokens=False, padding=True, padding_side="right", return_tensors="pt"
        )
        last = tail["attention_mask"].sum(dim=1) - 1
        logits = model(input_ids=tail["input_ids"], use_cache=True, **{hf.CACHE: cache}).logits
        answers = logits[torch.arange(len(last)), last].argmax(-1)
        for question, owner, answer in zip(questions, owners.tolist(), answers.tolist(), strict=True):
            right, asked = counts[question["category"]]
            right[start + owner] += answer == (yes if question["label"] == "yes" else no)
            asked[start + owner] += 1
    return counts


def inputs_for(processor: LlavaProcessor, scenes: Sequence[Scene], texts: Sequence[str]) -> dict[str, torch.Tensor]:
    """The model's inputs for one question about each scene, padded to one batch."""
    prompts = [prompt_for(processor, text) for text in texts]
    pictures = [draw_scene(scene) for scene in scenes]
    return processor(images=pictures, text=prompts, padding=True, return_tensors="pt")


def prompt_for(processor: LlavaProcessor, text: str) -> str:
    """The chat template's text for a picture and one question."""
    content = [{"type": "image"}, {"type": "text", "text": text}]
    return processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)


def main() -> None:
    """Print the figures of the test split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split", default="test")
    options = parser.parse_args()
    figures = evaluate(options.model, generate_scenes(options.n, options.seed, options.split))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
