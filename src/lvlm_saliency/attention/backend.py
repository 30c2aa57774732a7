"""The one attention function that transformers calls while a session is open.

It looks for the `ForwardState` that the session put into this forward call. Without one, or where that neither edits
nor captures the layer, the model's own backend is called with the very arguments that came in: the result is
bit-identical.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.edits import RowEdit
from lvlm_saliency.attention.rows import RowAttention, Rows
from lvlm_saliency.attention.state import FORWARD_STATE, Capture, ForwardState, PrefillComplete, RowContext
from lvlm_saliency.errors import SettingError, UnsupportedModelError

# Arguments whose effect is already in the mask or in query and key, or that change nothing about a row's numbers.
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
        "block_indices",  # with a full mask: the keys that a sparse layer chose are in it already
    ]
)
UNDERSTOOD = frozenset(["scaling", "softcap", "s_aux", "dropout"])
Delegate = Callable[..., tuple[Tensor, Tensor | None]]
"""The model's own attention function."""


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    delegate: Delegate,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """The registered function; shapes as transformers passes them: query `[B, H, T, D]`, key, value `[B, G, K, D]`."""
    forward: ForwardState | None = kwargs.pop(FORWARD_STATE, None)
    if forward is None or (layer := forward.layer(module)) is None:
        return delegate(module, query, key, value, attention_mask, **kwargs)
    again = layer in forward.reached
    forward.reached.add(layer)
    kind = forward.kind(layer, query, key)
    if kind in forward.masks and forward.capture is None and not torch.is_grad_enabled():
        mask, edited = forward.masks[kind]
        if mask is attention_mask:
            if edited is not mask:
                _once(layer, module, again)
                _refuse_unknown(module, layer, kwargs)
            if key.shape[2] != forward.past + forward.new:  # layers of a kind may hold their keys in different ways
                _check_keys(forward, layer, module, key.shape[2])
            return delegate(module, query, key, value, edited, **kwargs)
    return _attend(forward, layer, again, kind, module, query, key, value, attention_mask, delegate, kwargs)


def _attend(
    forward: ForwardState,
    layer: int,
    again: bool,
    kind: Any,
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    delegate: Delegate,
    own_backend: dict[str, Any],
) -> tuple[Tensor, Tensor | None]:
    """The whole way; `again`: the layer has attended in this call before; `kind` names, where it is not None, the
    layers that may share what is found here."""
    capture = forward.capture
    if capture is not None and capture.keys_only and capture.wants(layer):
        raise PrefillComplete
    differentiate = _starts_or_continues_graph(capture, layer)
    aside = capture is None or (not capture.whole and (capture.graph or not capture.wants(layer)))
    if aside and not differentiate and not forward.editors:
        return delegate(module, query, key, value, attention_mask, **own_backend)
    scaling, kwargs = own_backend.get("scaling"), {k: v for k, v in own_backend.items() if k != "scaling"}

    context = _context(forward, layer, module, query, key)
    detached = (query.detach(), key.detach(), value.detach())
    # An argument and not a closure: a cycle would keep every call's keys and values until the garbage collector runs.
    context.make_rows = lambda context: _rows(module, *detached, attention_mask, context, scaling, kwargs, None)
    edit = _edit(forward, context, kind)
    _once(layer, module, again and (differentiate or not aside or edit is not None))
    if capture is not None and not aside:
        rows = _rows(module, query, key, value, attention_mask, context, scaling, kwargs, edit)
        if capture.whole:
            return _whole(capture, layer, rows), None
        capture.weights[layer], capture.contexts[layer] = rows.weights(slice(0, context.new)), context
    if edit is None and not differentiate:
        if kind is not None:
            forward.masks[kind] = attention_mask, attention_mask
        return delegate(module, query, key, value, attention_mask, **own_backend)

    if differentiate and edit is not None and not edit.differentiable:
        raise SettingError(
            f"the gradient of layer {layer}'s edited rows is not known: trace or score without that method"
        )
    bias = edit.bias if edit is not None and edit.additive else None
    if bias is not None and not differentiate:
        _refuse_unknown(module, layer, kwargs)
        edited = _additive(forward, kind, attention_mask, bias, query, context)
        return delegate(module, *detached, edited, **own_backend)
    rows = _rows(module, *detached, attention_mask, context, scaling, kwargs, edit)
    with torch.no_grad():
        if edit is None or bias is not None:
            mask = attention_mask if bias is None else _additive(forward, kind, attention_mask, bias, query, context)
            output, _ = delegate(module, *detached, mask, **own_backend)
        elif edit.head is not None:
            output = _one_head_for_the_prompt(rows, context, edit.head)
        else:
            output = rows.output()
    if capture is None or not differentiate:
        return output, None
    return _differentiable(forward, capture, layer, context, rows, query, key, value, output), None


