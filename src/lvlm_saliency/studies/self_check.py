"""Self-check: the model is asked POPE's question about each object that it named. One short pass per object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lvlm_saliency import hf
from lvlm_saliency.evaluation.decoding import Decoder
from lvlm_saliency.evaluation.reader import ReadsTexts
from lvlm_saliency.files import json_lines as store
from lvlm_saliency.files.kinds import is_number
from lvlm_saliency.risk.asked import question, yes_and_no
from lvlm_saliency.studies.spread import spread
from lvlm_saliency.studies.texts import LabelledText
from lvlm_saliency.tracing.logits import finite_logits

if TYPE_CHECKING:
    from lvlm_saliency.workers import Pool


def self_check(
    decoder: ReadsTexts,
    texts: Sequence[LabelledText],
    file: Path,
    *,
    listener: Any,
    label: str = "self-check",
    pool: Pool | None = None,
) -> dict[tuple[str, str], float] | None:
    """Log-odds of yes over no, by (image, object), for every object that the texts name; None without those words.

    Answers that `file` (JSON lines) already holds are not asked for again. The workers of a `pool`, where there is one,
    ask.
    """
    words = yes_and_no(decoder.tokenizer)
    if words is None:
        return None
    pairs = {(text.image, span.name): text for text in texts for span in text.spans}
    known = {(row["image"], row["name"]): row["odds"] for row in store.read_lines(file, _fault)}
    store.mend(file)
    waiting = [(pair, text) for pair, text in pairs.items() if pair not in known]
    if waiting:
        listener.begin(label, len(waiting), 0)
    size = 4 * decoder.settings.batch_size  # one short pass each: more of them fit than texts
    for batch, odds in spread(
        _log_odds, words, waiting, decoder=decoder, pool=pool, size=size, listener=listener, label=label
    ):
        rows = [
            {"image": image, "name": name, "odds": value} for ((image, name), _), value in zip(batch, odds, strict=True)
        ]
        store.append(file, rows)
        known |= {(row["image"], row["name"]): row["odds"] for row in rows}
        listener.advance(label, len(batch))
    return {pair: known[pair] for pair in pairs}


def _fault(row: dict[str, Any]) -> str:
    """What is wrong with a kept row, nothing when it can be used."""
    if not all(isinstance(row.get(name), str) for name in ("image", "name")):
        return "image or name is no text"
    return "" if is_number(row.get("odds")) else "odds are no number"


@torch.no_grad()
def _log_odds(decoder: Decoder, yes: list[int], no: list[int], batch: Sequence[Any]) -> list[float]:
    inputs = decoder.inputs([text.picture() for _, text in batch], [question(name) for (_, name), _ in batch])
    ids, _, kwargs = hf.prepared_alone(decoder.model, dict(inputs), 1, 1, use_cache=False)
    with hf.offsets_kept(decoder.model):
        out = decoder.model(**hf.prefill_inputs(decoder.model, ids, kwargs), return_dict=True)
    log_p = torch.log_softmax(finite_logits(out.logits[:, -1]), -1)
    odds = log_p[:, yes].logsumexp(-1) - log_p[:, no].logsumexp(-1)
    return np.round(odds.cpu().numpy().astype(float), 5).tolist()
