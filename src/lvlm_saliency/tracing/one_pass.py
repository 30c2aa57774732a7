"""`trace`: exact saliency rows of every generated token, in one pass over the key/value cache (docs/method.md, 1).

The prompt runs once without gradient. Then the rows that predict the generated tokens run over its cache in blocks,
with a graph from the lowest target layer upward; one backward pass per block gives every row of every layer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.given import traced_methods
from lvlm_saliency.attention.parts import Bindable, bound
from lvlm_saliency.attention.prompts import Prompt
from lvlm_saliency.attention.saliency import Recorder, unit
from lvlm_saliency.attention.session import Session, session
from lvlm_saliency.attention.state import Capture, PrefillComplete, RowContext
from lvlm_saliency.errors import InputError, NumericalError, SettingError, UnsupportedModelError, did_you_mean
from lvlm_saliency.hf import caches
from lvlm_saliency.model.input_checks import check_inputs
from lvlm_saliency.model.regions import placeholder_ids, token_regions
from lvlm_saliency.tracing.logits import finite_logits, token_odds
from lvlm_saliency.tracing.result import SaliencyTrace
from lvlm_saliency.tracing.reuse import prompt_cache, without_pixels
from lvlm_saliency.tracing.sequences import checked_sequences

if TYPE_CHECKING:
    from lvlm_saliency.tracing.definition import Found

MAX_ROWS = 512
"""Query rows per forward and backward pass: bounds the activations that the graph holds."""
LOGIT_ELEMENTS = 2**26
"""Upper bound of `batch * rows * vocabulary` in one block (256 MiB in float32)."""
STATE_BYTES = 2**30
"""Upper bound of the elements of state that the rows of one block keep in all recurrent layers together. The graph
holds several copies of them."""


def trace(
    model: Any,
    inputs: Mapping[str, Any],
    sequences: Any,
    layers: Sequence[int] | None = None,
    normalise: str = "row",
    methods: Sequence[Bindable] | Bindable = (),
    *,
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int | None = None,
) -> SaliencyTrace:
    """Saliency of every generated token over everything before it, exactly.

    Args:
        model: a decoder-only transformers model (with pictures or without), in eval mode; parameters may be frozen.
        inputs: what the model was given: input_ids `[batch, n0]`, attention_mask, pixel_values, ...; left-padded.
        sequences: int64 `[batch, n0 + T]`, prompt included, or the object that `generate` returned: where that carries
            its cache, the prompt is not computed again.
        layers: decoder layer numbers, default every layer that has attention.
        normalise: "row" (unit L2 norm of each row) or "matrix" (the paper's Eq. 5 read literally: each token's whole
            n x n map is made by a forward and backward pass of its own; costs T full passes and n x n memory per head).
        methods: the attention-editing methods under which the text was written, so that the rows are edited as they
            were when it was written. Methods whose `with` block is open act in any case.
        eos_token_id: int or several, the token that ended the texts, where it was passed to `generate` and is not in
            the checkpoint's settings. Not needed for what `lvlm_saliency.generate` returned.
        pad_token_id: the token that filled up shorter texts; likewise.

    Returns:
        SaliencyTrace: float32 on the CPU.

    Raises:
        InputError: inputs that the model would fail on or misread.
        SequenceError: the sequences do not start with the prompt, or nothing was generated.
        SettingError: a layer that does not exist or has no attention, an unknown normalisation, or a method that edits
            no attention rows (a name, a class, one that chooses tokens or contrasts passes).
        UnsupportedModelError: the model's attention cannot be captured, training mode changes it, or it was built
            under inference mode.
        NumericalError: the model's logits are not finite.
    """
    if normalise not in ("row", "matrix"):
        raise SettingError(f"unknown normalise={normalise!r}{did_you_mean(str(normalise), ('row', 'matrix'))}")
    methods = traced_methods(methods)
    layers = hf.target_layers(model, layers)
    hf.refuse_inference_weights(model)
    check_inputs(model, inputs)
    if inputs.get("inputs_embeds") is not None:
        raise InputError("a trace reads input_ids alone, and the inputs hold inputs_embeds too: leave those out")
    generated, sequences = sequences, checked_sequences(model, inputs, sequences)
    prompt_length = inputs["input_ids"].shape[1]
    texts = generated if hasattr(generated, "steps") else sequences
    regions = token_regions(model, inputs, texts, eos_token_id=eos_token_id, pad_token_id=pad_token_id)
    valid = regions.output[:, prompt_length:]
    prompt = Prompt.read(model, inputs["input_ids"], inputs.get("attention_mask"), prompt_length)
    parts = bound(methods, model)
    opened = session(model, parts.editors, parts.hooks)
    with torch.inference_mode(False), opened as state, state.acting_on(prompt):
        if normalise == "row":
            cache = prompt_cache(model, generated, sequences, prompt_length)
            found = _one_pass(model, inputs, sequences, layers, valid, state, cache)
        else:
            from lvlm_saliency.tracing.definition import by_definition

            found = by_definition(model, inputs, sequences, layers, valid, state, norm="matrix")
    rows, attention, logprobs, entropy = found
    keep = valid.cpu()
    return SaliencyTrace(
        rows=rows * keep[:, None, :, None],
        attention=attention * keep[:, None, :, None],
        layers=layers,
        regions=regions.to("cpu"),
        sequences=sequences.cpu(),
        prompt_length=prompt_length,
        valid=keep,
        logprobs=logprobs.masked_fill(~keep, float("nan")),
        entropy=entropy.masked_fill(~keep, float("nan")),
        settings={"model": model.config.name_or_path, "normalise": normalise, "methods": [repr(m) for m in methods]},
    )


def _one_pass(
    model: Any,
    inputs: Mapping[str, Any],
    sequences: Any,
    layers: list[int],
    valid: Tensor,
    state: Session,
    cache: Any = None,
) -> Found:
    count = sequences.shape[1] - inputs["input_ids"].shape[1]

    def loop(
        model: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> Found:
        target = sequences.to(input_ids.device)
        if cache is None:
            _prefill(model, input_ids, model_kwargs, state)
        else:
            model_kwargs[hf.CACHE] = cache
        model_kwargs["logits_to_keep"] = 0
        if count > 1:
            model_kwargs = hf.extended(model, {}, model_kwargs, count - 1)
        blocks = [
            _block(model, target, input_ids.shape[1], slice(a, b), model_kwargs, layers, valid, state)
            for a, b in _row_blocks(model, len(target), count, model_kwargs[hf.CACHE])
        ]
        rows, attention, logprobs, entropy = (
            torch.cat(parts, dim=dim) for parts, dim in zip(zip(*blocks, strict=True), (2, 2, 1, 1), strict=True)
        )
        return rows, attention, logprobs, entropy

    settings = {"use_cache": True, "max_new_tokens": 1, "do_sample": False, "num_beams": 1}
    inputs = dict(inputs) if cache is None else without_pixels(inputs)
    found: Found = hf.prepared_plainly(model, {**inputs, hf.CACHE: caches.new_cache(model)}, loop, **settings)
    return found


def _prefill(model: Any, input_ids: Tensor, model_kwargs: Any, state: Session) -> None:
    """Put the prompt's keys and values into the cache, without its last token, whose row is the first to predict an
    answer token. The attention of the topmost layer and the language model's head are not computed."""
    if input_ids.shape[1] < 2:
        raise UnsupportedModelError(
            "the prompt is a single token: there is nothing before it to depend on; give a longer one"
        )
    image = placeholder_ids(model)
    if image and bool(torch.isin(input_ids[:, -1], torch.tensor(image, device=input_ids.device)).any()):
        raise UnsupportedModelError("the prompt ends with a picture: put some text (a question, or a newline) after it")
    hf.forget_held_states(model)
    inputs = hf.prefill_inputs(model, input_ids, model_kwargs, drop=1)
    if (top := hf.last_to_write(model)) is not None:
        state.capture = Capture(frozenset([top]), keys_only=True)
    try:
        with torch.no_grad(), contextlib.suppress(PrefillComplete):
            model(**inputs, return_dict=True)
    finally:
        state.capture = None


