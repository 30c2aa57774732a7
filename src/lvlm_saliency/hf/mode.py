"""Checks of training and inference mode: training mode may add random numbers to a call, or disable the cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from lvlm_saliency.errors import UnsupportedModelError


def refuse_training(model) -> None:
    """Refuse a model with a part that behaves differently in its present mode than in eval mode.

    Training mode alone is allowed. Refused are a dropout above 0 (of attention, of layers, of an adapter), noise on a
    router, a normalisation over the batch, or gradient checkpointing, anywhere in the model.

    Raises:
        UnsupportedModelError: naming what was found.
    """
    found = next(_at_work(model), None)
    if found is not None:
        raise UnsupportedModelError(
            f"{found}, so that a call would not give the rows that wrote the text: call model.eval() first"
        )


def refuse_inference_weights(model) -> None:
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


def _at_work(model) -> Iterator[str]:
    for name, module in model.named_modules() if any(m.training for m in model.modules()) else ():
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


def _positive(value) -> bool:
    if isinstance(value, torch.Tensor):
        return False
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
