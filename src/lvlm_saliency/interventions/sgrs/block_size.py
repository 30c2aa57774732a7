"""The block size of SGRS: how many tokens to draft, and whether drafting is cheaper than single steps."""

from __future__ import annotations

import statistics
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

SMALLEST, FIRST, LARGEST = 2, 4, 32
WARM, PAUSE, PATIENCE = 1, 8, 8
"""Ordinary steps before the first block, and between two checks whether blocks would be cheaper; and how many checks
may fail before a block is tried in any case, while few blocks have been timed."""


class CostHistory:
    """Recent cost of each action, and the share of first draws that are refused.

    It only chooses between executions that give the same text, so texts may share it: a later one starts from the
    measurements of earlier ones.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, deque[float]] = {}
        self.cold: set[str] = set()
        self.refused, self.seen, self.decided = 0.1, 5.0, 0  # a prior of 2 % refusals, soon outweighed

    def timed(self, name: str, seconds: float) -> None:
        """Keep the latest nine times of each action; the first, which includes warm-up, is replaced by the second."""
        if name not in self.seconds or name in self.cold:
            # Replaced by a new deque, never emptied: another thread may be reading it.
            (self.cold.discard if name in self.seconds else self.cold.add)(name)
            self.seconds[name] = deque([seconds], maxlen=9)
        else:
            self.seconds[name].append(seconds)

    def observe(self, refused: float) -> None:
        self.decided += 1
        self.refused, self.seen = 0.995 * self.refused + refused, 0.995 * self.seen + 1


_histories: weakref.WeakKeyDictionary[Any, dict[Hashable, CostHistory]] = weakref.WeakKeyDictionary()


def cost_history_of(model: Any, setting: Hashable) -> CostHistory:
    """The cost history of a model under a setting, kept as long as the model."""
    return _histories.setdefault(model, {}).setdefault(setting, CostHistory())


class BlockSize:
    """Chooses between blocks and single steps, and the block size, from the costs measured so far.

    Attributes:
        fixed: always uses blocks, whatever they cost.
        share: f, the share of the layers that the backward pass crosses.
        batch: number of samples that each keep their own number of tokens of a block (1 where a block ends for all of
            them at once).
    """

    def __init__(self, fixed: bool, share: float, history: CostHistory | None = None):
        self.fixed, self.share, self.batch = fixed, share, 1
        self.history = CostHistory() if history is None else history
        weight = min(self.history.seen, 60.0)  # of the texts before, against this one's own refusals
        self.refused, self.seen = weight * self.history.refused / self.history.seen, weight
        self.steps_left, self.looks = 0 if fixed or self._measured else WARM, 0

    def observe(self, refused: float) -> None:
        """Note a decided position, and the share of samples that refused their first draw there (1 where any refusal
        ends the block of the whole batch). Older positions count less, so that the rate follows the text."""
        self.refused, self.seen = 0.98 * self.refused + refused, 0.98 * self.seen + 1
        self.history.observe(refused)

    def timed(self, name: str, seconds: float) -> None:
        """Note the time of an action: "draft", "verify", "step", or "refusal" (a step that refused a draw)."""
        self.history.timed(name, seconds)

    @property
    def rate(self) -> float:
        return self.refused / self.seen

    def size(self) -> int:
        """The best block size; short while few positions have been seen, since a long block may be refused early."""
        return min(self.best(), max(FIRST, 2 * self.history.decided))

    def best(self) -> int:
        """The block size of the lowest cost per kept token; sqrt(2 (1 + f) / r) where every pass costs the same."""
        return min(range(SMALLEST, LARGEST + 1), key=self._cost_by_size())

    def blocks_of(self, room: int) -> int:
        """The block size where `room` tokens are left, chosen so that no small block remains at the end."""
        size = self.size()
        return -(-room // -(-room // size))

    def next_is_block(self) -> bool:
        """Whether a block comes next, or an ordinary step."""
        if self.fixed:
            return True
        if self.steps_left == 0:
            self.looks += 1
            untried = self.looks > PATIENCE and len(self.history.seconds.get("verify", ())) < 3
            if untried or self.blocks_pay():
                self.looks = 0
                return True
            self.steps_left = PAUSE
        self.steps_left -= 1
        return False

    def blocks_pay(self) -> bool:
        """Whether the next tokens are cheaper in a block than one by one."""
        refused = 1 - (1 - self.rate) ** self.batch
        stepwise = (1 - refused) * self._cost("step") + refused * self._cost("refusal")
        return self._cost_by_size()(self.best()) < stepwise

    def _cost_by_size(self) -> Callable[[int], float]:
        """Expected cost of a kept token in blocks of a size."""
        draft, verify, refusal = self._cost("draft"), self._cost("verify"), self._cost("refusal")
        rate, keep = max(self.rate, 1e-9), 1 - self.rate

        def cost(size: int) -> float:
            kept = keep * (1 - keep**size) / rate  # expected tokens before the first refusal, at most `size`
            failed = 1 - keep ** (size * self.batch)  # an ordinary step then decides, for every sample
            return (size * draft + verify + failed * refusal) / (kept + failed)

        return cost

    @property
    def _measured(self) -> bool:
        known = self.history.seconds.keys()
        return {"draft", "verify"} <= known and not known.isdisjoint({"step", "refusal"})

    def _cost(self, name: str) -> float:
        """Median seconds of an action. Before every kind has been measured: in units of one forward pass, assuming that
        a pass costs as much as reading the weights."""
        if not self._measured:
            return {"draft": 1.0, "refusal": 1 + 2 * self.share}.get(name, 1 + self.share)
        known = self.history.seconds
        if name not in known:  # no step without a refusal was timed, or none with one
            name = "step" if name == "refusal" else "refusal"
        return statistics.median(known[name])
