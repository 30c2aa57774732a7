"""The state of one forward call: where its rows stand, what edits them, and what is to be captured of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor

from lvlm_saliency.attention.edits import RowEdit
from lvlm_saliency.attention.rows import Recorder, Rows
from lvlm_saliency.errors import SettingError
from lvlm_saliency.hf.cache_graph import Fresh

if TYPE_CHECKING:
    from lvlm_saliency.attention.parts import Acting, RowEditor

FORWARD_STATE = "lvlm_saliency_state"
"""Name of the forward keyword under which the state travels from the decoder to its attention layers."""


@dataclass
class RowContext:
    """Where one layer's rows stand: what an edit needs to know.

    layer: decoder layer number; past/new: tokens in the cache before this call and in it; prompt_length: n0, absolute
    positions (padding counted); keys: number of key columns; offset: absolute position of key column 0; image, padding:
    which positions of the prompt hold pictures and which hold nothing, bool `[batch, n0]`, None where there are none;
    shift: int64 `[batch]`, how many columns of padding stand left of each sample's prompt, where samples have kept
    different numbers of tokens, else None: a sample's positions are then those columns further right;
    cached: whether the call has a cache, so that a row is fed once, when its token comes in.
    """

    layer: int
    past: int
    new: int
    prompt_length: int
    keys: int
    offset: int
    device: torch.device
    image: Tensor | None = None
    padding: Tensor | None = None
    make_rows: Callable[[RowContext], Rows] | None = field(default=None, repr=False)
    shift: Tensor | None = None
    cached: bool = False

    @functools.cached_property
    def rows(self) -> Rows:
        """The layer's queries, keys and mask before any edit, for an edit that depends on them."""
        if self.make_rows is None:
            raise RuntimeError("these rows stand outside of a call: there are no queries and keys to look at")
        return self.make_rows(self)

    @overload
    def columns(self, prompt: Tensor) -> Tensor: ...
    @overload
    def columns(self, prompt: None) -> None: ...

    def columns(self, prompt: Tensor | None) -> Tensor | None:
        """A mask over the prompt `[batch, n0]` laid on this call's key columns, bool `[B, K]`; B may be several beams
        or answers to each of the batch, next to one another."""
        if prompt is None:
            return None
        positions = self.key_positions
        inside = positions < prompt.shape[1]
        found = prompt.to(self.device)[:, positions.clamp(max=prompt.shape[1] - 1)] & inside
        batch = self.rows.query.shape[0]
        return found if len(found) == batch else found.repeat_interleave(batch // len(found), dim=0)

    def needs_whole_prompt(self, name: str) -> None:
        """Refuse a prompt that comes in pieces.

        Raises:
            SettingError: these rows are a part of the prompt.
        """
        if self.past < self.prompt_length and (self.past or self.past + self.new < self.prompt_length):
            raise SettingError(
                f"{name} looks at the prompt as a whole, and here it comes in pieces (a trace, prefill_chunk_size, or "
                f"layer {self.layer} is run on the prompt's last rows alone, as Gemma 4 does where layers share keys): "
                "trace without it, or feed the prompt at once"
            )

    @property
    def query_positions(self) -> Tensor:
        """Absolute positions of the query rows, `[T]`."""
        return torch.arange(self.past, self.past + self.new, device=self.device)

    @property
    def key_positions(self) -> Tensor:
        """Absolute positions of the key columns, `[K]`."""
        return torch.arange(self.offset, self.offset + self.keys, device=self.device)


class PrefillComplete(Exception):
    """Ends a forward call of which nothing but keys and values was wanted: the cache has them (`Capture.keys_only`)."""


@dataclass
class Capture:
    """Asks for rows of saliency: which layers, from which query row on, and where the records go.

    `layers` None means every layer that has attention. `outputs[layer]` holds the layer's attention output
    `[B, T, H, Dv]` (in the graph) and `rows[layer]` its `Rows`, for whoever differentiates by hand.

    Without `graph` nothing is differentiated: the layers run as ever, and `weights[layer]` holds the post-softmax rows
    `[B, H, T, K]` in float32 as the edits left them.

    With `keys_only` the call ends with `PrefillComplete` where one of `layers` would attend: its keys and values are in
    the cache by then.

    With `whole` the layers run eagerly inside the ordinary autograd graph and `weights[layer]` holds the full map
    `[B, H, T, K]`: the definition itself, at its full price.
    """

    layers: frozenset[int] | None = None
    first: int = 0
    recorder: Callable[[int, RowContext], Recorder] | None = None
    graph: bool = True
    whole: bool = False
    keys_only: bool = False
    anchor: Tensor | None = None
    weights: dict[int, Tensor] = field(default_factory=dict)
    outputs: dict[int, Tensor] = field(default_factory=dict)
    rows: dict[int, Rows] = field(default_factory=dict)
    contexts: dict[int, RowContext] = field(default_factory=dict)

    def wants(self, layer: int) -> bool:
        return self.layers is None or layer in self.layers


@dataclass
class ForwardState:
    """The state of one forward call; made by a session, carried by the call, gone with it."""

    past: int
    new: int
    prompt_length: int
    editors: Sequence[RowEditor] = ()
    capture: Capture | None = None
    image: Tensor | None = None
    padding: Tensor | None = None
    cache: Any = None
    shift: Tensor | None = None
    acting: Sequence[Acting] = ()
    """Whatever changes the call: the editors, and hooks between the layers."""
    fresh: Fresh = field(default_factory=Fresh)
    """New keys and values that still carry a graph; the cache holds them without."""
    numbers: Mapping[Any, int] = field(default_factory=dict)
    """Numbers of attention modules whose own `layer_idx` is not their layer's."""
    reached: set[int] = field(default_factory=set)
    """Layers whose attention was called in this call."""
    traits: dict[int, tuple[Any, ...] | None] = field(default_factory=dict)
    """By layer what the editors say of it (see `RowEditor`), None where one says nothing; filled as layers come."""
    edits: dict[Hashable, RowEdit | None] = field(default_factory=dict)
    masks: dict[Hashable, tuple[Tensor | None, Tensor | None]] = field(default_factory=dict)
    """By `kind` of layer, as the first of each finds them: the edit, and the backend's mask before and after it."""
    edited: bool = False
    """Whether a method has changed anything in this call."""

    def missed(self, layers: Iterable[int]) -> list[int]:
        """Those of `layers` whose rows were to be edited or captured, and whose attention was not called."""
        wanted = (n for n in layers if self.editors or (self.capture is not None and self.capture.wants(n)))
        return sorted(set(wanted) - self.reached)

    def layer(self, module: Any) -> int | None:
        """The number of the layer that an attention module belongs to; None for one outside the language model."""
        return self.numbers[module] if module in self.numbers else getattr(module, "layer_idx", None)

    def kind(self, layer: int, query: Tensor, key: Tensor) -> Hashable | None:
        """Layers of one kind under one mask are edited alike; None for a layer that has to be looked at by itself."""
        if layer not in self.traits:
            told = [editor.kind_of_layer(layer) for editor in self.editors]
            self.traits[layer] = None if any(trait is None for trait in told) else tuple(told)
        trait = self.traits[layer]
        return None if trait is None else (trait, query.shape[2], key.shape[2], key.dtype, key.device)
