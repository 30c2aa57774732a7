"""Random attention rows, and what an edit makes of them."""

from __future__ import annotations

import dataclasses

import torch

from lvlm_saliency.attention.rows import Rows
from lvlm_saliency.attention.state import RowContext

HEADS, GROUPS, WIDTH = 4, 2, 6


def call(seed, prompt, past, new, image=None, padding=None, layer=3):
    """A layer's attention call as an edit sees it: random queries, keys and values, causal and padding mask."""
    random = torch.Generator().manual_seed(seed)
    query = torch.randn(2, HEADS, new, WIDTH, generator=random)
    key, value = (torch.randn(2, GROUPS, past + new, WIDTH, generator=random) for _ in range(2))
    context = RowContext(layer, past, new, prompt, past + new, 0, torch.device("cpu"), image, padding)
    visible = (context.key_positions <= context.query_positions[:, None])[None, None].expand(2, 1, new, past + new)
    if padding is not None:
        hidden = torch.nn.functional.pad(padding, (0, past + new - prompt))[:, None, None]
        visible = visible & ~hidden | torch.eye(past + new, dtype=torch.bool)[past:]  # a row of padding sees itself
    rows = Rows(query, key, value, visible, 0.4, past)
    context.make_rows = lambda _place: rows
    return context, rows


def scores_of(rows):
    key = rows.key.repeat_interleave(HEADS // GROUPS, 1)
    return (rows.query @ key.transpose(-1, -2)) * rows.scale


def applied(rows, edit):
    return dataclasses.replace(rows, edit=edit).weights(slice(0, rows.query.shape[2]))


def softmax(scores, visible):
    return torch.softmax(scores.masked_fill(~visible, float("-inf")), -1)


def picture(prompt, start=1, stop=4):
    image = torch.zeros(2, prompt, dtype=torch.bool)
    image[:, start:stop] = True
    return image
