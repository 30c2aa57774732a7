"""From answers to figures: intervals, paired differences against greedy decoding, and the controls of length."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lvlm_saliency.benchmarks.base import Benchmark
from lvlm_saliency.benchmarks.registry import scores_of
from lvlm_saliency.evaluation.systems import GREEDY, System
from lvlm_saliency.files.records import Problems
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.stats.counts import CountTable

_WORD = re.compile(r"\S+")
SHUFFLES = 4
"""Number of shuffles of a system's caption lengths over pictures."""

Answers = Mapping[int, Mapping[str, Any]]


def count_table(result: Mapping[str, Any]) -> CountTable:
    """The counts per picture behind a scorer's result."""
    return scores_of(result["benchmark"]).counts(result)


def cut(text: str, words: int) -> str:
    """The first `words` words of the text."""
    ends = [match.end() for match in _WORD.finditer(text)]
    return text if len(ends) <= words else text[: ends[words - 1]] if words else ""


class Scorer:
    """Scores all systems of a run on the items that all of them answered."""

    def __init__(self, benchmarks: Sequence[Benchmark], systems: Sequence[System], resamples: int):
        self.benchmarks, self.systems = benchmarks, systems
        self.bootstrap = Bootstrap(resamples)

    def score(self, answers: Mapping[str, Mapping[str, Answers]]) -> tuple[dict[str, Any], dict[tuple[str, str], Any]]:
        """`answers[benchmark][system][index]` is a row of an items file.

        Returns the content of scores.json, and the scorers' own results by (benchmark, file name).
        """
        details: dict[tuple[str, str], Any] = {}
        scores = {b.name: self._benchmark(b, answers[b.name], details) for b in self.benchmarks}
        return {"bootstrap": self.bootstrap.settings(), "benchmarks": scores}, details

    def _benchmark(
        self, benchmark: Benchmark, answers: Mapping[str, Answers], details: dict[Any, Any]
    ) -> dict[str, Any]:
        failed = sorted({index for rows in answers.values() for index, row in rows.items() if "error" in row})
        shared = [item.index for item in benchmark.items if item.index not in set(failed)]
        texts = {label: benchmark.texts({i: rows[i] for i in shared}) for label, rows in answers.items()}
        results = {label: benchmark.score(chosen) if chosen else {} for label, chosen in texts.items()}
        for system in self.systems:
            details[benchmark.name, system.slug] = results[system.label]
        return {
            "items": len(benchmark.items),
            "scored": len(shared),
            "skipped": len(failed),
            "skipped_pictures": sorted({answers[GREEDY][i]["image"] for i in failed if i in answers[GREEDY]}),
            "answers": {label: _shape([rows[i] for i in shared], texts[label]) for label, rows in answers.items()},
            "parts": {
                part: {label: self._figures(result[part]) for label, result in results.items()}
                for part in results[GREEDY]
            },
            "against_greedy": self._against(results, {label: results[GREEDY] for label in results}),
            "length_matched": self._length_matched(benchmark, texts, results),
            "length_shuffled": self._length_shuffled(benchmark, texts, results),
        }

    def _figures(self, result: Mapping[str, Any]) -> dict[str, Any]:
        table = count_table(result)
        counts = {name: int(total) for name, total in zip(table.columns, table.counts.sum(axis=0), strict=True)}
        return {**self._measured(result["benchmark"], table), "counts": counts, "extra": result.get("extra", {})}

    def _measured(self, scorer: str, table: CountTable) -> dict[str, Any]:
        return {"benchmark": scorer, "figures": table.values(), "intervals": self.bootstrap.intervals(table)}

    def _against(self, results: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
        """Per part and system: the difference to the other, with an interval over the same redrawn pictures."""
        return {
            part: {
                label: difference(self.bootstrap, count_table(result[part]), count_table(others[label][part]))
                for label, result in results.items()
                if label != GREEDY and label in others and part in result
            }
            for part in next(iter(others.values()), {})
        }

    def _length_matched(
        self, benchmark: Benchmark, texts: Mapping[str, Mapping[int, str]], results: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Each system against greedy captions cut, item by item, to the number of words that the system wrote."""
        controls = {}
        for label, lengths in self._lengths(benchmark, texts).items():
            controls[label] = benchmark.score({i: cut(texts[GREEDY][i], count) for i, count in lengths.items()})
        if not controls:
            return {}
        own = {label: {part: results[label][part] for part in control} for label, control in controls.items()}
        parts = next(iter(controls.values()))
        return {
            "figures": {part: {label: self._figures(c[part]) for label, c in controls.items()} for part in parts},
            "differences": self._against(own, controls),
        }

    def _length_shuffled(
        self, benchmark: Benchmark, texts: Mapping[str, Mapping[int, str]], results: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The same with the lengths shuffled over pictures, `SHUFFLES` times; the counts are averaged. A gain over this
        control is not explained by shorter captions."""
        found: dict[str, Any] = {"figures": {}, "differences": {}}
        for label, lengths in self._lengths(benchmark, texts).items():
            controls = [
                benchmark.score({i: cut(texts[GREEDY][i], count) for i, count in shuffled(lengths, seed).items()})
                for seed in range(SHUFFLES)
            ]
            for part, first in controls[0].items():
                table = averaged([count_table(control[part]) for control in controls])
                own = count_table(results[label][part])
                found["figures"].setdefault(part, {})[label] = self._measured(first["benchmark"], table)
                found["differences"].setdefault(part, {})[label] = difference(self.bootstrap, own, table)
        return found if found["figures"] else {}

    def _lengths(self, benchmark: Benchmark, texts: Mapping[str, Mapping[int, str]]) -> dict[str, dict[int, int]]:
        """For every system but greedy decoding, the words of each of its captions."""
        captions = benchmark.captions()
        counted = {
            label: {i: len(text.split()) for i, text in written.items() if i in captions}
            for label, written in texts.items()
            if label != GREEDY
        }
        return {label: lengths for label, lengths in counted.items() if lengths}


def shuffled(lengths: Mapping[int, int], seed: int) -> dict[int, int]:
    """A permutation of the lengths over items; the same seed gives the same one."""
    items = np.random.default_rng(seed).permutation(list(lengths)).tolist()
    return {item: lengths[other] for item, other in zip(items, items[1:] + items[:1], strict=True)}


def averaged(tables: Sequence[CountTable]) -> CountTable:
    """The mean counts of each picture over tables of the same pictures, in the first one's order."""
    first = tables[0]
    counts = np.mean([table.take(first.images).counts for table in tables], axis=0)
    return CountTable(first.images, first.columns, counts, first.figures, first.strata)


def difference(
    bootstrap: Bootstrap, table: CountTable, other: CountTable, problems: Problems | None = None
) -> dict[str, dict[str, Any]]:
    """`Bootstrap.differences`, each with the number of pictures behind it, without which it cannot be judged."""
    pictures = len(set(table.images) & set(other.images))
    found = bootstrap.differences(table, other, problems)
    return {name: {**one, "pictures": pictures} for name, one in found.items()}


def _shape(rows: Sequence[Mapping[str, Any]], scored: Mapping[int, str]) -> dict[str, Any]:
    """How long the answers are, and how many the limit on new tokens cut off."""
    count = len(rows) or float("nan")
    shape = {
        "answers": len(rows),
        "words": sum(len(row["text"].split()) for row in rows) / count,
        "tokens": sum(len(row["token_ids"]) for row in rows) / count,
        "cut_off": sum(row["finish"] == "length" for row in rows) / count,
        "empty": sum(not row["text"] for row in rows) / count,
    }
    if shortened := sum(scored[row["index"]] != row["text"] for row in rows):
        shape["shortened"] = shortened / count
    if any("rejected" in row for row in rows):
        tokens = sum(len(row["token_ids"]) for row in rows)
        shape["rejected_per_token"] = sum(row.get("rejected", 0) for row in rows) / (tokens or float("nan"))
        shape["fallbacks_per_token"] = sum(row.get("fallbacks", 0) for row in rows) / (tokens or float("nan"))
    return shape
