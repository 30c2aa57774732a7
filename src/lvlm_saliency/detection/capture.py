"""`reading`: one pass over prompt and answer that keeps what the asked detectors need, and nothing else.

The prompt but for its last token runs first, over an empty cache; then the rows that predict the answer's tokens, and
the row of its last token, run over it. States of the picture's tokens are reduced (to the lens of the mentioned words)
as they come, layer by layer, so that no vocabulary x patches x layers ever stands in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.given import traced_methods
from lvlm_saliency.attention.parts import bound
from lvlm_saliency.attention.prompts import Prompt
from lvlm_saliency.attention.session import session
from lvlm_saliency.attention.state import Capture
from lvlm_saliency.decoding.hidden_states import Lens, tap
from lvlm_saliency.detection.base import Depth, Detector, Needs, union
from lvlm_saliency.detection.kept_rows import Rows
from lvlm_saliency.detection.kept_states import States
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.plan import Plan
from lvlm_saliency.detection.reading import Reading
from lvlm_saliency.detection.registry import detector
from lvlm_saliency.errors import UnsupportedModelError
from lvlm_saliency.hf import caches
from lvlm_saliency.model.input_checks import check_inputs
from lvlm_saliency.model.regions import placeholder_ids, token_regions
from lvlm_saliency.risk.model import architecture
from lvlm_saliency.tracing.sequences import checked_sequences

ATTENTION_ELEMENTS = 2**28
"""Upper bound of layers x batch x heads x rows x keys in one block of rows (1 GiB in float32)."""
MAX_ROWS = 512


def reading(
    model: Any,
    inputs: dict[str, Any],
    sequences: Any,
    detectors: Sequence[Detector | str],
    *,
    mentions: Sequence[Mention] | None = None,
    processor: Any = None,
    images: Sequence[Any] | None = None,
    methods: Sequence[Any] = (),
    eos_token_id: int | Sequence[int] | None = None,
    pad_token_id: int | None = None,
) -> list[Reading]:
    """What these detectors need to know of every text, captured in one pass (and the further passes that some ask for).

    Args:
        model: a decoder-only transformers model in eval mode.
        inputs: what the model was given: input_ids `[batch, n0]`, attention_mask, pixel_values, ...; left-padded.
        sequences: int64 `[batch, n0 + T]`, prompt included, or the object that `generate` returned.
        detectors: names or detectors whose needs are met.
        mentions: the words that will be judged; default every token of the answers. Attention and states are kept at
            their tokens alone.
        processor, images: the processor and each text's pictures, `[[PIL image, ...], ...]`: needed by detectors that
            ask the model a question, and to know where image tokens lie in the picture.
        methods: attention-editing methods under which the texts were written.
        eos_token_id, pad_token_id: as for `trace`.

    Returns:
        One `Reading` for each text, on the CPU.

    Raises:
        InputError, SequenceError, UnsupportedModelError, NumericalError: as `trace` does.
        SettingError: an unknown detector, or one that needs a processor or pictures that were not given.
    """
    wanted = [detector(one) if isinstance(one, str) else one for one in detectors]
    hf.supported_decoder(model)
    depth = depth_of(model)
    needs = union(wanted, depth)
    check_inputs(model, inputs)
    generated, sequences = sequences, checked_sequences(model, inputs, sequences)
    length = inputs["input_ids"].shape[1]
    texts = generated if hasattr(generated, "steps") else sequences
    regions = token_regions(model, inputs, texts, eos_token_id=eos_token_id, pad_token_id=pad_token_id).to("cpu")
    shaping = traced_methods(methods)
    plans = [Plan(sample, regions, sequences, length, mentions, processor) for sample in range(len(sequences))]
    found = _captured(model, inputs, sequences, needs, depth, plans, shaping)
    _laid_out(found, plans, needs, processor, inputs, images, model)
    _named(found, model, needs, processor)
    if needs.gradient:
        _traced(found, model, inputs, generated, shaping, eos_token_id, pad_token_id, processor)
    if needs.extra:
        from lvlm_saliency.detection.passes import add_passes

        add_passes(found, needs.extra, model, inputs, sequences, processor, images, mentions)
    return found


def depth_of(model: Any) -> Depth:
    """How many layers the language model has, and which of them attend."""
    return Depth(len(hf.decoder_layers(model)), tuple(hf.attention_layers(model)))


def _captured(
    model: Any, inputs: Any, sequences: Any, needs: Needs, depth: Depth, plans: list[Plan], methods: Any
) -> list[Reading]:
    lens = Lens(model)
    found = [
        Reading(
            ids=plan.sequence[plan.columns].numpy(),
            prompt=plan.prompt,
            image=torch.searchsorted(plan.columns, plan.image).numpy(),
            depth=depth,
            rows=plan.rows.numpy(),
            tied=hf.tied_head(model),
            answers=plan.answers,
            architecture=architecture(model),
        )
        for plan in plans
    ]
    states = States(needs, depth, plans, found, lens)
    prompt = Prompt.read(model, inputs["input_ids"], inputs.get("attention_mask"), inputs["input_ids"].shape[1])
    parts = bound(methods, model)
    with torch.no_grad(), session(model, parts.editors, parts.hooks) as state, state.acting_on(prompt):
        handles = tap(model, state, states.tapped, states.see)
        try:
            _passes(model, inputs, sequences, needs, plans, found, states, state)
        finally:
            for handle in handles:
                handle.remove()
    states.finish()
    return found


def _passes(
    model: Any, inputs: Any, sequences: Any, needs: Any, plans: Any, found: Any, states: Any, state: Any
) -> None:
    """Prompt, then rows: `states` hears the layers, and attention and logits are kept here."""
    layers = needs.attention | needs.chain
    keeper = Rows(needs, plans, found)

    def loop(
        model: Any,
        input_ids: Any,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> None:
        target = sequences.to(input_ids.device)
        batch, length = input_ids.shape
        count = target.shape[1] - length
        _refuse_short(model, input_ids)
        hf.forget_held_states(model)
        states.offset = 0
        model(**hf.prefill_inputs(model, input_ids, model_kwargs, drop=1), return_dict=True)
        model_kwargs["logits_to_keep"] = 0
        model_kwargs = hf.extended(model, {}, model_kwargs, count)
        width = batch * hf.most_heads(model) * target.shape[1] * max(1, len(layers))
        step = max(1, min(MAX_ROWS, ATTENTION_ELEMENTS // width))
        for first in range(0, count + 1, step):
            last = min(first + step, count + 1)
            end = length - 1 + last
            states.offset = length - 1 + first
            kwargs = hf.cut(model_kwargs, hf.PER_TOKEN, slice(0, end))
            forward = hf.next_inputs(model, target[:, :end], last - first, kwargs)
            state.capture = capture = Capture(frozenset(layers), graph=False) if layers else None
            try:
                logits = model(**forward, return_dict=True).logits
            finally:
                state.capture = None
            keeper.logits(first, logits, target)
            if capture is not None:
                for layer in sorted(capture.weights):
                    keeper.attention(layer, first, capture.weights[layer], capture.contexts[layer].offset)

    settings = {"use_cache": True, "max_new_tokens": 1, "do_sample": False, "num_beams": 1}
    with hf.offsets_kept(model):
        hf.prepared_plainly(model, {**inputs, hf.CACHE: caches.new_cache(model)}, loop, **settings)
    keeper.finish()


def _refuse_short(model: Any, ids: Tensor) -> None:
    if ids.shape[1] < 2:
        raise UnsupportedModelError("the prompt is a single token: there is nothing before it; give a longer one")
    image = placeholder_ids(model)
    if image and bool(torch.isin(ids[:, -1], torch.tensor(image, device=ids.device)).any()):
        raise UnsupportedModelError("the prompt ends with a picture: put some text (a question, or a newline) after it")


def _laid_out(
    found: list[Reading], plans: list[Plan], needs: Needs, processor: Any, inputs: Any, images: Any, model: Any
) -> None:
    """Where image tokens lie, where that is needed and can be told."""
    if not needs.tiles or processor is None or images is None:
        return
    from lvlm_saliency.model.layout import image_layouts

    try:
        layouts = image_layouts(processor, inputs, images, model=model)
    except UnsupportedModelError:  # a family without a grid: scores that need one are NaN
        return
    for text, plan, pictures in zip(found, plans, layouts, strict=True):
        text.pictures = len(pictures)
        text.tiles = [
            torch.searchsorted(plan.image, torch.from_numpy(tile.positions)).numpy()
            for picture in pictures
            for tile in picture.tiles
        ]


def _named(found: list[Reading], model: Any, needs: Needs, processor: Any) -> None:
    """Rows of the embeddings, and the tokens' texts."""
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    tokenizer = getattr(processor, "tokenizer", processor)
    for text in found:
        ids = sorted({int(one) for one in text.answer})
        at = torch.tensor(ids, dtype=torch.long)
        if needs.unembedding:
            rows = head.weight[at.to(head.weight.device)].detach().float().cpu().numpy()
            text.unembedding = dict(zip(ids, rows, strict=True))
        if needs.embeddings:
            rows = embeddings.weight[at.to(embeddings.weight.device)].detach().float().cpu().numpy()
            text.embedding = dict(zip(ids, rows, strict=True))
        if tokenizer is not None:
            tops = (
                {int(one) for lens in text.image_lens.values() for one in lens.top} if "words" in needs.extra else set()
            )
            text.piece = {one: tokenizer.decode([one]) for one in {*ids, *tops}}


def _traced(
    found: Any,
    model: Any,
    inputs: Any,
    generated: Any,
    methods: Any,
    eos_token_id: Any,
    pad_token_id: Any,
    processor: Any,
) -> None:
    from lvlm_saliency.tracing.one_pass import trace

    ends = {"eos_token_id": eos_token_id, "pad_token_id": pad_token_id}
    made = trace(model, inputs, generated, methods=methods, **ends)
    made = made if processor is None else made.with_thinking(processor)
    for sample, text in enumerate(found):
        text.trace, text.sample = made, sample
