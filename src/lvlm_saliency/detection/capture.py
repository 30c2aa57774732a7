"""`reading`: one pass over prompt and answer that keeps what the asked detectors need, and nothing else.

The prompt but for its last token runs first, over an empty cache; then the rows that predict the answer's tokens, and
the row of its last token, run over it. States of the picture's tokens are reduced (to the lens of the mentioned words)
as they come, layer by layer, so that no vocabulary x patches x layers ever stands in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
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
from lvlm_saliency.detection.lens import of_some, top_and_entropy
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import LensOf, Reading
from lvlm_saliency.detection.registry import detector
from lvlm_saliency.errors import SettingError, UnsupportedModelError
from lvlm_saliency.hf import caches
from lvlm_saliency.model.inputs import check_inputs
from lvlm_saliency.model.regions import Regions, placeholder_ids, token_regions
from lvlm_saliency.model.thinking import answers_of, marks_of, parts_of_ids
from lvlm_saliency.tracing.logits import finite_logits
from lvlm_saliency.tracing.result import token_texts
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
    plans = [_Plan(sample, regions, sequences, length, mentions, processor) for sample in range(len(sequences))]
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


class _Plan:
    """Of one text: which columns of the batch are its own, and which rows and tokens are kept."""

    def __init__(self, sample: int, regions: Regions, sequences: Tensor, length: int, mentions, processor: Any):
        own = ~regions.padding[sample]
        self.sample, self.length = sample, length
        self.columns = own.nonzero().flatten()  # positions in the batch
        self.count = int(own[length:].sum())
        self.prompt = int(own[:length].sum())
        self.image = regions.image[sample].nonzero().flatten()
        mine = None if mentions is None else [one for one in mentions if one.sample == sample]
        answer = sequences[sample, length : length + self.count].cpu()
        self.answers = _answers(processor, sequences[sample, :length].cpu()[own[:length]].tolist(), answer.tolist())
        firsts = [first for first, _ in self.answers or [(0, 0)]]  # the state behind each answer's prompt
        behind = int(self.image.max()) + 1 if len(self.image) else length
        end = length + max(firsts, default=0) if len(self.image) else length  # what an answer's prompt holds
        self.behind = torch.arange(behind, end)[own[behind:end]]
        rows = range(self.count + 1) if mine is None else (r for m in mine for r in range(m.start, m.end + 1))
        self.rows = torch.tensor(sorted({row for row in (0, *firsts, *rows) if row <= self.count}), dtype=torch.long)
        tokens = range(self.count) if mine is None else [t for m in mine for t in m.tokens if t < self.count]
        self.ids = torch.unique(answer[torch.tensor(sorted(set(tokens)), dtype=torch.long)])
        self.sequence = sequences[sample].cpu()


def _answers(processor: Any, prompt: list[int], answer: list[int]) -> list[tuple[int, int]] | None:
    """Where a text answers, in tokens; None for one answer, of a model that is not known to think."""
    marks = None if processor is None else marks_of(processor)
    if marks is None:
        return None
    tokenizer = getattr(processor, "tokenizer", processor)
    return answers_of(parts_of_ids(marks, tokenizer, prompt, token_texts(tokenizer, answer)))


def _captured(model, inputs, sequences, needs: Needs, depth: Depth, plans: list[_Plan], methods) -> list[Reading]:
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
        )
        for plan in plans
    ]
    states = _States(needs, depth, plans, found, lens)
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


def _passes(model, inputs, sequences, needs, plans, found, states, state) -> None:
    """Prompt, then rows: `states` hears the layers, and attention and logits are kept here."""
    layers = needs.attention | needs.chain
    keeper = _Rows(needs, plans, found)

    def loop(model, input_ids, logits_processor, stopping_criteria, generation_config, **model_kwargs):
        target = sequences.to(input_ids.device)
        batch, length = input_ids.shape
        count = target.shape[1] - length
        _refuse_short(model, input_ids)
        hf.forget_held_states(model)
        states.offset = 0
        model(**hf.prefill_inputs(model, input_ids, model_kwargs, drop=1), return_dict=True)
        model_kwargs["logits_to_keep"] = 0
        model_kwargs = hf.extended(model, {}, model_kwargs, count)
        width = batch * _heads(model) * target.shape[1] * max(1, len(layers))
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
            for layer in sorted(capture.weights) if capture is not None else ():
                keeper.attention(layer, first, capture.weights[layer], capture.contexts[layer].offset)

    settings = {"use_cache": True, "max_new_tokens": 1, "do_sample": False, "num_beams": 1}
    with hf.offsets_kept(model):
        hf.prepared_plainly(model, {**inputs, hf.CACHE: caches.new_cache(model)}, loop, **settings)
    keeper.finish()


def _refuse_short(model, ids: Tensor) -> None:
    if ids.shape[1] < 2:
        raise UnsupportedModelError("the prompt is a single token: there is nothing before it; give a longer one")
    image = placeholder_ids(model)
    if image and bool(torch.isin(ids[:, -1], torch.tensor(image, device=ids.device)).any()):
        raise UnsupportedModelError("the prompt ends with a picture: put some text (a question, or a newline) after it")


def _heads(model) -> int:
    return int(getattr(hf.text_config(model), "num_attention_heads", 1))


class _Rows:
    """Logits and attention of the answer's rows, put where each text wants them."""

    def __init__(self, needs: Needs, plans: list[_Plan], found: list[Reading]):
        self.needs, self.plans, self.found = needs, plans, found
        self.tokens: list[list[tuple[Tensor, ...]]] = [[] for _ in plans]
        self.surprises: list[list[Tensor]] = [[] for _ in plans]

    def logits(self, first: int, logits: Tensor, target: Tensor) -> None:
        """Log p, entropy and margin of the tokens that rows from `first` on predict."""
        if not self.needs.logits:
            return
        for plan, kept, surprises in zip(self.plans, self.tokens, self.surprises, strict=True):
            last = min(first + logits.shape[1], plan.count)
            if last > first:
                rows = finite_logits(logits[plan.sample, : last - first])
                log_p = torch.log_softmax(rows, -1)
                chosen = target[plan.sample, plan.length + first : plan.length + last, None].to(rows.device)
                own = log_p.gather(-1, chosen)
                best = log_p.scatter(-1, chosen, float("-inf")).amax(-1, keepdim=True)
                entropy = -(log_p.exp() * log_p.masked_fill(log_p == float("-inf"), 0)).sum(-1)
                kept.append((own[:, 0].cpu(), entropy.cpu(), (own - best)[:, 0].cpu()))
            wanted = plan.rows[(plan.rows >= first) & (plan.rows < first + logits.shape[1])]
            if len(wanted):
                rows = finite_logits(logits[plan.sample, (wanted - first).to(logits.device)])
                large = rows.topk(min(100, rows.shape[-1]), -1).values
                share = torch.log_softmax(large, -1)
                surprises.append(
                    torch.stack([-(share.exp() * share).nansum(-1), large[:, 0], share[:, 0].exp()], -1).cpu()
                )

    def attention(self, layer: int, first: int, weights: Tensor, offset: int) -> None:
        """One layer's rows `[B, H, t, K]`, key column 0 at position `offset`."""
        for plan, text in zip(self.plans, self.found, strict=True):
            # The cache may have room for more keys than there are, and a sliding layer holds the last ones only.
            seen = plan.columns[(plan.columns >= offset) & (plan.columns < offset + weights.shape[-1])]
            at = torch.searchsorted(plan.columns, seen)
            own = weights[plan.sample]
            if layer in self.needs.attention:
                wanted = (plan.rows >= first) & (plan.rows < first + weights.shape[2])
                rows = own[:, (plan.rows[wanted] - first).to(own.device)][..., (seen - offset).to(own.device)].cpu()
                sheet = text.attention.setdefault(
                    layer, np.zeros((own.shape[0], len(plan.rows), len(plan.columns)), dtype=np.float32)
                )
                sheet[:, wanted.nonzero().flatten().numpy()[:, None], at.numpy()] = rows.numpy()
            if layer in self.needs.chain:
                self._chain(layer, first, own, offset, plan, text)

    def _chain(self, layer: int, first: int, own: Tensor, offset: int, plan: _Plan, text: Reading) -> None:
        chain = text.chain.setdefault(layer, np.zeros((own.shape[0], 2, plan.count + 1), dtype=np.float32))
        last = min(first + own.shape[1], plan.count + 1)
        rows = torch.arange(first, last)
        for back in (0, 1):
            keys = rows + plan.length - 1 - back - offset
            inside = keys >= 0
            picked = own[:, (rows - first)[inside].to(own.device), keys[inside].to(own.device)]
            chain[:, back, rows[inside].numpy()] = picked.float().cpu().numpy()

    def finish(self) -> None:
        for text, kept, surprises in zip(self.found, self.tokens, self.surprises, strict=True):
            if self.needs.logits:
                parts = [torch.cat(part).double().numpy() for part in zip(*kept, strict=True)] if kept else []
                text.logprob, text.entropy, text.margin = parts or [np.zeros(0)] * 3
                text.surprise = torch.cat(surprises).double().numpy()


