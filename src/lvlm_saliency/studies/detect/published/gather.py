"""The words that detectors are judged on, with the score or the features of every row, kept batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lvlm_saliency.attention.given import editing
from lvlm_saliency.detection.capture import reading
from lvlm_saliency.detection.fitted import Fittable
from lvlm_saliency.detection.mention import Mention, object_mentions
from lvlm_saliency.evaluation.decoding import Batches, queries
from lvlm_saliency.evaluation.systems import system
from lvlm_saliency.studies.collect import digest
from lvlm_saliency.studies.detect.mentions import NEAR
from lvlm_saliency.studies.detect.published.kept import Batch, key_of
from lvlm_saliency.studies.detect.published.rows import Row
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.texts import LabelledText

VERSION = 2
"""Of what is kept: raised when a score changes."""
TOGETHER = 8
"""Texts at a time: what is captured of one may be large."""


@dataclass(frozen=True)
class Words:
    """N object words of one way of decoding. All arrays share their first axis.

    Attributes:
        y: bool, hallucinated.
        first: bool.
        picture, name: object.
        position: int, number of the first token.
        occurrence: how often the object was named so far.
        total: how often in the whole text.
        wording: int `[N, len(NEAR)]`, the tokens near (-1: none).
        tokens: int, of the word.
        scores: label to float64 `[N]`.
        features: label to float64 `[N, F]`, of rows that are fitted.
    """

    y: np.ndarray
    first: np.ndarray
    picture: np.ndarray
    name: np.ndarray
    position: np.ndarray
    occurrence: np.ndarray
    total: np.ndarray
    wording: np.ndarray
    tokens: np.ndarray
    scores: Mapping[str, np.ndarray]
    features: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.y)


def words_of(texts: Sequence[LabelledText]) -> list[list[Mention]]:
    """The object words of every text."""
    return [object_mentions(text) for text in texts]


def gather(lab: Lab, method: str, rows: Sequence[Row], among: Sequence[str]) -> Words:
    """The words in what the model writes under `method`, with what every row says of them."""
    texts = lab.texts(method, among=among)
    acting = system(method, lab.settings.seed)
    shown = [[text.image, text.prompt, list(text.token_ids), repr(text.spans)] for text in texts]
    folder = lab.kept / "detectors" / digest(lab.fingerprint, VERSION, shown, acting.record())
    size = min(TOGETHER, lab.settings.batch_size)
    label = f"detectors on {acting.label} texts"
    batches = {start: texts[start : start + size] for start in range(0, len(texts), size)}
    stores = {start: Batch(folder, start, sum(map(len, words_of(batch)))) for start, batch in batches.items()}
    found = {start: store.read() for start, store in stores.items()}
    missing = {start: [row for row in rows if key_of(row) not in arrays] for start, arrays in found.items()}
    there = sum(len(batch) for start, batch in batches.items() if not missing[start])
    lab.listener.begin(label, len(texts), there)
    for start, lacking in missing.items():
        if not lacking:
            continue
        read = partial(scored, lab, methods=acting.methods, rows=lacking)
        parts = list(Batches(len(batches[start]), lab.listener.note).run(batches[start], read))
        made = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        stores[start].add(made)
        found[start] |= made
        lab.listener.advance(label, len(batches[start]))
    keys = list(map(key_of, rows)) if found else []
    return _table(texts, rows, {key: _joined([arrays[key] for arrays in found.values()]) for key in keys})


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Batches one after the other; one without a word does not know how many features a row has."""
    return np.concatenate([part for part in parts if len(part)] or parts[:1])


def scored(lab: Lab, texts: Sequence[LabelledText], methods: Sequence[Any], rows: Sequence[Row]) -> dict[str, Any]:
    """What every row says of the words of some texts: its `key_of` to `[N]` or `[N, F]`."""
    mentions = [Mention(**{**vars(one), "sample": at}) for at, some in enumerate(words_of(texts)) for one in some]
    asked = queries([text.picture() for text in texts], [text.prompt for text in texts])
    batch = lab.decoder.chat.given_ids(asked, [text.token_ids for text in texts], methods)[0].batch
    found = reading(
        lab.model,
        dict(batch.inputs),
        batch.sequences,
        [row.detector for row in rows],
        mentions=mentions,
        processor=lab.processor,
        images=[query.pictures for query in asked],
        methods=editing(methods),
    )
    for text in found:
        text.max_new_tokens = lab.settings.max_new_tokens
    arrays: dict[str, Any] = {}
    for row in rows:
        one = row.detector
        if row.fits and isinstance(one, Fittable):
            values = [one.features(found[mention.sample], mention) for mention in mentions]
            width = len(values[0]) if values else 0
            arrays[key_of(row)] = np.array(values, dtype=np.float32).reshape(len(mentions), width)
        else:
            arrays[key_of(row)] = np.array([one.score(found[mention.sample], mention) for mention in mentions])
    return arrays


def _table(texts: Sequence[LabelledText], rows: Sequence[Row], arrays: Mapping[str, np.ndarray]) -> Words:
    listed = [(text, one) for text, some in zip(texts, words_of(texts), strict=True) for one in some]
    totals = [
        max(other.occurrence for other in some if other.name == one.name) for some in words_of(texts) for one in some
    ]
    wording = np.full((len(listed), len(NEAR)), -1, dtype=np.int64)
    for number, (text, one) in enumerate(listed):
        ids = text.token_ids
        wording[number] = [ids[one.start + s] if 0 <= one.start + s < len(ids) else -1 for s in NEAR]
    values = {row.label: arrays[key_of(row)].astype(np.float64) for row in rows}
    return Words(
        y=np.array([bool(one.hallucinated) for _, one in listed], dtype=bool),
        first=np.array([one.first for _, one in listed], dtype=bool),
        picture=np.array([text.image for text, _ in listed], dtype=object),
        name=np.array([one.name for _, one in listed], dtype=object),
        position=np.array([one.start for _, one in listed], dtype=np.int64),
        occurrence=np.array([one.occurrence for _, one in listed], dtype=np.int64),
        total=np.array(totals, dtype=np.int64),
        wording=wording,
        tokens=np.array([one.end - one.start for _, one in listed], dtype=np.int64),
        scores={row.label: values[row.label] for row in rows if not row.fits},
        features={row.label: values[row.label] for row in rows if row.fits},
    )
