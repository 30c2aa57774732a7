"""Beam search, the base of OPERA and DOPRA and their common baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.attention.parts import Parts, Role, RunInfo
from lvlm_saliency.interventions.base import Method, choice, number

if TYPE_CHECKING:
    from lvlm_saliency.decoding.search import Found, Task

LENGTH_NORMS = ("generated", "full")


class BeamMethod(Method):
    """A method that searches over beams. Subclasses write `search` and have the settings of `Beam`."""

    n_beams: int
    length_penalty: float
    early_stopping: bool | str
    length_norm: str

    @property
    def roles(self) -> Role:
        return Role.TOKENS | Role.LOOP

    @property
    def rows_per_token(self) -> int:
        return self.n_beams

    def search(self, task: Task) -> list[Found]:
        """The best texts of every sample; see `decoding.search`."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it searches")

    def call_settings(self, model: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
        from lvlm_saliency.decoding.search import search_settings

        return search_settings(model, self, settings)

    def bind(self, model: Any, run: RunInfo | None = None) -> Parts:
        from lvlm_saliency.decoding.search import search_loop

        return Parts(loop=search_loop(self, self.search, run))


@dataclass(frozen=True)
class Beam(BeamMethod):
    """Several texts are continued at once, and the one of the best score is kept.

    Score of a text y: sum_t log p(y_t | y_<t) / length ** length_penalty. Each step considers the best continuations of
    all beams together; of those that end, only the n_beams best join the finished texts. The texts are those of
    transformers' own beam search, but the forward pass over the prompt is made once for all beams.

    Args:
        n_beams: number of beams; 1 is greedy decoding.
        length_penalty: exponent of the length; a larger one favours longer texts, 0 compares plain sums.
        early_stopping: False (stop when no running text is likely to beat the finished ones), True (stop at n_beams
            finished texts) or "never" (stop when none can beat them).
        length_norm: what counts as length. "generated": the answer, as in today's transformers. "full": prompt and
            answer, as in the releases with which the published beam, OPERA and EAH figures were made (a picture counts
            as one placeholder token, and the token that ends a text does not count). With a long prompt that is close
            to no normalisation, so shorter texts win more often.
    """

    name: ClassVar[str] = "beam"
    paper: ClassVar[str] = ""
    edits: ClassVar[str] = "choice of the text"
    cost: ClassVar[str] = "n_beams rows per token, one pass"
    composes: ClassVar[str] = "attention edits"

    n_beams: int = 5
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    length_norm: str = "generated"

    def __post_init__(self) -> None:
        check_beams("Beam", self)

    def search(self, task: Task) -> list[Found]:
        """The best texts of every sample; see `decoding.search`."""
        from lvlm_saliency.decoding.beam_search import beam_search

        return beam_search(task)


def check_beams(owner: str, method: BeamMethod) -> None:
    """Raise SettingError where a setting that all beam methods share is out of range."""
    number(owner, "n_beams", method.n_beams, 1, 1000, whole=True)
    number(owner, "length_penalty", method.length_penalty, -100, 100)
    choice(owner, "length_norm", method.length_norm, LENGTH_NORMS)
    if not isinstance(method.early_stopping, bool) and method.early_stopping != "never":
        choice(owner, "early_stopping", method.early_stopping, ("True", "False", "never"))
