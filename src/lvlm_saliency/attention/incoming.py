"""A layer's attention call as transformers makes it, read as rows: which keys, which mask, which extra arguments.

What would give wrong rows is refused here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.edits import RowEdit
from lvlm_saliency.attention.rows import Rows
from lvlm_saliency.attention.state import ForwardState, RowContext
from lvlm_saliency.errors import UnsupportedModelError

# Arguments whose effect is already in the mask or in query and key, or that do not change attention rows.
HARMLESS = frozenset(
    [
        "position_ids",
        "sliding_window",
        "use_cache",
        "logits_to_keep",
        "output_attentions",
        "output_hidden_states",
        "is_causal",
        "cu_seq_lens_q",
        "cu_seq_lens_k",
        "max_length_q",
        "max_length_k",
        "cache_position",
        "position_embeddings",
        "return_dict",
        "cache",
        "past_key_values",
        "num_items_in_batch",
        "token_type_ids",
        "mm_token_type_ids",
        "output_router_logits",
        "block_indices",  # the keys that a sparse layer has chosen: with a 4-d mask, the mask shows them
    ]
)
UNDERSTOOD = frozenset(["scaling", "softcap", "s_aux", "dropout"])


def row_context(forward: ForwardState, layer: int, module: Any, query: Tensor, key: Tensor) -> RowContext:
    total, keys = forward.past + forward.new, key.shape[2]
    new = query.shape[2]
    # Layers that share the keys of another layer may be run on the rows alone whose logits are wanted (Gemma 4).
    if new > forward.new or (new < forward.new and not getattr(module, "is_kv_shared_layer", False)):
        raise UnsupportedModelError(
            f"layer {layer} attends with {new} queries where {forward.new} tokens came in: "
            "its attention is not over the text (cross-attention or packed tokens) and cannot be captured"
        )
    if keys != total:
        check_keys(forward, layer, module, keys)
    # A sliding-window layer holds only the latest keys; a static cache has columns beyond the tokens so far.
    offset = max(0, total - keys)
    return RowContext(
        layer,
        total - new,
        new,
        forward.prompt_length,
        keys,
        offset,
        query.device,
        forward.image,
        forward.padding,
        shift=None if forward.shift is None else forward.shift.to(query.device),
        cached=forward.cache is not None,
    )


def check_keys(forward: ForwardState, layer: int, module: Any, keys: int) -> None:
    """Refuse a call whose number of keys does not fit the number of tokens. A sliding-window layer may hold fewer keys
    (its window at least), a static cache more.

    Raises:
        UnsupportedModelError: they do not fit.
    """
    total = forward.past + forward.new
    window = hf.window_of(forward.cache, layer, module)
    least = total if window is None else min(total, window)
    if least <= keys and (keys <= total or getattr(forward.cache, "is_compileable", False)):
        return
    raise UnsupportedModelError(
        f"layer {layer} attends to {keys} keys where there are {total} tokens ({forward.past} in the cache, "
        f"{forward.new} new{'' if window is None else f', a window of {window}'}): its keys are not those of the tokens"
    )


def check_once(layer: int, module: Any, again: bool) -> None:
    if again:
        raise UnsupportedModelError(
            f"layer {layer} attends more than once in a forward call ({type(module).__name__}): it has no single set "
            "of attention rows"
        )


def refuse_unknown(module: Any, layer: int, kwargs: dict[str, Any]) -> None:
    unknown = [k for k, v in kwargs.items() if v is not None and k not in HARMLESS and k not in UNDERSTOOD]
    if unknown:
        raise UnsupportedModelError(
            f"layer {layer} of {type(module).__name__} is called with {', '.join(sorted(unknown))}, "
            "whose effect on the attention rows is not known here"
        )
    if kwargs.get("dropout"):
        raise UnsupportedModelError("attention dropout is active: call model.eval() first")


def call_rows(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    context: RowContext,
    scaling: float | None,
    kwargs: Any,
    edit: RowEdit | None,
) -> Rows:
    refuse_unknown(module, context.layer, kwargs)
    if kwargs.get("block_indices") is not None and (mask is None or mask.dim() != 4):
        raise UnsupportedModelError(
            f"layer {context.layer} attends to selected keys that its backend's mask does not show: load the model "
            "with attn_implementation='sdpa'"
        )
    own = context.past - context.offset
    return Rows(
        query,
        key,
        value,
        visible_keys(mask, context, kwargs.get("sliding_window"), getattr(module, "is_causal", True)),
        query.shape[-1] ** -0.5 if scaling is None else scaling,
        own,
        kwargs.get("softcap"),
        _sinks(module, kwargs),
        edit,
    )


def _sinks(module: Any, kwargs: Any) -> Tensor | None:
    sinks = kwargs.get("s_aux")
    return getattr(module, "sinks", None) if sinks is None else sinks


def visible_keys(mask: Tensor | None, context: RowContext, window: int | None, causal: bool) -> Tensor | None:
    """The mask over rows and keys: the one that came in if it has four dimensions, else the one that causality, the
    window and a padding mask imply."""
    if mask is not None and mask.dim() == 4:
        return mask[..., : context.keys]
    if context.new == 1 and mask is None and (window is None or window >= context.keys):
        return None
    queries, keys = context.query_positions[:, None], context.key_positions[None, :]
    visible = keys <= queries if causal else torch.ones_like(keys <= queries)
    if window is not None:
        visible = visible & (keys > queries - window)
    visible = visible[None, None]
    if mask is not None:  # a padding mask [B, K or more], as flash attention takes it
        visible = visible & mask[:, None, None, -context.keys :].bool()
    return visible
