"""Judges all items of a benchmark, and reports which were judged and which were not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from lvlm_saliency.errors import InputError
from lvlm_saliency.judge.ask import Judge, Message, Request, UnjudgedError
from lvlm_saliency.judge.replay import Recorded
from lvlm_saliency.judge.wording import Wording

UNSET = "unset"
"""In place of a temperature or a number of tokens: the field is left out of the request."""


@dataclass(frozen=True)
class Item:
    """Something to judge: its name, and what its benchmark's `judging` needs of it."""

    id: str
    facts: Mapping[str, Any]


@dataclass
class Asking:
    """Asks about one item: each call is its next request."""

    judge: Judge
    item: str
    run: int
    temperature: float | None
    max_tokens: int | None
    system: str | None = None
    served: set[str] = field(default_factory=set)
    turn: int = 0

    def __call__(self, text: str, *, temperature: float | None = None) -> str:
        """The judge's reply to a user message, word for word. `temperature`: in place of the usual one.

        Raises:
            UnjudgedError: the judge gave none.
        """
        messages: list[Message] = [] if self.system is None else [{"role": "system", "content": self.system}]
        messages.append({"role": "user", "content": text})
        heat = self.temperature if temperature is None else temperature
        request = Request(self.item, tuple(messages), heat, self.max_tokens, self.run, self.turn)
        self.turn += 1
        reply = self.judge(request)
        if reply.served:
            self.served.add(reply.served)
        return reply.text


class Judging(Protocol):
    """The judging part of a benchmark.

    Attributes:
        model, temperature, max_tokens: the official settings; None where the official request leaves the field out.
        slots: the texts of the wording that are needed, each with its slots.
        official: the SHA-256 of the official texts.
    """

    model: ClassVar[str]
    temperature: ClassVar[float | None]
    max_tokens: ClassVar[int | None]
    slots: ClassVar[Mapping[str, Sequence[str]]]
    official: ClassVar[Mapping[str, str]]

    def items(self, answers: Path, data: Path | None) -> list[Item]:
        """What is to be judged: a system's answers, beside the official files in the folder `data`."""

    def judged(self, item: Item, wording: Wording, ask: Asking) -> dict[str, Any]:
        """The record of one item, from the judge's replies alone."""

    def unparsable(self, record: Mapping[str, Any]) -> bool:
        """Whether the official reading of the replies finds no judgement in them."""

    def recorded(self, path: Path, items: Sequence[Item]) -> Recorded:
        """Recorded replies in the official layout."""

    def write(self, path: Path, items: Sequence[Item], runs: Sequence[Mapping[str, dict[str, Any]]]) -> None:
        """The records in the layout that the scorer reads."""


@dataclass
class Outcome:
    """The result: records by item, one mapping per run; why items have none; the models that answered."""

    runs: list[dict[str, dict[str, Any]]]
    unjudged: dict[str, str]
    served: set[str]


def judge_all(
    judging: Judging,
    items: Sequence[Item],
    wording: Wording,
    judge: Judge,
    *,
    runs: int = 1,
    temperature: float | str | None = None,
    max_tokens: int | str | None = None,
    tell: Callable[[int], None] = lambda done: None,
) -> Outcome:
    """Judge every item, run after run; an item that the judge does not answer is left out and counted.

    Args:
        judging: the benchmark's part.
        items: what to judge.
        wording: what the judge is told.
        judge: who is asked.
        runs: how often each item is judged.
        temperature, max_tokens: in place of the official ones; `UNSET` leaves the field out.
        tell: called with 1 after each item.

    Raises:
        InputError: the server answered with several models: their judgements are not comparable.
    """
    outcome = Outcome([{} for _ in range(runs)], {}, set())
    heat = _chosen(temperature, judging.temperature)
    longest = _chosen(max_tokens, judging.max_tokens)
    for run in range(runs):
        for item in items:
            ask = Asking(judge, item.id, run, heat, longest, wording.texts.get("system"))
            try:
                outcome.runs[run][item.id] = judging.judged(item, wording, ask)
            except UnjudgedError as error:
                outcome.unjudged[item.id] = str(error)
            outcome.served |= ask.served
            if len(outcome.served) > 1:
                raise InputError(
                    f"the judge answered as {' and as '.join(sorted(outcome.served))}: judges are not mixed; name one "
                    "model with --judge-model"
                )
            tell(1)
    return outcome


def _chosen(given: Any, usual: Any) -> Any:
    return usual if given is None else None if given == UNSET else given
