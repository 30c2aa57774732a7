"""The protocols of the parts that a method may have, and the roles that name what it acts on.

Classes that subclass a protocol inherit its defaults and write only what differs.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.attention.edits import RowEdit
    from lvlm_saliency.attention.parts import Generation
    from lvlm_saliency.attention.session import Session
    from lvlm_saliency.attention.state import Capture, RowContext
    from lvlm_saliency.model.output import GenerateOutput, TokenRecord


class Role(enum.Flag):
    """What a method acts on. Beam search is TOKENS | LOOP.

    Attributes:
        ROWS: the model's own forward pass: its attention rows, or the hidden states between its layers.
        LOGITS: the logits from which tokens are chosen.
        TOKENS: the choice of the token.
        LOOP: the decode loop as a whole.
        HEARS: nothing; it is told which tokens were chosen.
    """

    ROWS = enum.auto()
    LOGITS = enum.auto()
    TOKENS = enum.auto()
    LOOP = enum.auto()
    HEARS = enum.auto()


NOTHING = Role(0)


# --- parts that act inside a forward call ---


class PromptTraits(Protocol):
    """What a method, or one of its parts, does with prompts.

    Attributes:
        name: of the method, for error messages.
    """

    name: ClassVar[str]

    @property
    def needs_picture(self) -> bool:
        """Whether it has nothing to act on without a picture."""
        return False

    @property
    def edits_prompt(self) -> bool:
        """Whether it edits rows of the prompt before the last one. The prompt is then computed again even where the
        caller passes a cache that holds it, since those rows were computed without the edit."""
        return True


class Acting(PromptTraits, Protocol):
    """A part that changes forward calls."""

    @property
    def minds_shift(self) -> bool:
        """Whether it takes `RowContext.shift` into account. Where one part does not, all samples of a batch keep the
        same number of drafted tokens per block."""
        return False


class RowEditor(Acting, Protocol):
    """Edits attention rows."""

    def kind_of_layer(self, layer: int) -> object | None:
        """A key under which layers share their edit.

        Layers for which this returns the same key are asked once per call: the edit of the first serves all. That is
        right only where the edit depends on the rows' positions and this key, not on queries, keys or hidden states.
        None asks each layer by itself.
        """
        return None

    def edit_rows(self, context: RowContext) -> RowEdit | None:
        """The edit for this layer and these rows; None leaves them bit-identical."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it edits rows")


class Removable(Protocol):
    """The handle of a forward hook."""

    def remove(self) -> None:
        """Remove the hook."""


class LayerHooks(Acting, Protocol):
    """Reads, and may change, the hidden states between the layers in every forward call of a session."""

    @property
    def changes(self) -> bool:
        """Whether it changes hidden states. Hooks that only read put no conditions on caches, prompts and traces."""
        return True

    def put(self, model: Any, session: Session) -> Sequence[Removable]:
        """Register forward hooks with `session.hooks` and return their handles, which are removed when the session
        ends."""
        raise NotImplementedError(f"{type(self).__name__} does not say which hooks it puts")


# --- parts that act between forward calls ---


class Shaper(Protocol):
    """Makes the logits that a token is chosen from out of the model's own logits."""

    @property
    def behind_processors(self) -> bool:
        """Whether logits processors act before this part, on the model's own logits, instead of on its result."""
        return False

    def open(self, generation: Generation) -> None:
        """Called once, before the forward pass over the prompt."""
        return

    def shaped(self, logits: Tensor) -> Tensor:
        """The new logits, float32 `[B, V]`, for the step whose own logits are `logits`, float32 `[B, V]`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it makes logits")

    def append(self, tokens: Tensor) -> None:
        """Called after each step with the chosen tokens, int64 `[B]`."""
        return


class Selector(Protocol):
    """Chooses the tokens.

    Attributes:
        backwards: number of backward passes made so far.
    """

    backwards: int = 0

    def capture(self) -> Capture | None:
        """What the next forward call has to capture; None for nothing."""
        return None

    def choose(
        self, step: int | Sequence[int], logits: Tensor, processed: Tensor, capture: Capture | None, active: list[bool]
    ) -> Sequence[TokenRecord | None]:
        """Choose the next token of each sample.

        Args:
            step: number of the generated token, from 0; one for all samples, or one per sample.
            logits: the model's own logits `[B, 1, V]`, in the autograd graph of `capture` where there is one.
            processed: logits float32 `[B, V]` after the shaper and all processors and warpers.
            capture: what was captured in the forward call that made the logits; None for the first token.
            active: which samples are not finished.

        Returns:
            One record per sample, None for those that are finished.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it chooses")


class Observer(Protocol):
    """Is told of every token that is chosen, of every sample, in order."""

    @property
    def steers(self) -> bool:
        """Whether what it is told changes later tokens (through an editor or a logits processor). Tokens are then not
        drafted ahead: each is reported before the next one is computed."""
        return True

    def hear(self, sample: int, step: int, record: TokenRecord, logits: Tensor) -> None:
        """Called when a token is final.

        Args:
            sample: row of the batch.
            step: number of the token in its text, from 0.
            record: the token, and how it was chosen.
            logits: float32 `[V]` that it was drawn from, after the shaper and all processors and warpers.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it does with what it hears")


class Loop(Protocol):
    """A decode loop of the method's own."""

    @property
    def chooses(self) -> bool:
        """Whether it chooses the tokens itself (beam search), so that no selector and no shaper can act beside it."""
        return False

    def decode(self, generation: Generation) -> GenerateOutput:
        """Decode to the end. `decoding.run.Run`, the ordinary loop, may be subclassed or called."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it decodes")
