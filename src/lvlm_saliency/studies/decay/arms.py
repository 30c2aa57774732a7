"""The arms of `decay`: the same pictures described under every strength; every answer is saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlm_saliency.benchmarks.base import Benchmark, Item
from lvlm_saliency.decoding.loop import generate
from lvlm_saliency.evaluation import rows as lines
from lvlm_saliency.evaluation.decoding import Decoder
from lvlm_saliency.evaluation.reader import ReadsTexts
from lvlm_saliency.evaluation.scoring import count_table, cut
from lvlm_saliency.files.kinds import is_number
from lvlm_saliency.model.thinking import Ear, marks_of
from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.stats.counts import CountTable
from lvlm_saliency.studies.collect import digest
from lvlm_saliency.studies.decay.weakening import Strength, Weakening
from lvlm_saliency.studies.labels import Labeller, labeller
from lvlm_saliency.studies.spread import kept_rows
from lvlm_saliency.studies.texts import Span

if TYPE_CHECKING:
    from lvlm_saliency.workers import Pool


@dataclass(frozen=True)
class Arm:
    """The texts generated under one strength, by item index, and their counts per picture."""

    strength: Strength
    rows: dict[int, dict[str, Any]]
    benchmark: Benchmark

    @cached_property
    def result(self) -> dict[str, Any]:
        return self.benchmark.score({index: row["text"] for index, row in self.rows.items()})["captions"]

    @cached_property
    def table(self) -> CountTable:
        return count_table(self.result)

    def cut_like(self, other: Arm) -> Arm:
        """The same texts cut, one by one, to the number of words that `other` has."""
        rows = {
            index: {**row, "text": cut(row["text"], len(other.rows[index]["text"].split()))}
            for index, row in self.rows.items()
        }
        return Arm(self.strength, rows, self.benchmark)

    def figure(self, name: str) -> stats.Statistic:
        """CHAIR_s, CHAIR_i, recall or length of redrawn pictures."""
        counts, evaluate = self.table.counts, self.table.evaluate
        return lambda weights: evaluate(weights @ counts)[name]

    def total(self, name: str) -> float:
        return float(sum(row[name] for row in self.rows.values()))

    def changed(self, other: Arm) -> float:
        """Share of the texts that differ from the other arm's."""
        return float(np.mean([row["text"] != other.rows[index]["text"] for index, row in self.rows.items()]))


def write(
    decoder: ReadsTexts,
    benchmark: Benchmark,
    strength: Strength,
    folder: Any,
    listener: Any,
    name: str,
    pool: Pool | None = None,
) -> Arm:
    """Generate the texts of an arm that `folder` does not hold yet (other settings have other file names), by the
    workers of a `pool` where there is one."""
    settings = decoder.settings
    file = folder / f"{digest(benchmark.described(), asdict(strength), settings.max_new_tokens)}.jsonl"
    told: dict[str, Any] = {"decoder": decoder, "pool": pool, "listener": listener, "label": name}
    rows = kept_rows(_decoded, (benchmark, strength), benchmark, file, _fault, **told)
    return Arm(strength, dict(sorted(rows.items())), benchmark)


def _fault(row: dict[str, Any]) -> str:
    """What is wrong with a kept row, nothing when it can be used."""
    strange = [name for name in ("held", "taken", "wanted", "attended") if not is_number(row.get(name))]
    return lines.check_text(row) or (f"{strange[0]} is no number" if strange else "")


def _labelled(label: Labeller, item: Item, text: str) -> list[Span]:
    return label(text, item)


def _decoded(decoder: Decoder, benchmark: Benchmark, strength: Strength, items: Sequence[Item]) -> list[dict[str, Any]]:
    label = labeller(benchmark)
    inputs = decoder.inputs([benchmark.picture(item) for item in items], [item.prompt for item in items])
    marks = marks_of(decoder.processor)
    weakening = Weakening(
        strength,
        decoder.tokenizer,
        [partial(_labelled, label, item) for item in items],
        [item.index for item in items],
        inputs["input_ids"].shape[1],
        decoder.ends,
        None if marks is None else [Ear(marks, decoder.rendered(item)) for item in items],
    )
    out = generate(
        decoder.model,
        inputs,
        methods=[weakening],
        max_new_tokens=decoder.settings.max_new_tokens,
        num_beams=1,
        do_sample=False,
        **dict.fromkeys(("temperature", "top_p", "top_k")),
    )
    rows = []
    for item, steps, sample, taken in zip(items, out.steps, weakening.samples, weakening.taken.T.tolist(), strict=True):
        ids = [step.token_id for step in steps]
        rows.append(
            {
                "index": item.index,
                "id": item.id,
                "image": item.image,
                "text": decoder.said(item, ids),
                "token_ids": ids,
                "held": len(sample.held),
                "taken": taken[0],
                "wanted": taken[1],
                "attended": taken[2],
            }
        )
    return rows
