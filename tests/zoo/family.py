"""One family of the zoo: how its tiny checkpoint is made, loaded and fed."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoConfig, BatchFeature
from transformers.utils.logging import disable_progress_bar

from lvlm_saliency.model.processors import load_processor

from .weights import randomise

QUESTIONS = (
    "Describe this image in detail, please.",
    "What colour is the boat?",
    "Is there a clock on the wall, and are there two cats on the table? Answer in one word.",
    "A dog?",
)
SIZES = ((70, 40), (36, 64), (90, 90), (33, 101))  # width, height: no two alike, none of the encoders' own

_FOLDER = Path(tempfile.mkdtemp(prefix="zoo-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
disable_progress_bar()


def picture(seed: int, size: tuple[int, int] | None = None) -> Image.Image:
    """A coarse colour mosaic of `size` (width, height), so that neighbouring patches differ."""
    random = np.random.default_rng(seed)
    width, height = size or SIZES[seed % len(SIZES)]
    blocks = random.integers(0, 256, (height // 6 + 1, width // 6 + 1, 3), dtype=np.uint8)
    return Image.fromarray(blocks.repeat(6, 0).repeat(6, 1)[:height, :width])


@dataclass(frozen=True)
class Family:
    """`create()` returns a freshly made (model, processor); everything else follows from it.

    `build()` hands out one shared copy per process (float32, eval mode): leave it as it was, or ask `fresh()`.
    """

    name: str
    create: Callable[[], tuple[torch.nn.Module, Any]] = field(repr=False)
    text_only: bool = False
    seed: int = 0
    needs: str = ""
    """A package without which its processor cannot be made."""
    kind: str = ""
    """Its model type, where that is not its name."""
    padded: bool = True
    """Whether transformers itself gives a padded prompt what it gives the prompt alone."""

    def folder(self) -> str:
        """The checkpoint's folder (safetensors, processor), made on first use and removed with the process."""
        return _folder(self)

    def build(self) -> tuple[Any, Any]:
        """The shared (model, processor)."""
        return _build(self)

    def fresh(self) -> tuple[Any, Any]:
        """A copy of one's own."""
        return _load(self.folder())

    @property
    def model_type(self) -> str:
        return self.kind or self.name

    @property
    def eos_token_id(self) -> int:
        tokenizer = self.tokenizer
        return tokenizer.eos_token_id

    @property
    def tokenizer(self) -> Any:
        processor = self.build()[1]
        return getattr(processor, "tokenizer", processor)

    def pictures(self, n: int = 1, images: int = 1, seed: int = 0) -> list[list[Image.Image]]:
        """`images` pictures for each of `n` samples, all of different contents, in several sizes."""
        if self.text_only:
            return [[] for _ in range(n)]
        return [[picture(100 * seed + images * row + i) for i in range(images)] for row in range(n)]

    def prompts(self, n: int = 1, images: int = 1, seed: int = 0) -> list[str]:
        """Templated prompts with unexpanded image placeholders, of different lengths."""
        processor = self.build()[1]
        processor = processor if processor.chat_template else self.tokenizer  # some keep their template there
        content = [] if self.text_only else [{"type": "image"}] * images
        prompts = []
        for row in range(n):
            text = QUESTIONS[(row + seed) % len(QUESTIONS)]
            turn = {"role": "user", "content": text if self.text_only else [*content, {"type": "text", "text": text}]}
            prompts.append(processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False))
        return prompts

    def inputs(self, n: int = 1, images: int = 1, seed: int = 0) -> BatchFeature:
        """`n` samples as the processor makes them: left-padded when the prompts differ in length."""
        processor = self.build()[1]
        text = self.prompts(n, images, seed)
        settings = {"return_tensors": "pt", "padding": True, "add_special_tokens": False}
        if self.text_only or not images:
            return BatchFeature(dict(processor(text=text, **settings)))
        return in_float32(processor(images=self.pictures(n, images, seed), text=text, **settings))


def in_float32(inputs: BatchFeature) -> BatchFeature:
    """The inputs for a model in float32; some processors make pictures in bfloat16."""
    return inputs.to(torch.float32)


@functools.cache
def _folder(family: Family) -> str:
    folder = _FOLDER / family.name
    with torch.random.fork_rng():  # some parameters are drawn by the constructors alone
        torch.manual_seed(family.seed)
        model, processor = family.create()
    tokenizer = getattr(processor, "tokenizer", processor)
    randomise(model, tokenizer.all_special_ids, family.seed)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.generation_config.bos_token_id = tokenizer.bos_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def _load(folder: str) -> tuple[Any, Any]:
    config = AutoConfig.from_pretrained(folder)
    model = getattr(transformers, config.architectures[0]).from_pretrained(folder, dtype=torch.float32).eval()
    return model, load_processor(folder, config)


@functools.cache
def _build(family: Family) -> tuple[Any, Any]:
    return _load(family.folder())
