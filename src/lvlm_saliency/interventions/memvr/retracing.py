"""MemVR in the course of a session: which rows are unsure, and the picture that their next layer looks at again."""

from __future__ import annotations

import math
import threading
import weakref
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.session import Session
from lvlm_saliency.attention.state import ForwardState
from lvlm_saliency.decoding.hidden_states import Lens, tap
from lvlm_saliency.errors import SettingError

TOP = 10
"""Of how many of the largest logits the entropy is taken."""


@dataclass
class _Call:
    """One forward call. pictures: Z of each sample `[N_v, d]`, or None; `fired` and `armed` bool `[B, R]`, of the R
    rows that decide: the prompt's last one, and every decoded one."""

    step: ForwardState
    pictures: list[Tensor | None]
    first: int
    fired: Tensor | None = None
    armed: Tensor | None = None
    injected: list[int] = field(default_factory=list)


class Retracing:
    """`settings` is the method; one object serves all forward calls of a session, from any thread."""

    def __init__(self, settings, model, session: Session):
        self.settings, self.model, self.session = settings, model, session
        self.layers = settings.layers(model)
        self.lens = Lens(model)
        self.calls = threading.local()
        self.pictures: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

    def hooks(self) -> list:
        """Handles of all hooks."""
        decoder, stack = hf.decoder_of(self.model), hf.decoder_layers(self.model)
        handles = [
            self.session.hooks.before(decoder, self._begin),
            self.session.hooks.after(decoder, self._end, always=True),
            # hidden state n is what layer n - 1 puts out, and it decides about layer n
            *tap(self.model, self.session, self.layers, self._decide),
        ]
        return handles + [self.session.hooks.after(stack[n].mlp, self._inject(n)) for n in self.layers]

    def _begin(self, _module, args, kwargs) -> None:
        step: ForwardState | None = self.session.forward
        self.calls.call = self.calls.read = self.calls.step = None
        if step is None:
            return
        if step.past < step.prompt_length and (step.past or step.new < step.prompt_length):
            raise SettingError(
                "memvr looks at the prompt as a whole, and here it comes in pieces (a trace, or prefill_chunk_size): "
                "trace without it, or feed the prompt at once"
            )
        if step.past == 0:
            pictures = self.calls.read = self._projected(step, kwargs.get("inputs_embeds"))
        elif step.cache in self.pictures:
            pictures = self.pictures[step.cache]
        else:
            raise SettingError(
                "memvr keeps the picture beside the prompt's cache, and this cache is a copy (a search over beams): "
                "leave one of the two out"
            )
        self.calls.step = step
        if any(picture is not None for picture in pictures):
            self.calls.call = _Call(step, pictures, max(0, step.prompt_length - 1 - step.past))

    def _end(self, *_args) -> None:
        step = getattr(self.calls, "step", None)
        if step is not None and step.past == 0 and step.cache is not None:
            self.pictures[step.cache] = self.calls.read
        self.calls.call = self.calls.read = self.calls.step = None

    @staticmethod
    def _projected(step: ForwardState, embeddings: Tensor | None) -> list[Tensor | None]:
        if embeddings is None or step.image is None:
            return [None]
        image = step.image.to(embeddings.device)
        image = image.repeat_interleave(len(embeddings) // len(image), dim=0)
        rows = embeddings[:, : image.shape[1]].detach()
        return [row[mask] if bool(mask.any()) else None for row, mask in zip(rows, image, strict=True)]

    def _decide(self, _number: int, hidden: Tensor) -> None:
        call: _Call | None = getattr(self.calls, "call", None)
        if call is None:
            return
        logits = self.lens(hidden.detach()[:, call.first :], normalised=self.settings.normalised)
        unsure = entropy(logits) > self.settings.gamma
        call.armed = unsure if call.fired is None else unsure & ~call.fired
        call.fired = unsure if call.fired is None else unsure | call.fired

    def _inject(self, layer: int):
        def hook(module, args, _kwargs, output):
            call: _Call | None = getattr(self.calls, "call", None)
            if call is None or not bool(call.armed.any()):
                return None
            call.injected.append(layer)
            call.step.edited = True
            x = args[0]
            return torch.stack([self._row(module, call, b, x[b], output[b]) for b in range(len(x))])

        return hook

    def _row(self, module, call: _Call, sample: int, x: Tensor, output: Tensor) -> Tensor:
        """One sample's feed-forward output `[T, d]`, mixed where its rows are armed."""
        armed, picture = call.armed[sample], call.pictures[sample]
        if picture is None or not bool(armed.any()):
            return output
        positions = torch.arange(call.step.past, call.step.past + len(x), device=x.device)
        group = (positions - (call.step.prompt_length - 1)).clamp_min(0)  # all rows of the prompt are group 0
        if call.first == 0:
            group = group - group[0]
        counted = torch.ones_like(group, dtype=torch.bool)
        if call.step.padding is not None and call.step.past == 0:
            padding = call.step.padding.repeat_interleave(len(call.pictures) // len(call.step.padding), dim=0)[sample]
            counted[: len(padding)] = ~padding.to(counted.device)
        looked = look_again(x, picture, module, self.settings.activation)
        return mixed(output, looked, armed.to(x.device), group, counted, self.settings.alpha)


def entropy(logits: Tensor) -> Tensor:
    """Entropy of the ten largest of `[..., V]` logits, between 0 and 1."""
    log_p = torch.log_softmax(logits.float().topk(min(TOP, logits.shape[-1]), dim=-1).values, dim=-1)
    return -(log_p.exp() * log_p).sum(-1) / math.log(TOP)


def look_again(x: Tensor, picture: Tensor, module, activation: str) -> Tensor:
    """D(x) `[T, d]` of the feed-forward input x `[T, d]`: the image tokens Z `[N_v, d]` as keys and as values."""
    picture = picture.to(x.dtype)
    if activation == "identity":  # any factor on Z cancels in k
        return (x @ picture.T) @ picture
    size = picture.abs().mean()
    up, down = (weights.abs().mean() / size for weights in (module.up_proj.weight, module.down_proj.weight))
    return torch.nn.functional.silu(x @ (up * picture).T) @ (down * picture)


def mixed(output: Tensor, looked: Tensor, armed: Tensor, group: Tensor, counted: Tensor, alpha: float) -> Tensor:
    """(1 - alpha) FFN + alpha k D on the rows whose group is armed; k is the ratio of mean sizes over a group's rows.

    Args:
        output, looked: `[T, d]`; armed: bool `[R]`; group: int64 `[T]`, which of the R decisions a row follows;
            counted: bool `[T]`, rows that are not padding.
    """
    sizes = torch.stack([output.float().abs().mean(-1), looked.float().abs().mean(-1)], dim=-1) * counted[:, None]
    totals = sizes.new_zeros(len(armed), 2).index_add(0, group, sizes)
    k = (totals[:, 0] / totals[:, 1].clamp_min(torch.finfo(torch.float32).tiny))[group, None].to(output.dtype)
    return torch.where(armed[group, None], (1 - alpha) * output + alpha * k * looked, output)
