"""Makes the table of tokens from labelled texts: traces in batches, each saved to disk as soon as it is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lvlm_saliency.errors import InputError
from lvlm_saliency.evaluation.decoding import Batches, Decoder, queries
from lvlm_saliency.evaluation.reader import ReadsTexts
from lvlm_saliency.files import json_lines as store
from lvlm_saliency.files.archives import read_arrays, write_arrays
from lvlm_saliency.studies.texts import LabelledText
from lvlm_saliency.studies.tokens import ARRAYS, MEASURES, REGIONS, TokenTable
from lvlm_saliency.tracing.result import SaliencyTrace
from lvlm_saliency.workers import Job

if TYPE_CHECKING:
    from lvlm_saliency.workers import Pool

Extra = Callable[[Decoder, Any, SaliencyTrace], dict[str, np.ndarray]]
"""Computes further features of a batch: (decoder, inputs, trace) to `{name: [B, T, ...]}`. It must be a module's
function, or a partial of one, so that it can be sent to a worker."""


def collect(
    decoder: ReadsTexts,
    texts: Sequence[LabelledText],
    folder: Path,
    *,
    methods: Sequence[Any] = (),
    layers: Sequence[int] | None = None,
    extra: Extra | None = None,
    pool: Pool | None = None,
    listener: Any,
    label: str = "traces",
) -> TokenTable:
    """The table of all tokens of `texts`, traced under the attention-editing `methods` that they were written under, in
    this process (`decoder` is then a `Decoder`) or by the workers of a pool.

    Batches that `folder` already holds are read, so that an interrupted study continues where it stopped.
    """
    numbered = list(enumerate(texts))
    size = decoder.settings.batch_size
    files = {start: folder / f"{start:06d}.npz" for start in range(0, len(texts), size)}
    waiting = [start for start, file in files.items() if not file.exists()]
    listener.begin(label, len(texts), len(texts) - sum(len(numbered[start : start + size]) for start in waiting))
    jobs = {
        Job(
            _traced_job,
            (numbered[start : start + size], methods, layers, extra),
            weight=max(len(text.token_ids) for text in texts[start : start + size]),
            label=f"{label}, text {start} and those after it",
        ): start
        for start in waiting
    }
    done = pool.run(list(jobs)) if pool is not None else ((job, job.function(decoder, *job.arguments)) for job in jobs)
    for job, (arrays, notes) in done:
        for line in notes:
            listener.note(line)
        write_arrays(files[jobs[job]], arrays)
        listener.advance(label, len(job.arguments[0]))
    parts = [_load(file, numbered[start : start + size]) for start, file in files.items()]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    numbers = joined.pop("layers")[0].tolist()
    arrays = {name: joined.pop(name) for name in ARRAYS}
    return TokenTable(layers=numbers, texts=texts, **arrays, extra=joined)


def traced_batch(
    decoder: Decoder, texts: Sequence[LabelledText], methods: Sequence[Any] = (), layers: Sequence[int] | None = None
) -> tuple[Any, SaliencyTrace]:
    """The inputs of some texts and their trace; shorter texts are padded after their end."""
    asked = queries([text.picture() for text in texts], [text.prompt for text in texts])
    batch = decoder.chat.given_ids(asked, [text.token_ids for text in texts], methods)[0].batch
    return batch.inputs, decoder.chat.trace(batch, layers)


def _traced_job(
    decoder: Decoder, batch: Sequence[Any], methods: Any, layers: Any, extra: Extra | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of a batch of (number, text), and what the user should know."""
    notes: list[str] = []
    batches = Batches(len(batch), notes.append)
    parts = list(batches.run(batch, lambda some: _traced(decoder, some, methods, layers, extra)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, notes


def _traced(decoder: Any, batch: Any, methods: Any, layers: Any, extra: Any) -> dict[str, np.ndarray]:
    numbers, texts = zip(*batch, strict=True)
    inputs, found = traced_batch(decoder, texts, methods, layers)
    lengths = [len(text.token_ids) for text in texts]
    keep = np.arange(max(lengths))[None] < np.array(lengths)[:, None]  # what comes after an end is only padding
    arrays: dict[str, np.ndarray] = {
        "text": np.broadcast_to(np.array(numbers)[:, None], keep.shape),
        "position": np.broadcast_to(np.arange(keep.shape[1]), keep.shape),
        "token_id": found.token_ids.numpy(),
        "logprob": found.logprobs.numpy(),
        "entropy": found.entropy.numpy(),
        "layers": np.broadcast_to(np.array(found.layers), (*keep.shape, len(found.layers))),
    }
    for measure in MEASURES:
        arrays[measure] = _regions(found, measure)
    arrays["span"], arrays["opens"] = _spans(texts, keep.shape)
    arrays |= extra(decoder, inputs, found) if extra is not None else {}
    return {name: values[keep] for name, values in arrays.items()}


def _regions(found: SaliencyTrace, measure: str) -> np.ndarray:
    """`[B, T, layers, regions]`."""
    read = found.scores if measure == "saliency" else found.attention_scores
    values = [torch.stack([read(region, [layer]) for region in REGIONS], dim=-1) for layer in found.layers]
    return torch.stack(values, dim=2).numpy()


def _spans(texts: Sequence[LabelledText], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    span, opens = np.full(shape, -1), np.zeros(shape, dtype=bool)
    for row, text in enumerate(texts):
        for number, tokens in enumerate(text.span_tokens()):
            if tokens:
                span[row, tokens], opens[row, tokens[0]] = number, True
    return span, opens


def _load(file: Path, batch: Sequence[tuple[int, LabelledText]]) -> dict[str, np.ndarray]:
    """The arrays of a batch of (number, text) that was kept.

    Raises:
        InputError: the file is damaged, or holds other texts.
    """
    arrays = read_arrays(file)
    if fault := _fault(arrays, batch):
        raise InputError(f"{file} is damaged ({fault}); delete it, and it is made anew")
    return arrays


def _fault(arrays: dict[str, np.ndarray], batch: Sequence[tuple[int, LabelledText]]) -> str:
    if missing := sorted({"layers", *ARRAYS} - set(arrays)):
        return f"{missing[0]} is missing"
    expected = [(number, at, token) for number, text in batch for at, token in enumerate(text.token_ids)]
    if any(values.ndim < 1 or len(values) != len(expected) for values in arrays.values()):
        return "arrays of other lengths than its texts"
    for name, column in zip(("text", "position", "token_id"), zip(*expected, strict=True), strict=True):
        if arrays[name].shape != (len(expected),) or (arrays[name] != np.array(column)).any():
            return f"{name} is not that of its texts"
    layers = arrays["layers"]
    if layers.ndim != 2 or layers.dtype.kind not in "iu" or (layers != layers[:1]).any():
        return "its layers differ"
    spans = {number: len(text.spans) for number, text in batch}
    most = np.array([spans[number] for number, _, _ in expected])
    if arrays["span"].dtype.kind not in "iu" or not ((arrays["span"] >= -1) & (arrays["span"] < most)).all():
        return "span is not that of its texts"
    return ""


def digest(*parts: Any) -> str:
    """A short hash of some JSON-ready values."""
    from lvlm_saliency.model.provenance import digest as of

    return of(store.as_json(part) for part in parts)[:16]
