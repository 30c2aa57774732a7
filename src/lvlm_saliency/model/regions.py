"""Which region each position belongs to: system, image, prompt or output (docs/method.md, 2).

Regions are read from the token ids and the model's configuration; no prompt format of a family is hard-coded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency.errors import InputError, SettingError, UnsupportedModelError
from lvlm_saliency.short import shown, some

# Families name the placeholder's id differently; a model that has none of these shows its pictures elsewhere.
_PICTURES = ("image_token_id", "image_token_index")
_PLACEHOLDERS = (*_PICTURES, "video_token_id", "video_token_index")
PIXELS = ("pixel_values", "pixel_values_videos", "pixel_values_images", "image_pixel_values")
"""Names of pictures and videos among a model's inputs."""


@dataclass(frozen=True)
class Regions:
    """Four disjoint masks, bool `[batch, N]` with N = n0 + T, that cover every position except padding.

    Attributes:
        system: positions before the first image token (start token and template included).
        image: positions of picture (or video) features.
        prompt: the other positions of the prompt: text between and after pictures, or all of it where there is none.
        output: generated tokens, up to and including the one that ends the text.
    """

    system: Tensor
    image: Tensor
    prompt: Tensor
    output: Tensor

    def __repr__(self) -> str:
        names = ("system", "image", "prompt", "output")
        counts = {name: some(getattr(self, name).sum(1).tolist()) for name in names}
        return shown(self, shape=list(self.output.shape), **counts)

    def to(self, device: torch.device | str) -> Regions:
        """The same masks on another device."""
        return Regions(*(mask.to(device) for mask in (self.system, self.image, self.prompt, self.output)))

    def cut(self, samples: slice, positions: slice) -> Regions:
        """The masks of some samples and positions."""
        return Regions(*(mask[samples, positions] for mask in (self.system, self.image, self.prompt, self.output)))

    def rows(self, samples: Tensor) -> Regions:
        """The regions of these samples (repeats allowed), int64 `[R]`."""
        return Regions(*(mask[samples] for mask in (self.system, self.image, self.prompt, self.output)))

    @property
    def padding(self) -> Tensor:
        """bool `[batch, N]`: positions of no region, before a shorter prompt or after a finished text."""
        return ~(self.system | self.image | self.prompt | self.output)


def check_named(inputs: Any) -> None:
    """Raise `InputError` unless inputs are names with what belongs to them."""
    if not isinstance(inputs, Mapping):
        instead = ": pass {'input_ids': ids}" if isinstance(inputs, Tensor) else ""
        raise InputError(f"inputs must be what the processor returned, not a {type(inputs).__name__}{instead}")


def token_regions(
    model: Any,
    inputs: Mapping[str, Any],
    sequences: Any = None,
    *,
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int | None = None,
) -> Regions:
    """The region of each position of `inputs`, and of the text generated from them.

    Args:
        model: the model, for its placeholder ids and its end-of-text ids.
        inputs: `input_ids` int64 `[batch, n0]` with image tokens expanded, as every processor of transformers returns
            them, and `attention_mask` `[batch, n0]` where prompts are padded.
        sequences: int64 `[batch, n0 + T]` (prompt included), or what `generate(return_dict_in_generate=True)` returned;
            None for the prompt alone (T = 0). The output of `lvlm_saliency.generate` carries the two ids below.
        eos_token_id: the id (or ids) that ended the texts, where they were passed to `generate`; default the model's
            own.
        pad_token_id: the id that padded shorter texts; likewise.

    Returns:
        Regions on the device of `input_ids`.

    Raises:
        InputError: no `input_ids`, or sequences shorter than the prompt or of another batch.
        SettingError: eos_token_id or pad_token_id is not an id.
        UnsupportedModelError: pictures are given but the model marks no positions for them.
    """
    check_named(inputs)
    if not isinstance(inputs.get("input_ids"), Tensor):
        raise InputError(
            "the inputs hold no input_ids tensor: pass what the processor returned with return_tensors='pt'"
        )
    ids = inputs["input_ids"]
    batch, prompt_length = ids.shape
    steps = getattr(sequences, "steps", None) if eos_token_id is None and pad_token_id is None else None
    sequences = ids if sequences is None else getattr(sequences, "sequences", sequences).to(ids.device)
    if sequences.shape[0] != batch or sequences.shape[1] < prompt_length:
        raise InputError(
            f"sequences are {list(sequences.shape)} but the prompts {list(ids.shape)}: pass prompt and answer together"
        )
    total = sequences.shape[1]

    mask = inputs.get("attention_mask")
    given = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.to(ids.device).bool()
    image = given & torch.isin(ids, torch.tensor(placeholder_ids(model), dtype=ids.dtype, device=ids.device))
    if not image.any() and any(inputs.get(name) is not None for name in PIXELS):
        raise UnsupportedModelError(
            f"{type(model).__name__} was given pictures, but no position of the prompt holds them "
            "(no image_token_id of its configuration occurs): regions need image tokens in the prompt"
        )
    before = image.cumsum(1) == 0
    has_image = image.any(1, keepdim=True)
    system = given & has_image & before
    prompt = given & ~image & ~system

    def padded(region: Tensor) -> Tensor:
        return torch.nn.functional.pad(region, (0, total - prompt_length))

    if steps is not None and len(steps) == batch:
        lengths = torch.tensor([len(taken) for taken in steps], device=ids.device)
    else:
        lengths = output_lengths(model, sequences, prompt_length, eos_token_id, pad_token_id)
    output = torch.zeros(batch, total, dtype=torch.bool, device=ids.device)
    output[:, prompt_length:] = torch.arange(total - prompt_length, device=ids.device) < lengths[:, None]
    return Regions(padded(system), padded(image), padded(prompt), output)


