"""The classes that methods subclass, and the checks of settings that they share.

Neither this file nor that of a method's dataclass imports torch before the method is used, so that `methods` and
`--help` answer at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from lvlm_saliency.attention.parts import Bindable, Generation, Parts, Role, RowEditor, RunInfo
from lvlm_saliency.errors import SettingError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.attention.edits import RowEdit
    from lvlm_saliency.attention.state import RowContext
    from lvlm_saliency.decoding.contrast import ContrastBranch


M = TypeVar("M", bound="Method")


class Method(Bindable):
    """Base of all methods. A subclass is a frozen dataclass whose docstring gives the idea, the paper and the settings.

    It declares what it acts on (`roles`) and returns its parts (`bind`): see `attention.parts`.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    paper: ClassVar[str] = ""
    edits: ClassVar[str] = ""
    """What it changes, in a few words, for the table of methods."""
    cost: ClassVar[str] = ""
    families: ClassVar[str] = "all"
    """The families that it serves, in a few words."""
    composes: ClassVar[str] = "any other method"
    """What it can be combined with, in a few words."""
    ranges: ClassVar[Mapping[str, Any] | None] = None
    """Settings that `tune` searches over, as in `studies.tune.ranges`."""

    @property
    def extra_forwards(self) -> int:
        """Forward passes per token beyond the one of plain decoding."""
        return 0

    @property
    def rows_per_token(self) -> int:
        """Tokens that go through the model for each generated one (greedy decoding: 1)."""
        return 1

    @property
    def one_by_one(self) -> bool:
        """Whether the samples of a batch are decoded one after another, sharing only the forward pass over the
        prompts."""
        return False

    def seeded(self: M, seed: int) -> M:
        """The method with this seed, where it draws random numbers and its own seed is None."""
        return self._with_seed(seed) if self._knobs().get("seed", seed) is None else self

    def reseeded(self: M, by: int) -> M:
        """The method with its seed increased by `by`, where it has one, to draw other texts for the same prompts."""
        seed = self._knobs().get("seed")
        return self if seed is None else self._with_seed(seed + by)

    def _knobs(self) -> dict[str, Any]:
        """The settings by name."""
        fields = dataclasses.fields(self)  # every method is a dataclass
        return {field.name: getattr(self, field.name) for field in fields}

    def _with_seed(self: M, seed: int) -> M:
        return dataclasses.replace(self, seed=seed)

    def __call__(self, model: Any, *loop: Any, **prepared: Any) -> Any:
        """Use the method as a block, `with method(model):`, or as `model.generate(..., custom_generate=method)`.

        The block acts on every forward call of `model` inside it, from any thread, and leaves nothing on the model.
        Copies of the model that are made inside it are without the method. Only methods that edit attention rows have
        this form.

        In a call of `model.generate` inside the block, all of its input is the prompt, also the part that a cache
        already holds or that is fed in chunks; the tokens are those of `lvlm_saliency.generate`. In forward calls
        outside `generate`, what is fed over an empty cache (or without one) is the prompt, and single tokens over that
        cache, or a copy of it, are the answer; anything else is refused.

        As `custom_generate` it returns the token ids int64 `[batch, n0 + T]`, or with `return_dict_in_generate` the
        `GenerateOutput` of `lvlm_saliency.generate`. transformers passes neither the streamer nor the tokenizer for
        stop strings to a custom loop; call `lvlm_saliency.generate` with those.

        Raises:
            SettingError: the method has no block form, or cannot be a custom loop (beams, a second input).
        """
        if loop or prepared:
            return self._custom_generate(model, *loop, **prepared)
        if self.roles != Role.ROWS:
            raise SettingError(self._no_block)
        return self._block(model)

    @property
    def _no_block(self) -> str:
        """The message for a method without a block form."""
        return (
            f"{self.name} has no block form, as only methods that edit attention alone have: "
            f"call lvlm_saliency.generate(model, inputs, [{self.name}])"
        )

    @contextmanager
    def _block(self, model: Any) -> Iterator[None]:
        from lvlm_saliency.attention.session import session

        self.check_model(model)
        parts = self.bind(model)
        with session(model, parts.editors, parts.hooks, everywhere=True):
            yield

    def _custom_generate(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        **model_kwargs: Any,
    ) -> Any:
        from lvlm_saliency.decoding.loop import decode_with

        looping = Role.LOOP in self.roles
        if looping or (generation_config.num_beams or 1) > 1:
            what = f"{self.name} searches over texts" if looping else "beams are several texts at once"
            raise SettingError(
                f"{what}, which custom_generate cannot do: call lvlm_saliency.generate(model, inputs, [{self.name}])"
            )
        self.check_model(model)
        out = decode_with(
            [self], model, input_ids, logits_processor, stopping_criteria, generation_config, **model_kwargs
        )
        return out if generation_config.return_dict_in_generate else out.sequences


