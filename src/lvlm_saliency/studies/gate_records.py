"""Records of SGRS at every step of many texts, saved text by text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlm_saliency.benchmarks.base import Benchmark, Item
from lvlm_saliency.decoding.loop import generate
from lvlm_saliency.evaluation import rows as lines
from lvlm_saliency.evaluation.decoding import Decoder
from lvlm_saliency.evaluation.reader import ReadsTexts
from lvlm_saliency.files.kinds import is_number, is_whole
from lvlm_saliency.interventions.sgrs import SGRS
from lvlm_saliency.model.output import TokenRecord
from lvlm_saliency.studies.collect import digest
from lvlm_saliency.studies.spread import kept_rows

if TYPE_CHECKING:
    from lvlm_saliency.workers import Pool


def write(
    decoder: ReadsTexts,
    benchmark: Benchmark,
    method: SGRS,
    top_p: float,
    folder: Path,
    listener: Any,
    name: str,
    pool: Pool | None = None,
) -> list[dict[str, Any]]:
    """A row per item, in order: index, image, text, token_ids, and `steps`, one `record` for each token.

    The candidates are the most probable of those inside `top_p`. The workers of a `pool`, where there is one, decode.
    What `folder` holds already is not decoded again, neither for this study nor for another one that asks for more or
    fewer of the same items.
    """
    tokens = decoder.settings.max_new_tokens
    asked = {name: value for name, value in benchmark.described().items() if name != "n"}
    file = folder / f"{digest(asked, asdict(method), top_p, tokens)}.jsonl"
    told: dict[str, Any] = {"decoder": decoder, "pool": pool, "listener": listener, "label": name}
    rows = kept_rows(_decoded, (benchmark, method, top_p), benchmark, file, _fault, **told)
    return [rows[item.index] for item in benchmark.items]


def record(step: TokenRecord) -> dict[str, Any]:
    """What is kept of a step. tested: it had a threshold to reach; candidates: how many there were; rejected: ids that
    were drawn and refused, in order; fallback: all draws were refused; top: id of the most probable candidate, None
    where none was listed."""
    return {
        "tested": step.threshold is not None,
        "candidates": len(step.candidates),
        "rejected": list(step.rejected),
        "fallback": step.fallback,
        "top": next(iter(step.candidates), None),
        "score": step.score,
        "threshold": step.threshold,
    }


def _fault(row: dict[str, Any]) -> str:
    """What is wrong with a kept row, nothing when it can be used."""
    if fault := lines.check_text(row):
        return fault
    steps = row.get("steps")
    if not isinstance(steps, list) or len(steps) != len(row["token_ids"]) or not all(map(_is_step, steps)):
        return "steps are not one for each token"
    return ""


def _is_step(step: Any) -> bool:
    return (
        isinstance(step, dict)
        and all(isinstance(step.get(name), bool) for name in ("tested", "fallback"))
        and is_whole(step.get("candidates"))
        and isinstance(step.get("rejected"), list)
        and all(map(is_whole, step["rejected"]))
        and all(step.get(name, 0) is None or is_number(step.get(name)) for name in ("top", "score", "threshold"))
    )


def _decoded(
    decoder: Decoder, benchmark: Benchmark, method: SGRS, top_p: float, items: Sequence[Item]
) -> list[dict[str, Any]]:
    inputs = decoder.inputs([benchmark.picture(item) for item in items], [item.prompt for item in items])
    out = generate(
        decoder.model,
        inputs,
        [method],
        sample_ids=[item.index for item in items],
        max_new_tokens=decoder.settings.max_new_tokens,
        num_beams=1,
        do_sample=True,
        temperature=1.0,
        top_p=top_p,
        top_k=0,
    )
    rows = []
    for item, steps in zip(items, out.steps, strict=True):
        ids = [step.token_id for step in steps]
        told = {"index": item.index, "image": item.image, "text": decoder.said(item, ids), "token_ids": ids}
        rows.append({**told, "steps": [record(step) for step in steps]})
    return rows
