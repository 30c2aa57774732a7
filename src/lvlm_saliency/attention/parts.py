"""What a method is made of: the parts that sessions, traces and decode loops read, and all that they read.

A method says what it acts on (`Bindable.roles`) before there is a model, so that methods can be checked to go together.
For each block, trace or generation it is bound once: `bind` gives its `Parts`, which belong to that occasion alone and
may carry its state. Classes that subclass a protocol inherit its defaults and need only write the rest.

Which part for what:

- `RowEditor`: attention rows are to be other ones.
- `LayerHooks`: something between the layers is to be read or changed.
- `Shaper`: the logits are to be other ones, from earlier layers or from passes over other inputs.
- `Selector`: tokens are to be chosen otherwise from those logits.
- `Loop`: tokens do not come one after the other: a search over beams, a text that is gone back on.
- `Observer`: something has to know which tokens were chosen.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from lvlm_saliency.errors import SettingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lvlm_saliency.attention.edits import RowEdit
    from lvlm_saliency.attention.session import Session
    from lvlm_saliency.attention.state import Capture, RowContext
    from lvlm_saliency.model.output import GenerateOutput, TokenRecord


class Role(enum.Flag):
    """What a method acts on.

    ROWS: the model's own pass: its attention rows, or what lies between its layers. LOGITS: the logits that tokens are
    chosen from. TOKENS: the choice. LOOP: how a generation runs. HEARS: nothing; it is told which tokens were chosen.
    A search over beams is TOKENS | LOOP.
    """

    ROWS = enum.auto()
    LOGITS = enum.auto()
    TOKENS = enum.auto()
    LOOP = enum.auto()
    HEARS = enum.auto()


NOTHING = Role(0)


# --- parts that act inside a forward call ---


class PromptTraits(Protocol):
    """What a method, or a part of it, does with prompts. name: for messages."""

    name: ClassVar[str]

    @property
    def needs_picture(self) -> bool:
        """Whether it has nothing to act on without a picture."""
        return False

    @property
    def edits_prompt(self) -> bool:
        """Whether it edits rows of the prompt before the last one. Where it does, a cache that the caller brings cannot
        serve: its rows are read anew."""
        return True


class Acting(PromptTraits, Protocol):
    """What is known of anything that changes forward calls."""

    @property
    def minds_shift(self) -> bool:
        """Whether it honours `RowContext.shift`. Where it does not, all samples of a batch keep the same number of
        tokens of each block of SGRS."""
        return False


class RowEditor(Acting, Protocol):
    """Edits attention rows."""

    def kind_of_layer(self, layer: int) -> object | None:
        """For an edit that depends on nothing but the rows' place and a trait of the layer: that trait. The layers of
        a call with the same trait then share what the first of them found. None: each is looked at by itself."""
        return None

    def edit_rows(self, context: RowContext) -> RowEdit | None:
        """The edit for this layer and these rows, or None to leave them exactly alone."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it edits rows")


class Removable(Protocol):
    """The handle of a forward hook."""

    def remove(self) -> None:
        """Take the hook off."""


class LayerHooks(Acting, Protocol):
    """Reads, and may change, what lies between the layers of every forward call of a session."""

    @property
    def changes(self) -> bool:
        """Whether it changes anything; what only reads leaves caches, prompts and traces alone."""
        return True

    def put(self, model: Any, session: Session) -> Sequence[Removable]:
        """Put forward hooks into `session.hooks` and return their handles; they are removed when the session ends."""
        raise NotImplementedError(f"{type(self).__name__} does not say which hooks it puts")


# --- parts that act between forward calls ---


class Shaper(Protocol):
    """Makes the logits to choose from out of the model's own."""

    @property
    def behind_processors(self) -> bool:
        """Whether penalties and the like act on the model's own logits, before they are shaped, not behind that."""
        return False

    def open(self, generation: Generation) -> None:
        """Prepare, before the prompt's pass."""
        return

    def shaped(self, logits: Tensor) -> Tensor:
        """The logits to go on with, float32 `[B, V]`, of the step whose main logits are `logits`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it makes logits")

    def append(self, tokens: Tensor) -> None:
        """The tokens int64 `[B]` were chosen."""
        return


class Selector(Protocol):
    """Chooses the tokens. backwards: the backward passes that it has made."""

    backwards: int = 0

    def capture(self) -> Capture | None:
        """What the next forward call has to keep; None for nothing."""
        return None

    def choose(
        self, step: int | Sequence[int], logits: Tensor, processed: Tensor, capture: Capture | None, active: list[bool]
    ) -> Sequence[TokenRecord | None]:
        """One record per sample, None for those that are finished.

        Args:
            step: number of the generated token, from 0; one for all samples, or one for each.
            logits: the model's own `[B, 1, V]`, in the graph of `capture` where there is one.
            processed: float32 `[B, V]` after the shaper and all processors and warpers.
            capture: of the forward call that made the logits; None for the first token.
            active: samples that are not finished.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it chooses")


class Observer(Protocol):
    """Hears every token that is chosen, of every sample, in order."""

    @property
    def steers(self) -> bool:
        """Whether what it hears changes what comes next (through an editor, a processor): each token must then be heard
        before the next one is looked at, so that nothing is drafted ahead."""
        return True

    def hear(self, sample: int, step: int, record: TokenRecord, logits: Tensor) -> None:
        """A token was chosen for good.

        Args:
            sample: row of the batch; step: number of the token in its text, from 0; record: how it was chosen.
            logits: float32 `[V]` that it was drawn from, after the shaper and all processors and warpers.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it does with what it hears")


class Loop(Protocol):
    """Runs a generation from its prompt to its end."""

    @property
    def chooses(self) -> bool:
        """Whether it chooses the tokens itself and so goes with no selector and no shaper (a search over beams)."""
        return False

    def decode(self, generation: Generation) -> GenerateOutput:
        """Decode to the end. `decoding.run.Run` decodes step by step and may be built on."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it decodes")


