"""The state of one forward call: the positions of its rows, their editors, and what is to be captured."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor

from lvlm_saliency.attention.edits import RowEdit
from lvlm_saliency.attention.rows import Rows
from lvlm_saliency.attention.saliency import Recorder
from lvlm_saliency.errors import SettingError
from lvlm_saliency.hf.cache_graph import Fresh

if TYPE_CHECKING:
    from lvlm_saliency.attention.parts import Acting, RowEditor

FORWARD_STATE = "lvlm_saliency_state"
"""Name of the forward keyword under which the state travels from the decoder to its attention layers."""


@dataclass
class RowContext:
    """The rows of one layer's attention call, as an editor sees them.

    Attributes:
        layer: decoder layer number, from 0.
        past: tokens in the cache before this call.
        new: tokens fed in this call: the number of query rows.
        prompt_length: n0, padding included.
        keys: number of key columns.
        offset: absolute position of key column 0.
        device: of the layer's tensors.
        image: bool `[batch, n0]`, the positions of image tokens in the prompt; None where there are none.
        padding: bool `[batch, n0]`, the positions of padding in the prompt; None where there is none.
        make_rows: computes `rows`; None outside of a forward call.
        shift: int64 `[batch]` or None. Where the samples of a batch have kept different numbers of drafted tokens, this
            many more columns of padding stand left of each sample's prompt, and all its positions are larger by it.
        cached: whether the call has a cache. Each row is then computed once, in the call that feeds its token.
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
            raise RuntimeError("these rows belong to no forward call: there are no queries and keys to read")
        return self.make_rows(self)

    @overload
    def columns(self, prompt: Tensor) -> Tensor: ...
    @overload
    def columns(self, prompt: None) -> None: ...

    def columns(self, prompt: Tensor | None) -> Tensor | None:
        """A mask over the prompt, bool `[batch, n0]`, in this call's key columns, bool `[B, K]`. B is a multiple of
        `batch` where each sample has several beams or answers, which stand next to one another."""
        if prompt is None:
            return None
        positions = self.key_positions
        inside = positions < prompt.shape[1]
        found = prompt.to(self.device)[:, positions.clamp(max=prompt.shape[1] - 1)] & inside
        batch = self.rows.query.shape[0]
        return found if len(found) == batch else found.repeat_interleave(batch // len(found), dim=0)

    def needs_whole_prompt(self, name: str) -> None:
        """Check that the prompt is fed in one call.

        Raises:
            SettingError: these rows are only a part of the prompt. The message begins with `name`.
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
    """Ends a forward call early once the cache holds its keys and values, where nothing else is needed
    (`Capture.keys_only`)."""


@dataclass
class Capture:
    """Asks a forward call for attention rows or their saliency, and receives them.

    Attributes:
        layers: decoder layer numbers; None for every layer that has attention.
        first: the first query row that may carry gradient.
        recorder: called with (layer, context); returns the function that receives the saliency of that layer's rows.
        graph: whether the rows are differentiated. If not, the layers run as usual, and `weights[layer]` receives the
            rows after the softmax and the edits, float32 `[B, H, T, K]`.
        whole: the layers run eagerly in the ordinary autograd graph, and `weights[layer]` receives the full map
            `[B, H, T, K]`. This is the definition of saliency; it costs n x n memory per head.
        keys_only: the call ends with `PrefillComplete` at the first of `layers` to attend; the cache holds that layer's
            keys and values by then.
        later: without `graph`, `rows[layer]` receives the rows' `Rows` in place of their weights, so that the caller
            computes the weights of some samples only. They hold the call's keys and values for as long as they live.
        anchor: the scalar that starts the graph.
        weights: see `graph` and `whole`.
        outputs: each layer's attention output `[B, T, H, Dv]`, in the graph.
        rows: each layer's `Rows`, for callers that differentiate by themselves.
        contexts: each layer's `RowContext`.
    """

    layers: frozenset[int] | None = None
    first: int = 0
    recorder: Callable[[int, RowContext], Recorder] | None = None
    graph: bool = True
    whole: bool = False
    keys_only: bool = False
    later: bool = False
    anchor: Tensor | None = None
    weights: dict[int, Tensor] = field(default_factory=dict)
    outputs: dict[int, Tensor] = field(default_factory=dict)
    rows: dict[int, Rows] = field(default_factory=dict)
    contexts: dict[int, RowContext] = field(default_factory=dict)

    def keep(self, layer: int, rows: Rows, context: RowContext) -> None:
        """Take in what a layer's call does, where nothing is differentiated."""
        self.contexts[layer] = context
        if self.later:
            self.rows[layer] = rows
        else:
            self.weights[layer] = rows.weights(slice(0, context.new))

    def wants(self, layer: int) -> bool:
        return self.layers is None or layer in self.layers


@dataclass
class ForwardState:
    """The state of one forward call: a session makes it, and the call's keywords carry it to the attention layers."""

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
    """All parts that change the call: the editors, and the hooks between the layers."""
    fresh: Fresh = field(default_factory=Fresh)
    """The call's new keys and values with their autograd graph; the cache holds them detached."""
    numbers: Mapping[Any, int] = field(default_factory=dict)
    """Layer numbers of attention modules whose own `layer_idx` is not that of their layer."""
    reached: set[int] = field(default_factory=set)
    """Layers whose attention was called in this call."""
    traits: dict[int, tuple[Any, ...] | None] = field(default_factory=dict)
    """By layer, the editors' `kind_of_layer`; None where one of them returns None. Filled as the layers are called."""
    edits: dict[Hashable, RowEdit | None] = field(default_factory=dict)
    masks: dict[Hashable, tuple[Tensor | None, Tensor | None]] = field(default_factory=dict)
    """By `kind` of layer, what its first layer has found: the edit, and the backend's mask before and after it."""
    edited: bool = False
    """Whether a method has changed anything in this call."""

    def missed(self, layers: Iterable[int]) -> list[int]:
        """Those of `layers` whose rows were to be edited or captured, but whose attention was not called."""
        wanted = (n for n in layers if self.editors or (self.capture is not None and self.capture.wants(n)))
        return sorted(set(wanted) - self.reached)

    def layer(self, module: Any) -> int | None:
        """The number of the layer that an attention module belongs to; None for one outside the language model."""
        return self.numbers[module] if module in self.numbers else getattr(module, "layer_idx", None)

    def kind(self, layer: int, query: Tensor, key: Tensor) -> Hashable | None:
        """A key that is equal for layers which may share edit and mask; None for a layer that shares them with none."""
        if layer not in self.traits:
            told = [editor.kind_of_layer(layer) for editor in self.editors]
            self.traits[layer] = None if any(trait is None for trait in told) else tuple(told)
        trait = self.traits[layer]
        return None if trait is None else (trait, query.shape[2], key.shape[2], key.dtype, key.device)
