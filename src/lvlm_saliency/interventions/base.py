"""What a method is, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
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

    def __call__(self, model, input_ids, logits_processor, stopping_criteria, generation_config, **model_kwargs):
        """`model.generate(**inputs, custom_generate=method)`: the token ids, or with `return_dict_in_generate` the
        `GenerateOutput` of `lvlm_saliency.generate`.

        transformers hands neither the streamer nor the tokenizer for stop strings to a custom loop; use
        `lvlm_saliency.generate` with those.

        Raises:
            SettingError: the method cannot be a loop of transformers' own (a search, a second input), or beams.
        """
        from lvlm_saliency.decoding.loop import decode_with

        if hasattr(self, "search") or (generation_config.num_beams or 1) > 1:
            what = f"{self.name} searches over texts" if hasattr(self, "search") else "beams are several texts at once"
            raise SettingError(
                f"{what}, which custom_generate cannot do: call lvlm_saliency.generate(model, inputs, [{self.name}])"
            )
        self.check_model(model)
        out = decode_with(
            [self], model, input_ids, logits_processor, stopping_criteria, generation_config, **model_kwargs
        )
        return out if generation_config.return_dict_in_generate else out.sequences


class AttentionMethod(Method):
    """A method that only edits attention rows, so that `with method(model):` is all there is to using it."""

    minds_shift: ClassVar[bool] = False
    """Whether `edit_rows` minds `Place.shift`; without that, the samples of a batch come equally far in each block."""

    def edit_rows(self, place: Place) -> RowEdit | None:
        """The edit of these rows; None leaves them bit-identical. See `attention.step.Editor`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it edits rows")

    edits_prompt: ClassVar[bool] = True
    """Whether it edits rows of the prompt before the last one. Where it does, a cache that the caller brings cannot
    serve: its rows are read anew."""

    def __call__(self, model, *loop, **prepared) -> AbstractContextManager[None]:
        """`with method(model):` acts on every forward call of `model` inside the block, from any thread; nothing is
        left afterwards. Copies of the model that are made inside it are as the model was before.

        What counts as the prompt: in a call of `model.generate`, all of its input, as in `lvlm_saliency.generate`,
        whose tokens it gives; whatever part of it is in a cache already or comes in chunks. In forward calls by hand,
        what comes in over an empty cache (or without one) is the prompt, and single tokens over that cache, or over a
        copy of it, are the answer; anything else is refused.

        With more arguments it is the loop of `model.generate(**inputs, custom_generate=method)`; see `Method`.
        """
        if loop or prepared:
            return super().__call__(model, *loop, **prepared)
        return self._block(model)

    @contextmanager
    def _block(self, model) -> Iterator[None]:
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
