"""The parts of a method: all that sessions, traces and decode loops read of it.

A method says what it acts on (`Bindable.roles`) before there is a model, so that combinations can be checked early. For
each `with` block, trace or generation it is bound once: `bind` returns its `Parts`. They belong to that block, trace or
generation alone, so they may keep state.

| part | for a method that |
|---|---|
| `RowEditor` | changes attention rows |
| `LayerHooks` | reads or changes hidden states between the layers |
| `Shaper` | changes the logits, from earlier layers or from passes over other inputs |
| `Selector` | chooses the token from the logits |
| `Loop` | does not write one token after the other: beam search, rollback |
| `Observer` | needs to know which tokens were chosen |

The protocols stand in `attention.protocols` and can be imported from here.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.attention.protocols import (
    NOTHING,
    Acting,
    LayerHooks,
    Loop,
    Observer,
    PromptTraits,
    Removable,
    Role,
    RowEditor,
    Selector,
    Shaper,
)
from lvlm_saliency.errors import SettingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lvlm_saliency.attention.session import Session

__all__ = [
    "NOTHING",
    "Acting",
    "Bindable",
    "Generation",
    "LayerHooks",
    "Loop",
    "Observer",
    "Parts",
    "PromptTraits",
    "Removable",
    "Role",
    "RowEditor",
    "RunInfo",
    "Selector",
    "Shaper",
    "bound",
    "together",
]


@dataclass(frozen=True)
class RunInfo:
    """The generation that a method is bound to.

    Attributes:
        inputs: what the processor returned, before `generate` prepared it; None where that is unknown
            (`custom_generate`).
        sample_ids: one number per row, which seeded draws depend on.
        settings: the keywords of `generate` as the caller passed them.
        beside: what the other methods of the generation act on.
        processor: the model's processor, where the caller passed it.
    """

    inputs: Mapping[str, Any] | None = None
    sample_ids: Sequence[int] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    beside: Role = NOTHING
    processor: Any = None


@dataclass(frozen=True)
class Parts:
    """The parts of one method, or of several joined, for one block, trace or generation.

    Attributes:
        editors: edits of attention rows, applied in this order.
        hooks: hooks between the layers.
        shaper: makes the logits.
        selector: chooses the tokens.
        faster: a loop that makes the same choices as `selector` at less cost; used where `loop` is None.
        loop: replaces the ordinary decode loop.
        observers: are told of each chosen token.
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
        """The parts of several methods as one; `decoding.loop.composed` has checked that they can be combined."""
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
    """The base of every method: what it declares, and how it is bound. Subclass one of `interventions.base`."""

    name: ClassVar[str] = ""

    @property
    def roles(self) -> Role:
        """What the method acts on with its present settings."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it acts on: give it `roles`")

    @property
    def needs_picture(self) -> bool:
        """Whether it has nothing to act on without a picture; `generate` then refuses inputs without one."""
        return False

    @property
    def edits_prompt(self) -> bool:
        """Whether it edits rows of the prompt before the last one (see `Acting`)."""
        return True

    @property
    def reads_inputs(self) -> bool:
        """Whether it builds further prompts from the inputs. `generate` then refuses a cache that holds part of the
        prompt."""
        return False

    def check_model(self, model: Any) -> None:
        """Check the settings against this model.

        Raises:
            SettingError: one does not fit, for example a layer that the model does not have.
        """

    def call_settings(self, model: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of `generate` with which the generation is prepared, made from those of the caller.

        Raises:
            SettingError: a keyword that cannot be used with this method.
        """
        return dict(settings)

    def bind(self, model: Any, run: RunInfo | None = None) -> Parts:
        """The method's parts on this model. They must be of the kinds that `roles` declares.

        Args:
            model: the model.
            run: the generation; None for a `with` block or a trace, where no tokens are chosen.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it is made of: write `bind`")


@dataclass
class Generation:
    """A generation that `generate` has prepared, as a loop receives it.

    Attributes:
        model: the model.
        input_ids: int64 `[B, n0]`.
        processor: `(ids, scores) -> scores`, all logits processors and warpers.
        criteria: transformers' stopping criteria.
        config: the generation's configuration.
        model_kwargs: keywords of the forward calls, the cache among them.
        streamer: as in `model.generate`, or None.
        parts: of the methods.
        run: what `bind` was told.
        session: the open session; None where no part needs one (observers only).
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
        """The session, for parts that need it. One is open wherever a part acts on forward calls or runs the loop.

        Raises:
            RuntimeError: none is open.
        """
        if self.session is None:
            raise RuntimeError("no session is open: the generation's parts only listen")
        return self.session


def together(methods: Iterable[Bindable]) -> Role:
    """The union of the methods' roles."""
    return functools.reduce(operator.or_, (method.roles for method in methods), NOTHING)


def bound(methods: Iterable[Bindable], model: Any, run: RunInfo | None = None) -> Parts:
    """Bind all methods and join their parts.

    Raises:
        SettingError: a method's parts are not those that its `roles` declare.
    """
    methods = list(methods)
    found = []
    for method in methods:
        beside = together(other for other in methods if other is not method)
        parts = method.bind(model, None if run is None else dataclasses.replace(run, beside=beside))
        if parts.roles != method.roles:
            raise SettingError(
                f"{method.name} declares {method.roles}, but its parts act on {parts.roles}: correct its class"
            )
        found.append(parts)
    return Parts.joined(found)
