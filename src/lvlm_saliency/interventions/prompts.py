"""Changed prompts: without their pictures, or with a text inserted after the pictures or at the front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.errors import SettingError
from lvlm_saliency.model import families
from lvlm_saliency.model.regions import padding_id, placeholder_ids

_MARKERS = (
    *(f"{marker}_token_{kind}" for marker in ("vision_start", "vision_end", "boi", "eoi") for kind in ("id", "index")),
    *("image_start_token_id", "image_end_token_id", "low_res_image_start_token_id", "visual_indicator_token_ids"),
)
"""Names under which families' configurations keep the ids that stand around a picture, or in it. Some name none."""


def without_pictures(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """The same prompts without image tokens and what belongs to the pictures beside them, left-padded again.

    Raises:
        SettingError: a prompt holds only pictures.
    """
    ids = inputs["input_ids"]
    text = _given(inputs) & ~_parts_of_pictures(model, inputs)
    if not bool(text.any(1).all()):
        raise SettingError("a prompt holds nothing but its picture: there is no text to read without it")
    rows = [torch.nonzero(keep).squeeze(1) for keep in text]
    return _gathered(model, {"input_ids": ids}, rows)


def after_pictures(
    model: Any, inputs: dict[str, Any], new: Sequence[int], closing: Sequence[Sequence[int]] = ()
) -> dict[str, Any]:
    """The same prompts with the ids `new` after the last picture, left-padded again.

    A mark that closes the picture belongs to it where the configuration names its id, the token types count it as a
    part, or its ids are in `closing`; elsewhere `new` stands right after the last image token.

    Args:
        model: the model.
        inputs: as the processor made them.
        new: what is inserted.
        closing: ids of each mark that may close a picture (`closing_marks`).

    Raises:
        SettingError: a prompt holds no picture.
    """
    ids, given = inputs["input_ids"], _given(inputs)
    image = given & torch.isin(ids, torch.tensor(placeholder_ids(model), dtype=ids.dtype, device=ids.device))
    if not bool(image.any(1).all()):
        raise SettingError("icd puts its instruction behind the picture, and a prompt holds none: leave it out")
    places = []
    for row, there in zip(_parts_of_pictures(model, inputs).tolist(), image, strict=True):
        place = int(torch.nonzero(there).max()) + 1
        while place < len(row) and row[place]:
            place += 1
        places.append(place)
    if closing:
        places = [_behind(closing, row, place) for row, place in zip(ids.tolist(), places, strict=True)]
    return _with_new(model, inputs, new, places)


def closing_marks(model: Any, tokenizer: Any) -> list[list[int]]:
    """The ids of each mark that may close a picture of this family, where its configuration does not name them."""
    names = families.presets(model.config.model_type).closing
    texts = [getattr(tokenizer, name, None) or name for name in names]
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def _behind(marks: Sequence[Sequence[int]], ids: Sequence[int], place: int) -> int:
    """The place after all marks that stand there."""
    while found := next((mark for mark in marks if list(mark) == list(ids[place : place + len(mark)])), None):
        place += len(found)
    return place


def at_the_front(model: Any, inputs: dict[str, Any], new: Sequence[int]) -> dict[str, Any]:
    """The same prompts with the ids `new` at the front, after a beginning-of-text id; left-padded again."""
    ids, given = inputs["input_ids"], _given(inputs)
    begin = model.config.get_text_config(decoder=True).bos_token_id
    places = []
    for row, here in zip(ids.tolist(), given, strict=True):
        first = int(torch.nonzero(here).min())
        places.append(first + (row[first] == begin))
    return _with_new(model, inputs, new, places)


def _with_new(model: Any, inputs: dict[str, Any], new: Sequence[int], places: Sequence[int]) -> dict[str, Any]:
    """The inputs with the ids `new` inserted in each row before its position in `places`."""
    rows = []
    for here, place in zip(_given(inputs), places, strict=True):
        kept = torch.nonzero(here).squeeze(1)
        added = torch.full((len(new),), -1, dtype=kept.dtype, device=kept.device)
        rows.append(torch.cat([kept[kept < place], added, kept[kept >= place]]))
    per_token = {name: inputs[name] for name in ("input_ids", *hf.PER_TOKEN) if isinstance(inputs.get(name), Tensor)}
    made = _gathered(model, per_token, rows, new)
    return {**{name: value for name, value in inputs.items() if name not in per_token}, **made}


def _gathered(model: Any, per_token: dict[str, Any], rows: Sequence[Tensor], new: Sequence[int] = ()) -> dict[str, Any]:
    """Tensors `[B, N]` at the positions that `rows` name (-1: the next of `new`), left-padded to one length."""
    width = max(map(len, rows))
    made = {}
    for name, values in per_token.items():
        if name in ("attention_mask", "position_ids"):
            continue
        fill = (padding_id(model) or 0) if name == "input_ids" else 0
        out = values.new_full((len(rows), width), fill)
        for row, positions in enumerate(rows):
            taken = values[row, positions.clamp_min(0)]
            added = torch.tensor(new, dtype=values.dtype, device=values.device) if name == "input_ids" else 0
            taken[positions < 0] = added
            out[row, width - len(positions) :] = taken
        made[name] = out
    lengths = torch.tensor([len(positions) for positions in rows], device=made["input_ids"].device)
    steps = torch.arange(width, device=lengths.device)
    made["attention_mask"] = (steps >= width - lengths[:, None]).long()
    return made


def _given(inputs: dict[str, Any]) -> Tensor:
    mask = inputs.get("attention_mask")
    return torch.ones_like(inputs["input_ids"], dtype=torch.bool) if mask is None else mask.bool()


def _parts_of_pictures(model: Any, inputs: dict[str, Any]) -> Tensor:
    """bool `[B, N]`: image tokens, ids around them that the configuration names, and what the types count as such."""
    ids = inputs["input_ids"]
    named = (getattr(model.config, name, None) for name in _MARKERS)
    marks = [one for value in named for one in (value if isinstance(value, (list, tuple)) else [value])]
    known = [*placeholder_ids(model), *(one for one in marks if isinstance(one, int))]
    parts = torch.isin(ids, torch.tensor(known, dtype=ids.dtype, device=ids.device))
    for name in hf.TYPES:
        if isinstance(types := inputs.get(name), Tensor):
            parts |= torch.isin(types, torch.tensor([1, 2], dtype=types.dtype, device=types.device))  # picture, video
    return parts
