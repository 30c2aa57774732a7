"""The further passes that some detectors ask for: questions about the objects named, and a blank picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.detection.lpfv import QUESTION
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading
from lvlm_saliency.errors import SettingError
from lvlm_saliency.tracing.logits import finite_logits


def add_passes(
    found: Sequence[Reading],
    wanted: Collection[str],
    model: Any,
    inputs: Mapping[str, Any],
    sequences: Tensor,
    processor: Any,
    images: Sequence[Any] | None,
    mentions: Sequence[Mention] | None,
) -> None:
    """Put into each reading's `extra` what the passes of these names say.

    Raises:
        SettingError: a question is to be asked, and the processor, the pictures or the mentions are missing.
    """
    length = inputs["input_ids"].shape[1]
    if "blank picture" in wanted:
        _blank(found, model, inputs, sequences, length)
    asking = {"self-check", "lpfv"} & set(wanted)
    if not asking:
        return
    if processor is None or images is None or mentions is None:
        raise SettingError(
            f"{' and '.join(sorted(asking))} ask the model about the objects that a text names: give the reading "
            "processor=, images= and mentions="
        )
    for sample, text in enumerate(found):
        names = sorted({mention.name for mention in mentions if mention.sample == sample and mention.name})
        pictures = images[sample] if isinstance(images[sample], (list, tuple)) else [images[sample]]
        if "self-check" in asking:
            text.extra["self-check"] = denials(model, processor, pictures, names)
        if "lpfv" in asking:
            text.extra["lpfv"] = named_freely(model, processor, pictures, names)


def denials(model: Any, processor: Any, pictures: Sequence[Any], names: Sequence[str]) -> dict[str, float]:
    """log p(no) - log p(yes) for every name; empty where the tokenizer lacks either word."""
    from lvlm_saliency.model.inputs import question_inputs
    from lvlm_saliency.risk.asked import question, yes_and_no

    words = yes_and_no(getattr(processor, "tokenizer", processor))
    if words is None:
        return {}
    found = {}
    for name in names:
        asked = question_inputs(processor, list(pictures), question(name), model)
        log_p = _behind(model, asked, [])[0]
        found[name] = float(log_p[words[1]].logsumexp(-1) - log_p[words[0]].logsumexp(-1))
    return found


def named_freely(model: Any, processor: Any, pictures: Sequence[Any], names: Sequence[str]) -> dict[str, float]:
    """log p of every name, capitalised, as the answer to `QUESTION`."""
    from lvlm_saliency.model.inputs import question_inputs

    if not names:
        return {}
    tokenizer = getattr(processor, "tokenizer", processor)
    asked = question_inputs(processor, list(pictures), QUESTION, model)
    found = {}
    alone = _behind(model, asked, [])  # the first token of every name is of one pass
    for name in names:
        ids = tokenizer(name.capitalize(), add_special_tokens=False)["input_ids"]
        log_p = alone if len(ids) < 2 else _behind(model, asked, ids[:-1])
        found[name] = float(sum(row[token] for row, token in zip(log_p, ids, strict=True))) if ids else float("nan")
    return found


@torch.no_grad()
def _behind(model: Any, inputs: Mapping[str, Any], more: Sequence[int]) -> Tensor:
    """Log-probabilities `[1 + len(more), V]` after a prompt and after each of some tokens after it."""
    ids, _, kwargs = hf.prepared_alone(model, dict(inputs), 1, 1, use_cache=False)
    length = ids.shape[1]
    if more:
        ids = torch.cat([ids, torch.tensor([list(more)], dtype=ids.dtype, device=ids.device)], dim=1)
        kwargs = hf.extended(model, {}, kwargs, len(more))
    kwargs = {**kwargs, "logits_to_keep": 0, "use_cache": False}
    with hf.offsets_kept(model):
        out = model(**hf.prefill_inputs(model, ids, kwargs), return_dict=True)
    return torch.log_softmax(finite_logits(out.logits[0, length - 1 :]), -1).cpu()


def _blank(found: Sequence[Reading], model: Any, inputs: Mapping[str, Any], sequences: Tensor, length: int) -> None:
    from lvlm_saliency.risk.passes import blank_pixels, whole_text

    if not any(len(text.image) for text in found):
        return
    logits, _ = whole_text(model, inputs, sequences, length)
    blank, _ = whole_text(model, {**inputs, "pixel_values": blank_pixels(model, inputs)}, sequences, length)
    log_p, log_q = torch.log_softmax(logits, -1), torch.log_softmax(blank, -1)
    chosen = sequences[:, length:, None].to(log_p.device)
    ratio = (log_p - log_q).gather(-1, chosen)[..., 0]
    gone = log_p == float("-inf")
    divergence = (log_p.exp() * (log_p - log_q).masked_fill(gone, 0)).sum(-1)
    for sample, text in enumerate(found):
        text.extra["blank picture"] = {
            "log_ratio": _numbers(ratio[sample, : text.count]),
            "divergence": _numbers(divergence[sample, : text.count]),
        }


def _numbers(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()
