"""Reading hidden states between the layers of a forward call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.parts import LayerHooks, Removable, Shaper
from lvlm_saliency.attention.session import Session
from lvlm_saliency.errors import UnsupportedModelError


class Lens:
    """The language model's head applied to a hidden state `[..., d]` of any layer: float32 logits `[..., V]`."""

    def __init__(self, model: Any):
        config = hf.text_config(model)
        self.head, self.norm = model.get_output_embeddings(), hf.final_norm(model)
        self.softcap = getattr(config, "final_logit_softcapping", None)
        self.factor = getattr(config, "logit_scale", None) or 1 / (getattr(config, "logits_scaling", None) or 1)

    def __call__(self, hidden: Tensor, *, normalised: bool = True) -> Tensor:
        """The logits of `hidden`; `normalised` applies the model's final norm first."""
        logits: Tensor = self.head(self.norm(hidden) if normalised else hidden).float() * self.factor
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap


def single_stream(model: Any, hidden: Tensor) -> Tensor:
    """A layer's hidden states, checked to be one for each token: `[B, T, d]`.

    Raises:
        UnsupportedModelError: there are several streams (Gemma 3n, hyper-connections).
    """
    if hidden.dim() == 3:
        return hidden
    raise UnsupportedModelError(
        f"{type(model).__name__} keeps several streams per token between its layers (hidden states of shape "
        f"{list(hidden.shape)}): what reads one hidden state per token cannot run on it"
    )


def tap(model: Any, session: Session, layers: Sequence[int], see: Callable[[int, Tensor], None]) -> list[Removable]:
    """Call `see(j, hidden [B, T, d])` for hidden state j of every forward call of `session`: 0 is the input of the
    first layer, j the output of layer j - 1. Returns the handles of the hooks.

    A call raises UnsupportedModelError where a layer hands on several streams (Gemma 3n, hyper-connections): no single
    state of a token can be read between such layers.
    """
    stack = hf.decoder_layers(model)

    def checked(number: int, hidden: Tensor) -> None:
        see(number, single_stream(model, hidden))

    def before(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if session.forward is not None:
            checked(0, args[0] if args else kwargs["hidden_states"])

    def after(number: int) -> Callable[..., None]:
        def hook(_module: Any, _args: Any, _kwargs: Any, output: Any) -> None:
            if session.forward is not None:
                checked(number, output[0] if isinstance(output, tuple) else output)

        return hook

    handles: list[Removable] = []
    for number in layers:
        if number == 0:
            handles.append(session.hooks.before(stack[0], before))
        else:
            handles.append(session.hooks.after(stack[number - 1], after(number)))
    return handles


class EarlyExits(Shaper, LayerHooks):
    """One generation of a method that combines the logits with those of earlier layers."""

    name: ClassVar[str] = "early exits"

    def __init__(self, model: Any, layers: Sequence[int], combine: Callable[[Tensor, list[Tensor]], Tensor]):
        self.lens, self.layers, self.combine = Lens(model), list(layers), combine
        self.last: dict[int, Tensor] = {}

    @property
    def changes(self) -> bool:
        return False

    def put(self, model: Any, session: Session) -> list[Removable]:
        """Hooks that keep the newest position's hidden states `[B, d]`."""

        def keep(number: int, hidden: Tensor) -> None:
            self.last[number] = hidden[:, -1].detach()

        return tap(model, session, self.layers, keep)

    def shaped(self, logits: Tensor) -> Tensor:
        """The combined logits, float32 `[B, V]`."""
        early = [self.lens(self.last[number], normalised=False).to(logits.device) for number in self.layers]
        return self.combine(logits, early)