def _row_blocks(model: Any, batch: int, count: int, cache: Any) -> Iterator[tuple[int, int]]:
    size = LOGIT_ELEMENTS // (batch * hf.text_config(model).vocab_size)
    if hf.is_hybrid(model):
        # Layers without attention (recurrent ones) carry gradient from later tokens to earlier ones. Their rows run one
        # at a time, unless the layers can run them side by side, each with a state of its own.
        size = min(size, STATE_BYTES // max(1, hf.state_bytes(model, cache))) if hf.runs_apart(model) else 1
    size = max(1, min(size, MAX_ROWS))
    for start in range(0, count, size):
        yield start, min(start + size, count)


def _block(
    model: Any,
    sequences: Any,
    prompt_length: int,
    block: slice,
    model_kwargs: Any,
    layers: list[int],
    valid: Tensor,
    state: Session,
) -> Found:
    """Rows `block` of the answer: a forward pass over the cache and one backward pass. Returns rows, attention, log p
    and entropy."""
    end = prompt_length - 1 + block.stop
    new = block.stop - block.start
    kwargs = hf.cut(model_kwargs, hf.PER_TOKEN, slice(0, end))
    forward = hf.next_inputs(model, sequences[:, :end], new, kwargs)
    width = sequences.shape[1] - 1
    sheet = _Sheet(len(sequences), len(layers), new, width, layers)
    state.capture = capture = Capture(frozenset(layers), recorder=sheet.recorder)
    try:
        with torch.no_grad(), hf.rows_apart(model):
            logits = model(**forward, return_dict=True).logits
            plain = finite_logits(logits.detach())
        targets = sequences[:, prompt_length + block.start : prompt_length + block.stop].to(plain.device)
        gradient, logprobs, entropy = token_odds(plain, targets)
        del plain
        if not bool(valid[:, block].all()):
            gradient *= valid[:, block, None].to(gradient.device)
        _backward(logits, gradient, capture, sheet)
    finally:
        state.capture = None
    return sheet.rows(), sheet.attention(), logprobs.cpu(), entropy.cpu()


def _backward(logits: Tensor, gradient: Tensor, capture: Capture, sheet: _Sheet) -> None:
    if capture.anchor is None:
        raise UnsupportedModelError("no target layer called its attention: this model's attention cannot be captured")
    # In float16 small gradients underflow, so the loss is scaled up; where gradients then overflow, it is scaled less.
    scales = (2.0**10, 2.0**4, 1.0) if logits.dtype == torch.float16 else (1.0,)
    for scale in scales:
        scaled = (gradient if scale == 1 else gradient * scale).to(logits.dtype)
        torch.autograd.grad(logits, capture.anchor, scaled, retain_graph=scale != scales[-1])
        if sheet.finite():
            return
    raise NumericalError("the gradients overflow in this precision: trace in bfloat16 or float32")


class _Sheet:
    """Collects the blocks that the backward pass records, layer by layer, and places them at absolute positions."""

    def __init__(self, batch: int, depth: int, rows: int, width: int, layers: list[int]) -> None:
        self.shape = (batch, rows, width)
        self.layers = layers
        self.saliency: dict[int, Tensor] = {}
        self.weights: dict[int, Tensor] = {}
        self.offset: dict[int, int] = {}

    def recorder(self, layer: int, context: RowContext) -> Recorder:
        shape = (*self.shape[:2], context.keys)
        saliency = self.saliency[layer] = torch.zeros(shape, device=context.device)
        weights = self.weights[layer] = torch.zeros(shape, device=context.device)

        def record(block: slice, row_saliency: Tensor, row_weights: Tensor) -> None:
            saliency[:, block], weights[:, block] = row_saliency, row_weights.mean(dim=1)

        self.offset[layer] = context.offset
        return record

    def finite(self) -> bool:
        return all(bool(torch.isfinite(s).all()) for s in self.saliency.values())

    def rows(self) -> Tensor:
        return self._laid_out(self.saliency, normalise=True)

    def attention(self) -> Tensor:
        return self._laid_out(self.weights, normalise=False)

    def _laid_out(self, sheets: dict[int, Tensor], normalise: bool) -> Tensor:
        out = torch.zeros(self.shape[0], len(self.layers), *self.shape[1:])
        for axis, layer in enumerate(self.layers):
            sheet = sheets[layer]
            if normalise:
                sheet = unit(sheet)
            start = self.offset[layer]
            stop = min(start + sheet.shape[-1], self.shape[2])
            out[:, axis, :, start:stop] = sheet[..., : stop - start].cpu()
        return out