# --- what a method says and gives ---


@dataclass(frozen=True)
class RunInfo:
    """The generation that a method is bound to.

    inputs: what the processor returned, before `generate` prepared it; None where that is unknown (`custom_generate`).
    sample_ids: a number per row, which names it to seeded draws. settings: the keywords of `generate` as they were
    given. beside: what the other methods of the generation act on. processor: of the model, where it was given.
    """

    inputs: Mapping[str, Any] | None = None
    sample_ids: Sequence[int] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    beside: Role = NOTHING
    processor: Any = None


@dataclass(frozen=True)
class Parts:
    """The parts of one method, or of several together, for one block, trace or generation.

    faster: a loop that makes the selector's own choices at less cost; used where no `loop` is there.
    """

    editors: tuple[RowEditor, ...] = ()
    hooks: tuple[LayerHooks, ...] = ()
    shaper: Shaper | None = None
    selector: Selector | None = None
    faster: Loop | None = None
    loop: Loop | None = None
    observers: tuple[Observer, ...] = ()

    @property
    def roles(self) -> Role:
        """What these parts act on."""
        loop = self.loop
        chosen = self.selector is not None or (loop is not None and loop.chooses)
        found = {
            Role.ROWS: bool(self.acting),
            Role.LOGITS: self.shaper is not None,
            Role.TOKENS: chosen,
            Role.LOOP: loop is not None,
            Role.HEARS: bool(self.observers),
        }
        return functools.reduce(operator.or_, (role for role, there in found.items() if there), NOTHING)

    @property
    def acting(self) -> tuple[Acting, ...]:
        """The parts that change forward calls."""
        return (*self.editors, *(hooks for hooks in self.hooks if hooks.changes))

    @classmethod
    def joined(cls, several: Iterable[Parts]) -> Parts:
        """The parts of methods that go together (see `decoding.loop.composed`)."""
        several = list(several)

        def only(name: str) -> Any:
            return next((getattr(parts, name) for parts in several if getattr(parts, name) is not None), None)

        return cls(
            tuple(editor for parts in several for editor in parts.editors),
            tuple(hooks for parts in several for hooks in parts.hooks),
            only("shaper"),
            only("selector"),
            only("faster"),
            only("loop"),
            tuple(observer for parts in several for observer in parts.observers),
        )


class Bindable:
    """What every method says of itself, and how it is bound. `interventions.base` has the classes to subclass."""

    name: ClassVar[str] = ""

    @property
    def roles(self) -> Role:
        """What the method, as it is set, acts on."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it acts on: give it `roles`")

    @property
    def needs_picture(self) -> bool:
        """Whether it has nothing to act on without a picture; `generate` then refuses inputs that hold none."""
        return False

    @property
    def edits_prompt(self) -> bool:
        """Whether it edits rows of the prompt before the last one (see `Acting`)."""
        return True

    @property
    def reads_inputs(self) -> bool:
        """Whether it makes prompts of its own of the inputs: a cache that holds a part of the prompt cannot serve."""
        return False

    def check_model(self, model: Any) -> None:
        """Raise SettingError where a knob does not fit this model."""

    def call_settings(self, model: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of `generate` to prepare a generation with, from those that were given.

        Raises:
            SettingError: one that the method cannot serve.
        """
        return dict(settings)

    def bind(self, model: Any, run: RunInfo | None = None) -> Parts:
        """The method's parts on this model; `run` is None for a block or a trace, where no tokens are chosen.

        They must be those that `roles` declares.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it is made of: write `bind`")


@dataclass
class Generation:
    """A generation that `generate` has prepared: what a loop is given.

    input_ids: int64 `[B, n0]`. processor: `(ids, scores) -> scores`, all logits processors and warpers. criteria: of
    stopping. config: the generation's configuration. model_kwargs: of its forward calls, the cache among them.
    session: the open session, None where no part acts inside forward calls or counts them.
    """

    model: Any
    input_ids: torch.Tensor
    processor: Callable[[Tensor, Tensor], Tensor]
    criteria: Callable[..., Tensor]
    config: Any
    model_kwargs: dict[str, Any]
    streamer: Any
    parts: Parts
    run: RunInfo
    session: Session | None = None

    @property
    def open_session(self) -> Session:
        """The session, for parts that cannot be without: whoever acts or runs the loop has one.

        Raises:
            RuntimeError: none is open.
        """
        if self.session is None:
            raise RuntimeError("no session is open: the generation's parts only listen")
        return self.session


def together(methods: Iterable[Bindable]) -> Role:
    """What the methods act on, all of them."""
    return functools.reduce(operator.or_, (method.roles for method in methods), NOTHING)


def bound(methods: Iterable[Bindable], model: Any, run: RunInfo | None = None) -> Parts:
    """The parts of all methods together.

    Raises:
        SettingError: a method is made of other parts than it declares.
    """
    methods = list(methods)
    found = []
    for method in methods:
        beside = together(other for other in methods if other is not method)
        parts = method.bind(model, None if run is None else dataclasses.replace(run, beside=beside))
        if parts.roles != method.roles:
            raise SettingError(
                f"{method.name} declares {method.roles} and is bound to {parts.roles}: its class has to be mended"
            )
        found.append(parts)
    return Parts.joined(found)
