"""MemVR during a session: which rows are uncertain, and the picture that is mixed into the next layer's output."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from lvlm_saliency import hf
from lvlm_saliency.attention.parts import Removable
from lvlm_saliency.attention.session import Session
from lvlm_saliency.attention.state import ForwardState
from lvlm_saliency.decoding.hidden_states import Lens, tap
from lvlm_saliency.errors import SettingError

if TYPE_CHECKING:
    from lvlm_saliency.interventions.memvr.method import MemVR

TOP = 10
"""Number of the largest logits over which the entropy is taken."""


Pictures = list[Tensor | None]
"""For each sample the projected tokens of its picture `[N_v, d]`, or None."""


@dataclass
class _Call:
    """One forward call.

    Attributes:
        pictures: Z of each sample `[N_v, d]`, or None.
        fired: bool `[B, R]`, which of the R deciding rows (the prompt's last one, and every decoded one) have already
            triggered.
        armed: bool `[B, R]`, which of them trigger in the next layer.
    """

    forward: ForwardState
    pictures: Pictures
    first: int
    fired: Tensor | None = None
    armed: Tensor | None = None
    injected: list[int] = field(default_factory=list)


class _Calls(threading.local):
    """What is known of one thread: the call that it is in, where that has pictures; the pictures of the prompt that is
    being read; and the state of the call."""

    def __init__(self) -> None:
        self.call: _Call | None = None
        self.read: Pictures | None = None
        self.forward: ForwardState | None = None


class Retracing:
    """The hooks of one session, for forward calls from any thread. `settings` is the method."""

    def __init__(self, settings: MemVR, model: Any, session: Session):
        self.settings, self.model, self.session = settings, model, session
        self.layers = settings.layers(model)
        self.lens = Lens(model)
        self.calls = _Calls()
        self.pictures: weakref.WeakKeyDictionary[Any, Pictures] = weakref.WeakKeyDictionary()

    def hooks(self) -> list[Removable]:
        """Handles of all hooks."""
        decoder, stack = hf.supported_decoder(self.model), hf.decoder_layers(self.model)
        handles: list[Removable] = [
            self.session.hooks.before(decoder, self._begin),
            self.session.hooks.after(decoder, self._end, always=True),
            # hidden state n is the output of layer n - 1, and it decides about layer n
            *tap(self.model, self.session, self.layers, self._decide),
        ]
        return [
            *handles,
            *(self.session.hooks.after(cast(nn.Module, stack[n].mlp), self._inject(n)) for n in self.layers),
        ]

    def _begin(self, _module: Any, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        forward = self.session.forward
        self.calls.call = self.calls.read = self.calls.forward = None
        if forward is None:
            return
        if forward.past < forward.prompt_length and (forward.past or forward.new < forward.prompt_length):
            raise SettingError(
                "memvr looks at the prompt as a whole, and here it comes in pieces (a trace, or prefill_chunk_size): "
                "trace without it, or feed the prompt at once"
            )
        if forward.past == 0:
            pictures = self.calls.read = self._projected(forward, kwargs.get("inputs_embeds"))
        elif forward.cache in self.pictures:
            pictures = self.pictures[forward.cache]
        else:
            raise SettingError(
                "memvr keeps the picture beside the prompt's cache, and this cache is a copy (a search over beams): "
                "leave one of the two out"
            )
        self.calls.forward = forward
        if any(picture is not None for picture in pictures):
            self.calls.call = _Call(forward, pictures, max(0, forward.prompt_length - 1 - forward.past))

    def _end(self, *_: Any) -> None:
        forward = self.calls.forward
        if forward is not None and forward.past == 0 and forward.cache is not None:
            self.pictures[forward.cache] = self.calls.read or []
        self.calls.call = self.calls.read = self.calls.forward = None

    @staticmethod
    def _projected(forward: ForwardState, embeddings: Tensor | None) -> Pictures:
        if embeddings is None or forward.image is None:
            return [None]
        image = forward.image.to(embeddings.device)
        image = image.repeat_interleave(len(embeddings) // len(image), dim=0)
        rows = embeddings[:, : image.shape[1]].detach()
        return [row[mask] if bool(mask.any()) else None for row, mask in zip(rows, image, strict=True)]

    def _decide(self, _number: int, hidden: Tensor) -> None:
        call = self.calls.call
        if call is None:
            return
        logits = self.lens(hidden.detach()[:, call.first :], normalised=self.settings.normalised)
        unsure = entropy(logits) > self.settings.gamma
        call.armed = unsure if call.fired is None else unsure & ~call.fired
        call.fired = unsure if call.fired is None else unsure | call.fired

    def _inject(self, layer: int) -> Callable[..., Tensor | None]:
        def hook(module: Any, args: tuple[Any, ...], _kwargs: Any, output: Tensor) -> Tensor | None:
            call = self.calls.call
            if call is None or call.armed is None or not bool(call.armed.any()):
                return None
            call.injected.append(layer)
            call.forward.edited = True
            x = args[0]
            return torch.stack([self._row(module, call, call.armed[b], b, x[b], output[b]) for b in range(len(x))])

        return hook

    def _row(self, module: Any, call: _Call, armed: Tensor, sample: int, x: Tensor, output: Tensor) -> Tensor:
        """One sample's feed-forward output `[T, d]`, mixed where its rows are armed."""
        picture = call.pictures[sample]
        if picture is None or not bool(armed.any()):
            return output
        positions = torch.arange(call.forward.past, call.forward.past + len(x), device=x.device)
        group = (positions - (call.forward.prompt_length - 1)).clamp_min(0)  # all rows of the prompt are group 0
        if call.first == 0:
            group = group - group[0]
        counted = torch.ones_like(group, dtype=torch.bool)
        if call.forward.padding is not None and call.forward.past == 0:
            padding = call.forward.padding.repeat_interleave(len(call.pictures) // len(call.forward.padding), dim=0)[
                sample
            ]
            counted[: len(padding)] = ~padding.to(counted.device)
        looked = look_again(x, picture, module, self.settings.activation)
        return mixed(output, looked, armed.to(x.device), group, counted, self.settings.alpha)


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the ten largest of `[..., V]` logits, between 0 and 1."""
    log_p = torch.log_softmax(logits.float().topk(min(TOP, logits.shape[-1]), dim=-1).values, dim=-1)
    return -(log_p.exp() * log_p).sum(-1) / math.log(TOP)


def look_again(x: Tensor, picture: Tensor, module: Any, activation: str) -> Tensor:
    """D(x) `[T, d]` of the feed-forward input x `[T, d]`: the image tokens Z `[N_v, d]` as keys and as values."""
    picture = picture.to(x.dtype)
    if activation == "identity":  # any factor on Z cancels in k
        return (x @ picture.T) @ picture
    size = picture.abs().mean()
    up, down = (weights.abs().mean() / size for weights in (module.up_proj.weight, module.down_proj.weight))
    found: Tensor = torch.nn.functional.silu(x @ (up * picture).T) @ (down * picture)
    return found


def mixed(output: Tensor, looked: Tensor, armed: Tensor, group: Tensor, counted: Tensor, alpha: float) -> Tensor:
    """(1 - alpha) FFN + alpha k D on the rows whose group is armed; k is the ratio of mean sizes over a group's rows.

    Args:
        output: FFN(x), `[T, d]`.
        looked: D(x), `[T, d]`.
        armed: bool `[R]`, the decisions.
        group: int64 `[T]`, which of the R decisions each row follows.
        counted: bool `[T]`, rows that are not padding.
        alpha: share of the picture.
    """
    sizes = torch.stack([output.float().abs().mean(-1), looked.float().abs().mean(-1)], dim=-1) * counted[:, None]
    totals = sizes.new_zeros(len(armed), 2).index_add(0, group, sizes)
    k = (totals[:, 0] / totals[:, 1].clamp_min(torch.finfo(torch.float32).tiny))[group, None].to(output.dtype)
    return torch.where(armed[group, None], (1 - alpha) * output + alpha * k * looked, output)