def _edit(forward: ForwardState, context: RowContext, kind: Any) -> RowEdit | None:
    """What all the call's editors together do to these rows; found once for the layers of a kind."""
    if kind in forward.edits:
        return forward.edits[kind]
    edit = None
    for editor in forward.editors:
        if (more := editor.edit_rows(context)) is not None:
            edit = more if edit is None else edit.then(more)
    forward.edited = forward.edited or edit is not None
    if kind is not None:
        forward.edits[kind] = edit
    return edit


def _context(forward: ForwardState, layer: int, module: Any, query: Tensor, key: Tensor) -> RowContext:
    total, keys = forward.past + forward.new, key.shape[2]
    new = query.shape[2]
    # Layers that use the keys of others may be run on the last rows alone, those whose logits are wanted (Gemma 4).
    if new > forward.new or (new < forward.new and not getattr(module, "is_kv_shared_layer", False)):
        raise UnsupportedModelError(
            f"layer {layer} attends with {new} queries where {forward.new} tokens came in: "
            "its attention is not over the text (cross-attention or packed tokens) and cannot be captured"
        )
    if keys != total:
        _check_keys(forward, layer, module, keys)
    # A sliding layer holds the last keys only; a static cache holds room for more keys than there are.
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


def _check_keys(forward: ForwardState, layer: int, module: Any, keys: int) -> None:
    """Refuse a number of keys that the tokens before this call and in it cannot have: a sliding layer has the keys of
    its window at least, one in a cache of fixed size has room for more than there are."""
    total = forward.past + forward.new
    window = hf.window_of(forward.cache, layer, module)
    least = total if window is None else min(total, window)
    if least <= keys and (keys <= total or getattr(forward.cache, "is_compileable", False)):
        return
    raise UnsupportedModelError(
        f"layer {layer} attends to {keys} keys where there are {total} tokens ({forward.past} in the cache, "
        f"{forward.new} new{'' if window is None else f', a window of {window}'}): its keys are not those of the tokens"
    )


def _one_head_for_the_prompt(rows: Rows, context: RowContext, head: Tensor) -> Tensor:
    """The output where the prompt's rows, and only those, are the rows of the edit's head."""
    split = max(0, min(context.new, context.prompt_length - context.past))
    prompt = rows.part(slice(0, split)).with_one_head(head).output()
    return prompt if split == context.new else torch.cat([prompt, rows.part(slice(split, context.new)).output()], dim=1)


def _once(layer: int, module: Any, again: bool) -> None:
    if again:
        raise UnsupportedModelError(
            f"layer {layer} attends more than once in a call ({type(module).__name__}): which rows are its rows is not "
            "defined"
        )


def _starts_or_continues_graph(capture: Capture | None, layer: int) -> bool:
    if capture is None or capture.whole or not capture.graph:
        return False
    if not torch.is_grad_enabled() and capture.wants(layer):
        # From the lowest target layer's attention upward the pass has a graph; below it there is none, whatever the
        # parameters' requires_grad says. The caller's no_grad block restores the mode.
        torch.set_grad_enabled(True)
    return torch.is_grad_enabled()