def output_lengths(
    model: Any,
    sequences: Tensor,
    prompt_length: int,
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int | None = None,
) -> Tensor:
    """How many generated tokens of each sample are text, int64 `[batch]`.

    A text ends with its first end-of-text token, which counts as its last token; everything after it is padding. A
    sample that ended in another way (a stop string) is followed by padding tokens: a run of them at the end counts as
    padding too. The ids are the model's own unless they are given.
    """
    answer = sequences[:, prompt_length:]
    steps = answer.shape[1]
    lengths = torch.full((len(answer),), steps, device=answer.device)
    if not steps:
        return lengths
    end_ids = end_token_ids(model) if eos_token_id is None else token_ids("eos_token_id", eos_token_id)
    if end_ids:
        ended = torch.isin(answer, torch.tensor(end_ids, device=answer.device))
        lengths = torch.where(ended.any(1), ended.int().argmax(1) + 1, lengths)
    pad = padding_id(model) if pad_token_id is None else token_ids("pad_token_id", pad_token_id)[0]
    if pad is not None and pad not in end_ids:
        text = answer != pad
        last = steps - text.flip(1).int().argmax(1)
        lengths = torch.minimum(lengths, torch.where(text.any(1), last, 0))
    return lengths


def placeholder_ids(model: Any, videos: bool = True) -> list[int]:
    """The ids that stand for picture or (with `videos`) video features in a prompt, ascending; empty for a text
    model."""
    configs = model.config, getattr(model.config, "vision_config", None)
    found = {getattr(config, name, None) for config in configs for name in (_PLACEHOLDERS if videos else _PICTURES)}
    return sorted(i for i in found if isinstance(i, int))


def end_token_ids(model: Any) -> list[int]:
    """The ids that end a text, from the model's generation settings, or else its configuration."""
    return _as_list(_setting(model, "eos_token_id"))


def padding_id(model: Any) -> int | None:
    """The id that fills up finished samples, from the model's generation settings, or else its configuration."""
    return next(iter(_as_list(_setting(model, "pad_token_id"))), None)


def _setting(model: Any, name: str) -> Any:
    for source in (getattr(model, "generation_config", None), model.config.get_text_config(decoder=True)):
        value = getattr(source, name, None)
        if value is not None:
            return value
    return None


def _as_list(value: Any) -> list[int]:
    if value is None:
        return []
    return [int(v) for v in value] if isinstance(value, (list, tuple)) else [int(value)]


def token_ids(name: str, value: Any) -> list[int]:
    """Token ids that were given in a call.

    Raises:
        SettingError: not one id, nor a list of them.
    """
    ids = value.flatten().tolist() if isinstance(value, Tensor) else value
    ids = list(ids) if isinstance(ids, (list, tuple)) else [ids]
    if not ids or not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        raise SettingError(f"{name} must be a token id or a list of them, not {value!r}")
    return ids
