"""Checks of training and inference mode: training mode may add random numbers to a call, or disable the cache."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from lvlm_saliency.errors import UnsupportedModelError


def refuse_training(model: Any) -> None:
    """Refuse a model with a part that behaves differently in its present mode than in eval mode.

    Training mode alone is allowed. Refused are a dropout above 0 (of attention, of layers, of an adapter), noise on a
    router, a normalisation over the batch, or gradient checkpointing, anywhere in the model.

    Raises:
        UnsupportedModelError: naming what was found.
    """
    found = next(_at_work(model), None)
    if found is not None:
        _refuse(found)


def _refuse(found: str) -> NoReturn:
    raise UnsupportedModelError(
        f"{found}, so that a call would not give the rows that wrote the text: call model.eval() first"
    )


class Draws(threading.local):
    """Whether a forward call draws random numbers while a part of the model is in training mode.

    `refuse_training` knows dropout by its names; parts of other packages (ranks that an adapter leaves out, noise on
    the embeddings) have names of their own, but all of them draw from torch's generators. Each thread has its own
    notes.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.training = in_training(model)
        self.depth = 0  # the decoder's call is within the model's, which goes on behind it
        self.before: list[torch.Tensor] | None = None

    def begin(self, module: torch.nn.Module) -> None:
        """Note the generators' states where a call begins, or where its first part in training mode does."""
        self.depth += 1
        if self.before is None and (self.training or module.training):
            self.before = self._states()

    def end(self, finished: bool) -> None:
        """Compare them where the outermost call ends, if it came to its end.

        Raises:
            UnsupportedModelError: it has drawn from a generator.
        """
        self.depth = max(self.depth - 1, 0)
        if self.depth or self.before is None:
            return
        before, self.before = self.before, None
        if finished and not all(map(torch.equal, before, self._states())):
            _refuse("the model has parts in training mode that draw random numbers in every call")

    def _states(self) -> list[torch.Tensor]:
        places = {weights.device for weights in self.model.parameters()}
        others = [place for place in places if place.type not in ("cpu", "meta")]
        return [torch.get_rng_state(), *(torch.get_device_module(place).get_rng_state(place) for place in others)]


def in_training(model: Any) -> bool:
    """Whether any part of the model is in training mode."""
    return any(module.training for module in model.modules())


def refuse_inference_weights(model: Any) -> None:
    """Refuse to differentiate through a model that was built in inference mode.

    Raises:
        UnsupportedModelError: autograd cannot go through its weights.
    """
    found = next((name for name, weights in model.named_parameters() if weights.is_inference()), None)
    if found is not None:
        raise UnsupportedModelError(
            f"the weights ({found} and others) were made under torch.inference_mode, and no gradient can pass through "
            "them: load the model outside of it (torch.no_grad does no harm)"
        )


def _at_work(model: Any) -> Iterator[str]:
    for name, module in model.named_modules() if in_training(model) else ():
        if not module.training:
            continue
        where = f" ({name})" if name else ""
        if getattr(module, "gradient_checkpointing", False):
            yield "the model is in training mode with gradient checkpointing on"
        if isinstance(module, _BatchNorm):
            yield f"a batch normalisation is in training mode{where}"
        if isinstance(module, _DropoutNd):
            if module.p > 0:
                yield f"dropout is active{where}"
            continue
        for setting, value in vars(module).items():
            if ("drop" in setting or "jitter" in setting) and _positive(value):
                kind = "attention dropout" if "att" in setting else setting.strip("_")
                yield f"{kind} is active{where}"


def _positive(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return False
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