def _refuse_unknown(module: Any, layer: int, kwargs: dict[str, Any]) -> None:
    unknown = [k for k, v in kwargs.items() if v is not None and k not in HARMLESS and k not in UNDERSTOOD]
    if unknown:
        raise UnsupportedModelError(
            f"layer {layer} of {type(module).__name__} is called with {', '.join(sorted(unknown))}, "
            "whose effect on the attention rows is not known here"
        )
    if kwargs.get("dropout"):
        raise UnsupportedModelError("attention dropout is active: call model.eval() first")


def _rows(
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
    _refuse_unknown(module, context.layer, kwargs)
    if kwargs.get("block_indices") is not None and (mask is None or mask.dim() != 4):
        raise UnsupportedModelError(
            f"layer {context.layer} attends to chosen keys that its backend's mask does not show: load the model with "
            "attn_implementation='sdpa'"
        )
    own = context.past - context.offset
    return Rows(
        query,
        key,
        value,
        _visible(mask, context, kwargs.get("sliding_window"), getattr(module, "is_causal", True)),
        query.shape[-1] ** -0.5 if scaling is None else scaling,
        own,
        kwargs.get("softcap"),
        _sinks(module, kwargs),
        edit,
    )


def _whole(capture: Capture, layer: int, rows: Rows) -> Tensor:
    block = slice(0, rows.query.shape[2])
    weights = rows.weights(block)
    if capture.wants(layer):
        capture.weights[layer] = weights if weights.requires_grad else weights.requires_grad_()
    output = rows.ungrouped(rows.grouped(weights.to(rows.value.dtype)) @ rows.value, block.stop)
    return output.transpose(1, 2).contiguous()


def _sinks(module: Any, kwargs: Any) -> Tensor | None:
    sinks = kwargs.get("s_aux")
    return getattr(module, "sinks", None) if sinks is None else sinks


def _visible(mask: Tensor | None, context: RowContext, window: int | None, causal: bool) -> Tensor | None:
    """The mask as rows need it: what came in if it is a full one, else what its absence or its padding row implies."""
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


def _additive(
    forward: ForwardState, kind: Any, mask: Tensor | None, bias: Tensor, query: Tensor, context: RowContext
) -> Tensor:
    """The backend's mask with the edit's bias on it, in the query's dtype: `[B, 1 or H, T, K]`; made once for the
    layers of a kind, as long as they come with the same mask."""
    known = forward.masks.get(kind)
    if known is not None and known[0] is mask and known[1] is not None:
        return known[1]
    edited = _with_bias(mask, bias, query, context)
    if kind is not None:
        forward.masks[kind] = mask, edited
    return edited


def _with_bias(mask: Tensor | None, bias: Tensor, query: Tensor, context: RowContext) -> Tensor:
    visible = _visible(mask, context, None, True)
    shape = (query.shape[0], 1, context.new, context.keys)
    if visible is None:
        return bias.to(query.dtype).expand(shape)
    if visible.dtype == torch.bool:
        return torch.where(visible, bias.to(query.dtype), torch.finfo(query.dtype).min).expand(shape)
    return (visible + bias).to(query.dtype)


def _differentiable(
    forward: ForwardState,
    capture: Capture,
    layer: int,
    context: RowContext,
    rows: Rows,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
) -> Tensor:
    if context.new < forward.new and not context.cached:  # seen to give other scores than over a cache (Gemma 4)
        raise UnsupportedModelError(
            f"layer {layer} uses the keys of another layer on the last rows alone, and without a cache its scores are "
            "not those of the text: leave use_cache on"
        )
    new_key, new_value = (forward.fresh.rows(x, rows.own, context.new) for x in (key, value))
    anchor = None
    if not query.requires_grad:
        anchor = capture.anchor = torch.zeros((), device=query.device, requires_grad=True)
    wanted = capture.wants(layer)
    record = capture.recorder(layer, context) if wanted and capture.recorder is not None else None
    output = RowAttention.apply(query, new_key, new_value, anchor, rows, output, capture.first, record)
    if wanted:
        capture.outputs[layer], capture.rows[layer], capture.contexts[layer] = output, rows, context
    return output


hf.register(attention)
