"""What the guard costs on the shapes of LLaVA-1.5-7B, with random weights: passes, time and peak memory.

    python -m bench.guard_shapes [--layers 4] [--device cpu] [--batch-size 2]

Random weights write no captions, so a script says what is written, the same in every line: greedy decoding;
a guard that asks about every object and keeps all of them; one that goes back, without asking, where a draw says so;
and the three over a sampled base, where the script leaves the choice of the object to the draw.
Width, heads and picture tokens are the 7B model's, the words those of the model that ships. Every way runs in a process
of its own, so that peak memory is its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from typing import Any

import torch
from PIL import Image

import lvlm_saliency as ls
from bench.detectors import model_of
from lvlm_saliency.guard.verdicts import Random, Rates
from lvlm_saliency.model.provenance import machine

ASKS = ls.Guard(risk="off", threshold=0.999999, words="scenes", seed=1)
TAKES_BACK = ls.Guard(words="scenes", verdicts=Random(Rates((0.33,), 0.33), seed=1), attributes=False, seed=1)
WAYS: dict[str, list[Any]] = {
    "greedy": [],
    "guard, asks about every object": [ASKS],
    "guard, takes a third of the objects back": [TAKES_BACK],
    "sampled": [ls.Sampling(seed=1)],
    "sampled, guard asks about every object": [ASKS, ls.Sampling(seed=1)],
    "sampled, guard takes a third back": [TAKES_BACK, ls.Sampling(seed=1)],
}
OBJECTS = ("cup", "dog", "lamp", "chair", "ball", "tree")


class Script:
    """What is written: sentences about one object after the other, the next one where a word is banned."""

    def __init__(self, tokenizer: Any, length: int):
        def number(word: str) -> int:
            return int(tokenizer.convert_tokens_to_ids(word))

        self.length = length
        self.places = [
            [number(word)] if word else [number(OBJECTS[(at + n) % len(OBJECTS)]) for n in range(len(OBJECTS))]
            for at in range(len(OBJECTS))
            for word in ("There", "is", "a", "", ".")
        ]
        self.end = number("</s>")

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        made, at = torch.full_like(scores, -50.0), ids.shape[1] - self.length
        for rank, token in enumerate(self.places[at] if at < len(self.places) else [self.end]):
            made[:, token] = 20.0 - rank
        return made


def processor_of() -> Any:
    """The shipped model's words, and pictures of 336 x 336 in 576 tokens."""
    processor = ls.load_model("scenes")[1]
    side = {"height": 336, "width": 336}
    processor.image_processor.size = processor.image_processor.crop_size = side
    processor.patch_size = 14
    return processor


def measured(way: str, options: argparse.Namespace) -> None:
    """One way, in a line."""
    processor = processor_of()
    image = processor.tokenizer.convert_tokens_to_ids("<image>")
    dtype = torch.bfloat16 if options.dtype == "bfloat16" else torch.float32
    model = model_of(options.layers, options.device, dtype)
    model.config.image_token_index = model.config.image_token_id = image
    pictures = [[Image.new("RGB", (336, 336), (90, 120, 200))] for _ in range(options.batch_size)]
    texts = ["USER: <image>\nDescribe the image. ASSISTANT:"] * options.batch_size
    inputs = processor(images=pictures, text=texts, padding=True, return_tensors="pt").to(options.device)
    inputs["pixel_values"] = inputs["pixel_values"].to(dtype)
    script = Script(processor.tokenizer, inputs["input_ids"].shape[1])
    begin = time.process_time()
    draws = {"do_sample": True, "top_k": 0} if way.startswith("sampled") else {}
    out = ls.generate(
        model, dict(inputs), WAYS[way], processor=processor, logits_processor=[script], max_new_tokens=64, **draws
    )
    seconds = time.process_time() - begin
    tokens = max(len(step) for step in out.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if options.device != "cpu":
        peak = torch.cuda.max_memory_allocated() / 2**30
    cost = out.cost
    print(
        f"{way:42} {cost.forwards / tokens:5.2f} passes a token ({cost.forwards} for {tokens}), {cost.drafted} tokens "
        f"drafted, {cost.kept} kept, {cost.rollbacks} taken back; {seconds:6.1f} s; peak {peak:.2f} GiB",
        flush=True,
    )


def main() -> None:
    """A line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        measured(options.way, options)
        return
    print(f"{options.layers} of 32 layers, {options.dtype}, batch of {options.batch_size}; {machine()}")
    for way in WAYS:
        subprocess.run([sys.executable, "-m", "bench.guard_shapes", *sys.argv[1:], "--way", way], check=True)


if __name__ == "__main__":
    main()
