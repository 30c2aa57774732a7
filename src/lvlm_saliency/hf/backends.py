"""Our attention function in transformers' attention interface: one name for each backend it can delegate to."""

from __future__ import annotations

import functools
import sys

from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from lvlm_saliency.attention.backend import attention

# A name that contains "sdpa" or "flash" would send transformers down that backend's dispatch checks.
NAMES = {
    "eager": "lvlm_saliency_plain",
    "sdpa": "lvlm_saliency_fused",
    "flash_attention_2": "lvlm_saliency_tiled2",
    "flash_attention_3": "lvlm_saliency_tiled3",
}
BACKENDS = {name: backend for backend, name in NAMES.items()}


def _eager(module, *args, **kwargs):
    """The eager attention of the model's own modelling file: soft-capping and sinks differ from family to family."""
    return sys.modules[type(module).__module__].eager_attention_forward(module, *args, **kwargs)


def _register() -> None:
    for backend, name in NAMES.items():
        if backend != "eager" and backend not in ALL_ATTENTION_FUNCTIONS:
            continue
        delegate = _eager if backend == "eager" else ALL_ATTENTION_FUNCTIONS[backend]
        AttentionInterface.register(name, functools.partial(attention, delegate=delegate))
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[backend])


_register()
