"""The one attention function that transformers calls while a session is open.

It looks for the `ForwardState` that the session put into this forward call. Without one, or where that neither edits
nor captures the layer, the model's own backend is called with the same arguments: the result is bit-identical.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.edits import RowEdit
from lvlm_saliency.attention.incoming import (
    call_rows,
    check_keys,
    check_once,
    refuse_unknown,
    row_context,
    visible_keys,
)
from lvlm_saliency.attention.row_backward import RowAttention
from lvlm_saliency.attention.rows import Rows
from lvlm_saliency.attention.state import FORWARD_STATE, Capture, ForwardState, PrefillComplete, RowContext
from lvlm_saliency.errors import SettingError, UnsupportedModelError

Delegate = Callable[..., tuple[Tensor, Tensor | None]]
"""The model's own attention function: sdpa, eager, flash attention, ..."""


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
                check_once(layer, module, again)
                refuse_unknown(module, layer, kwargs)
            if key.shape[2] != forward.past + forward.new:  # layers that share an edit may differ in how they hold keys
                check_keys(forward, layer, module, key.shape[2])
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
    """The attention of a layer whose edit is not known yet.

    Args:
        again: whether the layer has called its attention in this forward call before.
        kind: layers of the same kind share the edit and the mask that are found here; None shares nothing.
        own_backend: the remaining keywords of the call.
    """
    capture = forward.capture
    if capture is not None and capture.keys_only and capture.wants(layer):
        raise PrefillComplete
    differentiate = _starts_or_continues_graph(capture, layer)
    aside = capture is None or (not capture.whole and (capture.graph or not capture.wants(layer)))
    if aside and not differentiate and not forward.editors:
        return delegate(module, query, key, value, attention_mask, **own_backend)
    scaling, kwargs = own_backend.get("scaling"), {k: v for k, v in own_backend.items() if k != "scaling"}

    context = row_context(forward, layer, module, query, key)
    detached = (query.detach(), key.detach(), value.detach())
    # `context` is an argument of the lambda, not a closure: a reference cycle would keep the keys and values of every
    # call alive until the garbage collector runs.
    context.make_rows = lambda context: call_rows(module, *detached, attention_mask, context, scaling, kwargs, None)
    edit = _edit(forward, context, kind)
    check_once(layer, module, again and (differentiate or not aside or edit is not None))
    if capture is not None and not aside:
        rows = call_rows(module, query, key, value, attention_mask, context, scaling, kwargs, edit)
        if capture.whole:
            return _whole(capture, layer, rows), None
        capture.keep(layer, rows, context)
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
        refuse_unknown(module, layer, kwargs)
        edited = _additive(forward, kind, attention_mask, bias, query, context)
        return delegate(module, *detached, edited, **own_backend)
    rows = call_rows(module, *detached, attention_mask, context, scaling, kwargs, edit)
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
    """The combined edit of all editors for these rows; computed once for all layers of a kind."""
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


def _one_head_for_the_prompt(rows: Rows, context: RowContext, head: Tensor) -> Tensor:
    """The output where in the prompt's rows, and only there, every head attends as head number `head` does."""
    split = max(0, min(context.new, context.prompt_length - context.past))
    prompt = rows.part(slice(0, split)).with_one_head(head).output()
    return prompt if split == context.new else torch.cat([prompt, rows.part(slice(split, context.new)).output()], dim=1)


def _starts_or_continues_graph(capture: Capture | None, layer: int) -> bool:
    if capture is None or capture.whole or not capture.graph:
        return False
    if not torch.is_grad_enabled() and capture.wants(layer):
        # The autograd graph begins at the lowest target layer, whatever the parameters' requires_grad says. The
        # caller's no_grad block restores the mode.
        torch.set_grad_enabled(True)
    return torch.is_grad_enabled()


def _whole(capture: Capture, layer: int, rows: Rows) -> Tensor:
    block = slice(0, rows.query.shape[2])
    weights = rows.weights(block)
    if capture.wants(layer):
        capture.weights[layer] = weights if weights.requires_grad else weights.requires_grad_()
    output = rows.ungrouped(rows.grouped(weights.to(rows.value.dtype)) @ rows.value, block.stop)
    return output.transpose(1, 2).contiguous()


def _additive(
    forward: ForwardState, kind: Any, mask: Tensor | None, bias: Tensor, query: Tensor, context: RowContext
) -> Tensor:
    """The backend's mask plus the edit's bias, in the query's dtype, `[B, 1 or H, T, K]`. Layers of a kind that come
    with the same mask share it."""
    known = forward.masks.get(kind)
    if known is not None and known[0] is mask and known[1] is not None:
        return known[1]
    edited = _with_bias(mask, bias, query, context)
    if kind is not None:
        forward.masks[kind] = mask, edited
    return edited


def _with_bias(mask: Tensor | None, bias: Tensor, query: Tensor, context: RowContext) -> Tensor:
    visible = visible_keys(mask, context, None, True)
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
    if context.new < forward.new and not context.cached:  # measured on Gemma 4: other scores than over a cache
        raise UnsupportedModelError(
            f"layer {layer} shares another layer's keys and runs on the last rows alone; without a cache its scores "
            "would be wrong: leave use_cache on"
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