class _States:
    """Hears the hidden states of every call, and keeps or reduces what is needed of them."""

    def __init__(self, needs: Needs, depth: Depth, plans: list[_Plan], found: list[Reading], lens: Lens):
        self.needs, self.depth, self.plans, self.found, self.lens = needs, depth, plans, found, lens
        self.offset = 0
        self.lensed: dict[str, dict[int, list[float]]] = {"image": {}, "prompt": {}}  # kind -> index -> factors
        for kind, wanted in (("image", needs.image_lens), ("prompt", needs.prompt_lens)):
            for index, factor in wanted:
                self.lensed[kind].setdefault(index, []).append(factor)
        every = range(1, depth.count + 1) if needs.text_lens else ()
        self.tapped = sorted(
            {*needs.text, *needs.image, *needs.prompt, *self.lensed["image"], *self.lensed["prompt"], *every}
        )
        if wrong := [index for index in self.tapped if not 0 <= index <= depth.count]:
            raise SettingError(f"hidden states {wrong} do not exist: the model has {depth.count} layers")
        self.parts: dict[tuple, list] = {}

    def see(self, index: int, hidden: Tensor) -> None:
        """Hidden state `index` `[B, t, D]` of the call whose first token is at `offset`."""
        last = index == self.depth.count
        start, stop = self.offset, self.offset + hidden.shape[1]
        for plan in self.plans:
            own = hidden[plan.sample]
            for kind, positions, wanted in (
                ("image", plan.image, self.needs.image),
                ("prompt", plan.behind, self.needs.prompt),
            ):
                factors = self.lensed[kind].get(index, [])
                if index not in wanted and not factors:
                    continue
                here = positions[(positions >= start) & (positions < stop)] - start
                if len(here):
                    states = self._normed(own[here.to(own.device)], last)
                    if index in wanted:
                        self._keep((plan.sample, kind, index), states)
                    for factor in factors:
                        some = of_some(self.lens, states, plan.ids, factor)
                        self.parts.setdefault((plan.sample, kind + " lens", index, factor), []).append(some)
            self._text(index, own, plan, start, stop, last)

    def _text(self, index: int, own: Tensor, plan: _Plan, start: int, stop: int, last: bool) -> None:
        if index not in self.needs.text and not self.needs.text_lens:
            return
        positions = plan.rows + plan.length - 1
        here = positions[(positions >= start) & (positions < stop)] - start
        if not len(here):
            return
        states = own[here.to(own.device)]
        if index in self.needs.text:
            self._keep((plan.sample, "text", index), self._normed(states, last))
        if self.needs.text_lens and index:
            self.parts.setdefault((plan.sample, "text lens", index), []).append(top_and_entropy(self.lens, states))

    def _normed(self, states: Tensor, last: bool) -> Tensor:
        return self.lens.norm(states) if last else states

    def _keep(self, key: tuple, states: Tensor) -> None:
        self.parts.setdefault(key, []).append(states.float().cpu().numpy())

    def finish(self) -> None:
        width = None
        for (sample, kind, index, *factor), parts in self.parts.items():
            text = self.found[sample]
            if kind in ("image lens", "prompt lens"):
                home = text.image_lens if kind == "image lens" else text.prompt_lens
                home[index, factor[0]] = _joined(parts)
            elif kind != "text lens":
                home = {"image": text.image_states, "prompt": text.prompt_states, "text": text.text}[kind]
                home[index] = np.concatenate(parts)
                width = home[index].shape[-1]
        for plan, text in zip(self.plans, self.found, strict=True):
            if self.needs.text_lens:
                parts = [self.parts[plan.sample, "text lens", index] for index in range(1, self.depth.count + 1)]
                text.text_top = np.stack([np.concatenate([top for top, _ in part]) for part in parts], -1)
                text.text_entropy = np.stack([np.concatenate([entropy for _, entropy in part]) for part in parts], -1)
            # A text without a picture, or with nothing behind it, has empty arrays, and not none.
            for wanted, home in ((self.needs.image, text.image_states), (self.needs.prompt, text.prompt_states)):
                for index in wanted - set(home):
                    home[index] = np.zeros((0, width or 1), dtype=np.float32)
            for asked, lenses in ((self.needs.image_lens, text.image_lens), (self.needs.prompt_lens, text.prompt_lens)):
                for key in asked - set(lenses):
                    none = np.zeros(0, dtype=np.float32)
                    empty = np.zeros((0, len(plan.ids)), np.float32)
                    lenses[key] = LensOf(plan.ids.numpy(), empty, none, none.astype(int), none, none)


