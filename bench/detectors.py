"""Memory and time of every detector on the shapes of a real model, with random weights: `python -m bench.detectors`.

A LLaVA with the width, heads, vocabulary and picture tokens of LLaVA-1.5-7B, by default four of its 32 layers in
bfloat16 on a CPU (`--layers 32 --device cuda` on a card). Each detector is captured and scored by itself, on one text;
its row says how long that took beside a plain pass, and how much memory its reading holds.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence

import numpy as np
import torch

import lvlm_saliency as ls
from lvlm_saliency.detection.fitted import Fittable
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import LensOf, Reading

ASKING = ("self-check", "lpfv")
"""Detectors that need a processor: they cost passes over short prompts, which no shape here could tell more about."""


def model_of(layers: int, device: str, dtype: torch.dtype, narrow: bool = False) -> torch.nn.Module:
    """A LLaVA-1.5-7B of so many layers (narrow: and an eighth of the width), with random weights and a small vision
    tower that makes 576 tokens."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=336, patch_size=14
    )
    text = LlamaConfig(
        hidden_size=512 if narrow else 4096,
        intermediate_size=1376 if narrow else 11008,
        num_hidden_layers=layers,
        num_attention_heads=4 if narrow else 32,
        vocab_size=32064,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=32000,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return LlavaForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)


def text_of(model: torch.nn.Module, tokens: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Inputs of one picture and a short question, and an answer of so many tokens."""
    random = torch.Generator().manual_seed(0)
    words = torch.randint(5, 30000, (1, 30 + tokens), generator=random)
    ids = torch.cat([words[:, :10], torch.full((1, 576), 32000), words[:, 10:30]], dim=1).to(model.device)
    pixels = torch.rand(1, 3, 336, 336, generator=random).to(model.device, model.dtype)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
    return inputs, torch.cat([ids, words[:, 30:].to(ids.device)], dim=1)


def held(reading: Reading) -> int:
    """Bytes of a reading's arrays."""
    total = 0
    for value in vars(reading).values():
        for one in value.values() if isinstance(value, dict) else [value]:
            parts = vars(one).values() if isinstance(one, LensOf) else [one]
            total += sum(part.nbytes for part in parts if isinstance(part, np.ndarray))
    return total


def measured(model, inputs, sequences, names: Sequence[str], mentions: Sequence[Mention]) -> tuple[float, int]:
    """Seconds and bytes of one reading with the scores of its mentions."""
    begin = time.perf_counter()
    found = ls.reading(model, inputs, sequences, list(names), mentions=mentions)[0]
    side = int(len(found.image) ** 0.5)
    found.tiles = [np.arange(side * side).reshape(side, side)]
    for name in names:
        one = ls.detector(name)
        for mention in mentions:
            one.features(found, mention) if isinstance(one, Fittable) else one.score(found, mention)
    return time.perf_counter() - begin, held(found)


def main() -> None:
    """Print a row for each detector."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--narrow", action="store_true", help="an eighth of the width: to see that all of it runs")
    parser.add_argument("--only", nargs="*", help="detectors; default all that need no processor, and not the risk")
    options = parser.parse_args()
    model = model_of(options.layers, options.device, getattr(torch, options.dtype), options.narrow)
    inputs, sequences = text_of(model, options.tokens)
    mentions = [Mention(at, at + 1, str(at)) for at in range(2, options.tokens, 6)]
    names = options.only or [name for name in ls.detectors() if name not in (*ASKING, "risk")]
    measured(model, inputs, sequences, [], mentions)  # the first pass pays for what later ones find ready
    plain, _ = measured(model, inputs, sequences, [], mentions)
    print(f"{'plain pass':<24}{plain:8.2f} s")
    for name in names:
        seconds, size = measured(model, inputs, sequences, [name], mentions)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        told = f"{seconds:8.2f} s {seconds / plain:6.2f} passes {size / 2**20:9.1f} MiB  peak {peak:.1f} GiB"
        print(f"{name:<24}{told}", flush=True)


if __name__ == "__main__":
    main()