class AttentionMethod(Method, RowEditor):
    """A method that only edits attention rows. Subclasses write `edit_rows(context)`."""

    @property
    def roles(self) -> Role:
        return Role.ROWS

    def edit_rows(self, context: RowContext) -> RowEdit | None:
        """The edit of these rows; None leaves them bit-identical."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it edits rows")

    def bind(self, model: Any, run: RunInfo | None = None) -> Parts:
        return Parts(editors=(self,))


class ContrastMethod(Method):
    """A method that combines the model's logits with those of further forward passes over the same tokens. Subclasses
    write `contrast_branches` and `combine`."""

    composes: ClassVar[str] = "attention edits, sampling, sgrs (which scores the original pass); not with beams"

    @property
    def roles(self) -> Role:
        return Role.LOGITS

    @property
    def first_only(self) -> bool:
        """Whether the further passes are made for the first token alone."""
        return False

    @property
    def behind_processors(self) -> bool:
        """Whether logits processors act on the model's own logits, before they are combined, instead of after."""
        return False

    @property
    def reads_inputs(self) -> bool:
        return bool(self.extra_forwards or self.first_only)

    def contrast_branches(self, model: Any, inputs: dict[str, Any], numbers: Sequence[int]) -> list[ContrastBranch]:
        """The further passes. `numbers`: one number per sample, which seeded draws depend on."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it reads")

    def combine(self, logits: Tensor, others: list[Tensor]) -> Tensor:
        """The combined logits, float32 `[B, V]`, from the main ones and those of the branches, in order."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it combines logits")

    def bind(self, model: Any, run: RunInfo | None = None) -> Parts:
        from lvlm_saliency.decoding.contrast import Contrast

        late = self.reads_inputs and self.behind_processors
        return Parts(shaper=Contrast(self._branches_of, self.combine, self.first_only, late))

    def _branches_of(self, generation: Generation) -> list[ContrastBranch]:
        """The branches of one generation.

        Raises:
            SettingError: the inputs are not known (a custom_generate call).
        """
        if not self.reads_inputs:
            return []
        inputs, numbers = generation.run.inputs, generation.run.sample_ids
        if inputs is None:
            raise SettingError(f"{self.name} needs the inputs themselves: call lvlm_saliency.generate")
        each = len(numbers) // len(inputs["input_ids"])
        return self.contrast_branches(generation.model, dict(inputs), numbers[::each])


LARGEST = 2**63 - 1
"""Largest whole number that a setting may have."""


def number(owner: str, name: str, value: Any, low: float, high: float = float("inf"), *, whole: bool = False) -> None:
    """Raise SettingError unless `value` is a number (a whole one) within [low, high]."""
    most = min(high, LARGEST) if whole else high
    if not isinstance(value, Integral if whole else Real) or isinstance(value, bool) or not low <= value <= most:  # type: ignore[operator]
        word = "a whole number" if whole else "a number"
        bound = f"from {low:g} to {high:g}" if high != float("inf") else f"of at least {low:g}"
        raise SettingError(f"{owner}: {name} must be {word} {bound}, got {value!r}")


def seed_number(owner: str, seed: Any) -> None:
    """Raise SettingError unless `seed` is None or a valid seed."""
    if seed is not None:
        number(owner, "seed", seed, 0, LARGEST, whole=True)


def choice(owner: str, name: str, value: Any, known: Sequence[str]) -> None:
    """Raise SettingError unless `value` is one of `known`."""
    if value not in known:
        raise SettingError(f"{owner}: unknown {name} {value!r}{did_you_mean(str(value), known)}")


def layer_numbers(owner: str, layers: Any) -> tuple[int, ...] | None:
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


def check_layers(model: Any, layers: Sequence[int] | None) -> None:
    """Raise SettingError unless the model has these layers; UnsupportedModelError where none of its layers can be
    captured."""
    from lvlm_saliency import hf

    hf.target_layers(model, layers)