def _joined(parts: list[LensOf]) -> LensOf:
    names = ("logits", "size", "top", "least", "kept")
    return LensOf(parts[0].ids, *(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _laid_out(found: list[Reading], plans: list[_Plan], needs: Needs, processor, inputs, images, model) -> None:
    """Where image tokens lie, where that is needed and can be told."""
    if not needs.tiles or processor is None or images is None:
        return
    from lvlm_saliency.model.layout import image_layouts

    try:
        layouts = image_layouts(processor, inputs, images, model=model)
    except UnsupportedModelError:  # a family without a grid: scores that need one are NaN
        return
    for text, plan, pictures in zip(found, plans, layouts, strict=True):
        text.tiles = [
            torch.searchsorted(plan.image, torch.from_numpy(tile.positions)).numpy()
            for picture in pictures
            for tile in picture.tiles
        ]


def _named(found: list[Reading], model, needs: Needs, processor) -> None:
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


def _traced(found, model, inputs, generated, methods, eos_token_id, pad_token_id, processor) -> None:
    from lvlm_saliency.tracing.one_pass import trace

    ends = {"eos_token_id": eos_token_id, "pad_token_id": pad_token_id}
    made = trace(model, inputs, generated, methods=methods, **ends)
    made = made if processor is None else made.with_thinking(processor)
    for sample, text in enumerate(found):
        text.trace, text.sample = made, sample
