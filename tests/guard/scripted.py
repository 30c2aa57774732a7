"""The shipped model under a guard, with a script in place of its logits, so that every decision can be followed."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

import lvlm_saliency as ls
from lvlm_saliency.scenes import draw_scene

END = "</s>"


def batch(processor, scenes, prompts):
    processor.tokenizer.padding_side = "left"
    texts = [f"USER: <image>\n{prompt} ASSISTANT:" for prompt in prompts]
    pictures = [[draw_scene(scene)] for scene in scenes]
    return processor(images=pictures, text=texts, padding=True, return_tensors="pt")


@dataclass
class Absent:
    """Decides that these objects are not there; remembers what it was asked."""

    names: set = field(default_factory=set)
    asked: list = field(default_factory=list)

    def acts(self, word):
        self.asked.append(word)
        return word.name in self.names

    def record(self):
        return {}


class Script:
    """What is written: at each position of an answer the words in order of preference; other words are never written,
    but for the end."""

    def __init__(self, tokenizer, length, *lines):
        self.length = length
        self.places = [[tokenizer.convert_tokens_to_ids(word) for word in line.split("|")] for line in lines]
        self.end = tokenizer.convert_tokens_to_ids(END)

    def __call__(self, ids, scores):
        out = torch.full_like(scores, -50.0)
        at = ids.shape[1] - self.length
        wanted = self.places[at] if at < len(self.places) else [self.end]
        for rank, token in enumerate(wanted):
            out[:, token] = 20.0 - rank
        return out


def scripted(loaded, inputs, guard, *lines, **settings):
    model, processor = loaded
    one = {name: value[:1] for name, value in inputs.items()}
    script = Script(processor.tokenizer, one["input_ids"].shape[1], *lines)
    out = ls.generate(
        model, one, [guard], processor=processor, logits_processor=[script], max_new_tokens=60, **settings
    )
    return out, text_of(processor, out, one)


def text_of(processor, out, inputs, sample=0):
    return processor.decode(out.sequences[sample, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def guard(*absent, **more):
    return ls.Guard(words="scenes", verdicts=Absent(set(absent)), **more)
