"""Decodes batches of items, in smaller batches where one does not fit into memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from lvlm_saliency.benchmarks.base import Benchmark, Item
from lvlm_saliency.chat import Answer, Chat, Query
from lvlm_saliency.errors import ImageError, LvlmSaliencyError, ModelError
from lvlm_saliency.evaluation.cost import SUMS, PeakMemory
from lvlm_saliency.evaluation.gates import written_down
from lvlm_saliency.evaluation.reader import ReadsTexts
from lvlm_saliency.evaluation.settings import Settings
from lvlm_saliency.evaluation.systems import System


class MemoryExhausted(LvlmSaliencyError, MemoryError):
    """Not even one item fits into memory."""

    exit_status = 1


@dataclass
class Decoder(ReadsTexts):
    """Answers items with one model, under the settings that all systems of a run share."""

    model: Any
    processor: Any
    settings: Settings

    def __post_init__(self) -> None:
        if not hasattr(self.processor, "image_processor"):
            raise ModelError(f"{self.settings.model} is a text model: the benchmarks ask about pictures")
        self.chat = Chat(self.model, self.processor, dtype=self.model.dtype)
        self.tokenizer, self.ends = self.chat.tokenizer, self.chat.ends
        self.memory = PeakMemory(self.model.device)

    def inputs(self, pictures: Sequence[Any], prompts: Sequence[str]) -> Any:
        """Left-padded inputs on the model's device."""
        return self.chat.encode(queries(pictures, prompts), self.settings.max_new_tokens)

    def decode(
        self, benchmark: Benchmark, system: System, items: Sequence[Item]
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """A row per item, in order, and the batch's cost."""
        begin = time.perf_counter()
        self.memory.reset()
        pictures, failures = self._pictures(benchmark, items)
        rows = dict(failures)
        asked = [item for item in items if item.index in pictures]
        cost: dict[str, Any] = dict.fromkeys(SUMS, 0)
        # A processor accepts pictures for all prompts of a batch or for none.
        for group in ([item for item in asked if item.image], [item for item in asked if not item.image]):
            if group:
                answers, spent = self._answers(benchmark, system, group, pictures)
                rows |= answers
                cost = {name: cost[name] + spent[name] for name in SUMS}
        cost |= {
            "items": [item.index for item in items],
            "batch_size": len(items),
            "rows_per_token": system.rows_per_token,
            "wall_seconds": time.perf_counter() - begin,
            "peak_bytes": self.memory.bytes(),
        }
        return [rows[item.index] for item in items], cost

    def _answers(
        self, benchmark: Benchmark, system: System, asked: Sequence[Item], pictures: Mapping[int, Any]
    ) -> tuple[dict[int, dict[str, Any]], dict[str, Any]]:
        """Rows by item index and their cost. Items without a picture are answered by greedy decoding in all systems,
        and their rows say so."""
        limit, seen = self.limit(benchmark), bool(asked[0].image)
        questions = [Query(item.prompt, [pictures[item.index]] if seen else []) for item in asked]
        answers = self.chat.ask(
            questions,
            system.methods if seen else (),
            inputs=self.chat.encode(questions, limit),
            sample_ids=[item.index for item in asked],
            **self._generate_settings(system.decides and seen, limit),
        )
        rows = {item.index: self._row(item, answer) for item, answer in zip(asked, answers, strict=True)}
        if not seen and system.methods:
            rows = {index: {**row, "plain": True} for index, row in rows.items()}
        lengths, spent = [len(answer.token_ids) for answer in answers], answers[0].output.cost
        return rows, {
            "forwards": spent.forwards,
            "backwards": spent.backwards,
            "steps": sum(lengths) if system.one_by_one and seen else max(lengths),
            "tokens": sum(lengths),
            "seconds": spent.seconds,
        }

    def _pictures(self, benchmark: Benchmark, items: Sequence[Item]) -> tuple[dict[int, Any], dict[int, Any]]:
        """By item index: its picture, opened once for all of the batch's questions about it, or why there is none."""
        pictures, failures = {}, {}
        opened: dict[str, Any] = {}
        for item in items:
            try:
                if item.image not in opened:
                    opened[item.image] = benchmark.picture(item) if item.image else None
                pictures[item.index] = opened[item.image]
            except ImageError as error:
                if not self.settings.skip_errors:
                    raise ImageError(
                        f"{benchmark.name}, item {item.id}: {error} (--skip-errors leaves it out)"
                    ) from error
                failures[item.index] = {"index": item.index, "id": item.id, "image": item.image, "error": str(error)}
        return pictures, failures

    def _generate_settings(self, draws: bool, limit: int) -> dict[str, Any]:
        """Beams and sampling as the run says, whatever the model's own defaults; penalties stay the model's own."""
        sampled = {"temperature": self.settings.temperature, "top_p": self.settings.top_p, "top_k": 0}
        return {
            "max_new_tokens": limit,
            "num_beams": 1,
            "do_sample": draws,
            **(sampled if draws else dict.fromkeys(sampled)),
        }

    def _row(self, item: Item, answer: Answer) -> dict[str, Any]:
        text, thinking = answer.said(self.processor)
        row = {
            "index": item.index,
            "id": item.id,
            "image": item.image,
            "text": text,
            "token_ids": answer.token_ids,
            "finish": answer.finish,
        }
        if thinking:
            row["thinking"] = thinking  # kept, and never scored
        if any(step.threshold is not None for step in answer.steps):
            row["rejected"] = sum(len(step.rejected) for step in answer.steps)
            row["fallbacks"] = sum(step.fallback for step in answer.steps)
        if answer.output.guard is not None:
            row |= written_down(answer.output.guard[answer.sample])
        return row


def queries(pictures: Sequence[Any], prompts: Sequence[str]) -> list[Query]:
    """One query per picture and prompt."""
    return [Query(prompt, [picture]) for picture, prompt in zip(pictures, prompts, strict=True)]


Some = TypeVar("Some")


class Batches:
    """Hands out batches; when one runs out of memory, halves the batch size from then on and repeats its items."""

    def __init__(self, size: int, notify: Callable[[str], None]):
        self.size, self.notify = size, notify

    def run(self, items: Sequence[Some], work: Callable[[Sequence[Some]], Any]) -> Iterator[Any]:
        """`work(batch)` of successive batches.

        Raises:
            MemoryExhausted: a single item does not fit.
        """
        done = 0
        while done < len(items):
            batch = items[done : done + self.size]
            result = self._tried(batch, work)
            if result is None:  # outside the except block, so that the failed batch's tensors can be freed
                self._halve(batch)
                continue
            yield result
            done += len(batch)

    def _tried(self, batch: Sequence[Some], work: Callable[[Sequence[Some]], Any]) -> Any:
        try:
            return work(batch)
        except torch.OutOfMemoryError:
            return None
        except RuntimeError as error:
            if "can't allocate memory" in str(error):  # the message of the CPU allocator
                return None
            raise

    def _halve(self, batch: Sequence[Any]) -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(batch) == 1:
            raise MemoryExhausted(
                f"item {batch[0].id} does not fit into memory by itself: use a smaller dtype, fewer tokens or pictures"
            )
        self.size = (len(batch) + 1) // 2
        self.notify(f"out of memory with {len(batch)} items together: going on with batches of {self.size}")
