"""What a method is, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import ClassVar

from torch import Tensor

from lvlm_saliency.attention.rows import RowEdit
from lvlm_saliency.attention.session import session
from lvlm_saliency.attention.step import Place
from lvlm_saliency.errors import SettingError, did_you_mean


class Method:
    """Base of all methods. A subclass is a frozen dataclass; its docstring is the idea, the paper and the knobs."""

    name: ClassVar[str]
    paper: ClassVar[str]
    edits: ClassVar[str]
    """What it changes, in a few words, for the table of methods."""
    cost: ClassVar[str]
    families: ClassVar[str] = "all"
    """The families that it serves, in a few words."""
    composes: ClassVar[str] = "any other method"
    """What it goes together with, in a few words."""
    needs_picture: ClassVar[bool] = False
    """Whether it has nothing to act on without a picture; `generate` then refuses inputs that hold none."""

    @property
    def extra_forwards(self) -> int:
        """Decoder passes per token beyond the one that every decoder makes."""
        return 0

    def check_model(self, model) -> None:
        """Raise SettingError where a knob does not fit this model."""


class AttentionMethod(Method):
    """A method that only edits attention rows, so that `with method(model):` is all there is to using it."""

    minds_shift: ClassVar[bool] = False
    """Whether `edit_rows` minds `Place.shift`; without that, the samples of a batch come equally far in each block."""

    def edit_rows(self, place: Place) -> RowEdit | None:
        """The edit of these rows; None leaves them bit-identical. See `attention.step.Editor`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it edits rows")

    @contextmanager
    def __call__(self, model) -> Iterator[None]:
        """Act on every forward call of `model` inside the block, from any thread; nothing is left afterwards.

        What is fed over an empty cache counts as the prompt. Where the prompt's own cache is brought along, or the
        prompt comes in chunks, use `lvlm_saliency.generate`, which knows the prompt's length.
        """
        self.check_model(model)
        with session(model, (self,), everywhere=True):
            yield


class ContrastMethod(Method):
    """A method that combines the model's logits with those of further passes over the same tokens."""

    composes: ClassVar[str] = "attention edits, sampling, sgrs (which scores the original pass); not with beams"

    @property
    def first_only(self) -> bool:
        """Whether the further passes are made for the first token alone."""
        return False

    @property
    def behind_processors(self) -> bool:
        """Whether penalties and the like act on the model's own logits, before they are combined, not behind that."""
        return False

    def readings(self, model, inputs: dict, numbers: Sequence[int]) -> list:
        """What else is read, as `decoding.contrast.Reading`s; `numbers` names the samples to seeded draws."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it reads")

    def combine(self, logits: Tensor, others: list[Tensor]) -> Tensor:
        """The logits to go on with, float32 `[B, V]`, from the main ones and those of the readings, in order."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it combines logits")

    def shaper(self, model, inputs: dict | None, numbers: Sequence[int]):
        """The state of one generation with this method.

        Raises:
            SettingError: the inputs are not at hand (a custom_generate call).
        """
        from lvlm_saliency.decoding.contrast import Contrast

        if not self.extra_forwards and not self.first_only:
            return Contrast([], self.combine)
        if inputs is None:
            raise SettingError(f"{self.name} needs the inputs themselves: call lvlm_saliency.generate")
        readings = self.readings(model, inputs, numbers[:: len(numbers) // len(inputs["input_ids"])])
        return Contrast(readings, self.combine, self.first_only, self.behind_processors)


LARGEST = 2**63 - 1
"""No whole number of a setting is larger, whatever it counts."""


def number(owner: str, name: str, value, low: float, high: float = float("inf"), *, whole: bool = False) -> None:
    """Raise SettingError unless `value` is a number (a whole one) within [low, high]."""
    kind, most = (Integral, min(high, LARGEST)) if whole else (Real, high)
    if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= most:
        word = "a whole number" if whole else "a number"
        bound = f"from {low:g} to {high:g}" if high != float("inf") else f"of at least {low:g}"
        raise SettingError(f"{owner}: {name} must be {word} {bound}, got {value!r}")


def choice(owner: str, name: str, value, known: Sequence[str]) -> None:
    """Raise SettingError unless `value` is one of `known`."""
    if value not in known:
        raise SettingError(f"{owner}: unknown {name} {value!r}{did_you_mean(str(value), known)}")


def layer_numbers(owner: str, layers) -> tuple[int, ...] | None:
    """`layers` as a tuple (so that a frozen dataclass can be hashed), or None.

    Raises:
        SettingError: not a collection of whole numbers from 0 on.
    """
    if layers is None:
        return None
    try:
        numbers = tuple(layers)
    except TypeError:
        raise SettingError(f"{owner}: layers must be a list of layer numbers, got {layers!r}") from None
    for n in numbers:
        number(owner, "layers", n, 0, whole=True)
    if not numbers:
        raise SettingError(f"{owner}: layers is empty; leave it out for the default")
    return tuple(sorted({int(n) for n in numbers}))
