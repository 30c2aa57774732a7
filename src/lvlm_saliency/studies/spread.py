"""Batches of a study's work: by the model of this process, or by workers that hold one each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlm_saliency.benchmarks.base import Benchmark
from lvlm_saliency.evaluation.decoding import Batches, Decoder
from lvlm_saliency.evaluation.reader import ReadsTexts
from lvlm_saliency.files import json_lines as store
from lvlm_saliency.workers import Job

if TYPE_CHECKING:
    from lvlm_saliency.workers import Pool

Work = Callable[..., Sequence[Any]]
"""`(decoder, *arguments, items)` to a result per item, in order; a function of a module, so that workers find it."""


def spread(
    work: Work,
    arguments: Sequence[Any],
    items: Sequence[Any],
    *,
    decoder: ReadsTexts,
    pool: Pool | None,
    size: int,
    listener: Any,
    label: str,
) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    """Batches of `items` with their results, as they are done.

    Args:
        work: what is done with a batch.
        arguments: what it is given besides; sent to the workers once.
        items: all there is to do.
        decoder: the model of this process; with a pool only its processor and settings are used.
        pool: workers that hold a `Decoder` each; None for this process.
        size: items together.
        listener: told of batches that did not fit into memory.
        label: names the work where something goes wrong with it.
    """
    if pool is None:
        done = 0
        for results in Batches(size, listener.note).run(items, lambda some: list(work(decoder, *arguments, some))):
            yield items[done : done + len(results)], results
            done += len(results)
        return
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    sent = [pool.share(one) for one in arguments] if batches else []
    jobs = {
        Job(worked, (work, batch, *sent), label=f"{label}, batch {number}"): batch
        for number, batch in enumerate(batches, 1)
    }
    for job, (results, notes) in pool.run(list(jobs)):
        for line in notes:
            listener.note(line)
        yield jobs[job], results


def kept_rows(
    work: Work,
    arguments: Sequence[Any],
    benchmark: Benchmark,
    file: Path,
    fault: Callable[[dict[str, Any]], str],
    *,
    decoder: ReadsTexts,
    pool: Pool | None,
    listener: Any,
    label: str,
) -> dict[int, dict[str, Any]]:
    """The rows that `file` (JSON lines) holds, by the index of their items; those that are missing of a benchmark's
    items are made, and kept there batch by batch.

    Args:
        work: makes rows of items, each with its `index`; see `spread`.
        arguments: what it is given besides.
        benchmark: the items.
        file: where rows are kept; another one for each setting that changes them.
        fault: what is wrong with a kept row, nothing when it can be used.
        decoder, pool: see `spread`.
        listener: told how it goes.
        label: names the work.
    """
    store.mend(file)
    rows = {row["index"]: row for row in store.read_lines(file, fault)}
    waiting = [item for item in benchmark.items if item.index not in rows]
    listener.begin(label, len(benchmark.items), len(benchmark.items) - len(waiting))
    size = decoder.settings.batch_size
    told: dict[str, Any] = {"decoder": decoder, "pool": pool, "listener": listener, "label": label}
    for _, made in spread(work, arguments, waiting, size=size, **told):
        store.append(file, made)
        rows |= {row["index"]: row for row in made}
        listener.advance(label, len(made))
    return rows


def worked(decoder: Decoder, work: Work, batch: Sequence[Any], *arguments: Any) -> tuple[list[Any], list[str]]:
    """The results of a batch, worked on in parts where it does not fit into memory; and what the user should know."""
    notes: list[str] = []
    parts = Batches(len(batch), notes.append).run(batch, lambda some: work(decoder, *arguments, some))
    return [result for part in parts for result in part], notes
