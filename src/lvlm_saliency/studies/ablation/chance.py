"""The control that refuses draws at random, as often as SGRS does: its rates, its selector, and the method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lvlm_saliency.decoding.draws import pick, uniform
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.base import number
from lvlm_saliency.interventions.sgrs import SGRS
from lvlm_saliency.interventions.sgrs.rejection import Proposal, SaliencyGate
from lvlm_saliency.model.output import TokenRecord

Rates = tuple[tuple[float, ...], ...]
"""`rates[m - 1][k]`: P(refused) of draw k, from 0, of a step with m candidates that reached it, m from 1 to top_k."""

TESTED_FROM = 2
"""The step from which on SGRS has a threshold: the first token has no output to be scored by, the second none before
it that was scored."""
REFUSALS, FALLBACK = 2000, 3000
"""Where the numbers of seeded draws begin: of the coin beside each draw, and of the choice once all were refused. The
gate's own draws stay below 1000, because top_k does, and so the coins below FALLBACK; those from 1000 on shuffle scores
in another control."""


@dataclass(frozen=True)
class Refusals:
    """How many of SGRS's draws were made, and how many refused: counts by (number of candidates of the step, number
    of the draw from 0)."""

    made: Counter[tuple[int, int]]
    refused: Counter[tuple[int, int]]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Refusals:
        """Counts the draws of all steps that had a threshold, from the records that `gate_records.write` kept."""
        found = cls(Counter(), Counter())
        for step in (step for row in rows for step in row["steps"] if step["tested"]):
            count = len(step["rejected"])
            for draw in range(count + (not step["fallback"])):
                found.made[step["candidates"], draw] += 1
                found.refused[step["candidates"], draw] += draw < count
        return found

    def rates(self, method: SGRS) -> Rates:
        """The rates for a `ChanceSGRS` of the same `top_k` and `max_draws`.

        A number of candidates that no step had takes the rate of that draw over all steps, and where no step came to
        that draw, the rate over all draws; 0 where nothing was tested at all. To four decimals: the rates name the
        control in the tables of a run.
        """
        return tuple(
            tuple(self._rate(m, k) for k in range(min(m, method.max_draws))) for m in range(1, method.top_k + 1)
        )

    def _rate(self, candidates: int, draw: int) -> float:
        cells = list(self.made)
        for alike in ([(candidates, draw)], [cell for cell in cells if cell[1] == draw], cells):
            if made := sum(self.made[cell] for cell in alike):
                return round(sum(self.refused[cell] for cell in alike) / made, 4)
        return 0.0


class _ChanceGate(SaliencyGate):
    """The gate with a coin in place of the score. A step's record holds the coin of the chosen token as its `score`,
    None where it was never drawn, and as `threshold` the rate that the last coin had to reach."""

    settings: ChanceSGRS

    def capture(self) -> None:
        """Nothing of the forward pass is kept: there is no score to compute."""

    def choose(self, step: Any, logits: Any, processed: Any, capture: Any, active: Any) -> Any:
        return [
            self.taken(i, step, proposal) if active[i] else None for i, proposal in enumerate(self.propose(processed))
        ]

    def taken(self, sample: int, step: int, proposal: Proposal) -> TokenRecord:
        """Draw as SGRS does until a coin lets one pass; after that, any candidate, each with the same chance."""
        tokens, sampled = proposal.tokens, self.samples[sample]
        rates = self.settings.rates[len(tokens) - 1] if step >= TESTED_FROM else None
        remaining = list(range(len(tokens)))
        rejected: list[int] = []
        chosen: int | None = None
        coins: list[float | None] = [None] * len(tokens)
        rate = None
        while remaining and len(rejected) < self.settings.max_draws:
            made = len(rejected)
            drawn = remaining.pop(self.draw(sample, step, made, [proposal.weights[i] for i in remaining]))
            if rates is None:
                chosen = drawn
                break
            rate = rates[made]
            coins[drawn] = coin = uniform(self.seed, sampled, step, REFUSALS + made)
            if coin >= rate:
                chosen = drawn
                break
            rejected.append(drawn)
        fallback = chosen is None
        if chosen is None:  # the largest of shuffled scores is any of them
            chosen = pick([1.0] * len(tokens), uniform(self.seed, sampled, step, FALLBACK))
        candidates = dict(zip(tokens, coins, strict=True))
        refused = [tokens[i] for i in rejected]
        return TokenRecord(
            tokens[chosen], coins[chosen], rate, len(rejected) + (not fallback), candidates, refused, fallback
        )


@dataclass(frozen=True)
class ChanceSGRS(SGRS):
    """SGRS without a score: draw k of a step with m candidates is refused with probability `rates[m - 1][k]`, by
    (seed, sample, step, draw); after `max_draws` refusals one of the candidates is taken, each as likely as the others.

    `top_k`, `max_draws`, `order` and `seed` as in SGRS; `alpha`, `window` and `layers` have nothing to act on.
    """

    name: ClassVar[str] = "sgrs-chance"
    execution: str = "stepwise"
    rates: Rates = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        needed = [min(m, self.max_draws) for m in range(1, self.top_k + 1)]
        if [len(row) for row in self.rates] != needed:
            raise SettingError(f"{self.name}: rates need a row for each number of candidates, of {needed} draws")
        for rate in (rate for row in self.rates for rate in row):
            number(self.name, "rates", rate, 0, 1)

    def selector(self, model: Any, sample_ids: Any) -> Any:
        return _ChanceGate(self, [], sample_ids)
