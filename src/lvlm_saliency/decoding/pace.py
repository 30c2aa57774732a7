"""The pace of SGRS in blocks: how many tokens to draft, and whether blocks are worth their pass at all."""

from __future__ import annotations

import statistics
from collections import deque

SMALLEST, FIRST, LARGEST = 2, 4, 32
WARM, PAUSE, PATIENCE = 1, 16, 4
"""Ordinary steps before the first block, and between two looks at whether blocks would be cheaper; and how many looks
may fail before one is tried in any case."""


class Pace:
    """Chooses the block size, and whether blocks pay, from what was measured so far in this generation.

    fixed: blocks whatever they cost; share: f, the part of the layers that the backward pass crosses.
    """

    def __init__(self, fixed: bool, share: float):
        self.fixed = fixed
        self.share = share
        self.refused, self.seen, self.decided = 0.1, 5.0, 0  # a prior of 2 % refusals, soon outweighed
        self.seconds: dict[str, deque[float]] = {}
        self.steps_left, self.looks = 0 if fixed else WARM, 0

    def observe(self, refused: float) -> None:
        """Note a decided position, and how large a part of the samples refused its first draw there (any of them counts
        as all where the block of the whole batch ends with it). The past fades, so that the rate follows the text."""
        self.decided += 1
        self.refused, self.seen = 0.98 * self.refused + refused, 0.98 * self.seen + 1

    def timed(self, name: str, seconds: float) -> None:
        """Remember what an action cost lately."""
        self.seconds.setdefault(name, deque(maxlen=9)).append(seconds)

    @property
    def rate(self) -> float:
        return self.refused / self.seen

    def size(self) -> int:
        """The best block size; while little is known of the text, blocks are short: a long one may be for nothing."""
        return min(self.best(), max(FIRST, 2 * self.decided))

    def best(self) -> int:
        """The block size that costs least per kept token; sqrt(2 (1 + f) / r) where passes cost what they read."""
        return min(range(SMALLEST, LARGEST + 1), key=self.per_token)

    def blocks_of(self, room: int) -> int:
        """The block size where `room` tokens are left: no small block is left over at the end."""
        size = self.size()
        return -(-room // -(-room // size))

    def next_is_block(self) -> bool:
        """Whether a block comes next, or an ordinary step."""
        if self.fixed:
            return True
        if self.steps_left == 0:
            self.looks += 1
            if self.blocks_pay() or self.looks > PATIENCE:
                self.looks = 0
                return True
            self.steps_left = PAUSE
        self.steps_left -= 1
        return False

    def blocks_pay(self) -> bool:
        """Whether the next tokens are cheaper in a block than one by one."""
        return self.per_token(self.best()) < self._cost("step")

    def per_token(self, size: int) -> float:
        """Expected cost of a kept token in blocks of `size`."""
        keep = 1 - self.rate
        failed = 1 - keep**size
        kept = keep * failed / max(self.rate, 1e-9)  # expected tokens before the first refusal, at most `size`
        block = size * self._cost("draft") + self._cost("verify") + failed * self._cost("step")
        return block / (kept + failed)

    def _cost(self, name: str) -> float:
        """Median seconds of an action (the first call of each kind is far slower than the rest); before every kind was
        measured, passes of a model that reads its weights and does nothing else."""
        if len(self.seconds) < 3:
            return 1.0 if name == "draft" else 1 + self.share
        return statistics.median(self.seconds[name])
