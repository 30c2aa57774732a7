"""Beam search, the base of OPERA and DOPRA and their common baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.decoding.beams import LENGTH_NORMS
from lvlm_saliency.interventions.base import Method, choice, number


@dataclass(frozen=True)
class Beam(Method):
    """Several texts are continued at once, and the one with the best log-probability per length is kept.

    Score of a text y: sum_t log p(y_t | y_<t) / length ** length_penalty. Each step looks at the best continuations of
    all beams together; of those that end, only the n_beams best join the finished texts. Gives the texts of
    transformers' own beam search, but the prompt runs once for all beams.

    Args:
        n_beams: how many texts run side by side; 1 is greedy decoding.
        length_penalty: exponent of the length; above 0 longer texts gain, 0 compares plain sums.
        early_stopping: False (stop when no running text is likely to beat the finished ones), True (stop at n_beams
            finished texts) or "never" (stop when none can beat them).
        length_norm: what counts as length. "generated": the answer, as transformers does today. "full": prompt and
            answer, as in the releases that the published beam, OPERA and EAH figures were made with (a picture counts
            as one placeholder, the token that ends a text not at all). Behind a long prompt that is close to no
            normalisation, so shorter texts win more often.
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

    def __post_init__(self):
        check_beams("Beam", self)

    @property
    def rows_per_token(self) -> int:
        """Tokens that go through the model for each generated one (greedy decoding: 1)."""
        return self.n_beams

    def search(self, task):
        """The best texts of every sample; see `decoding.search`."""
        from lvlm_saliency.decoding.beam_search import beam_search

        return beam_search(task)


def check_beams(owner: str, method) -> None:
    """Raise SettingError where a knob that all beam methods share is out of range."""
    number(owner, "n_beams", method.n_beams, 1, 1000, whole=True)
    number(owner, "length_penalty", method.length_penalty, -100, 100)
    choice(owner, "length_norm", method.length_norm, LENGTH_NORMS)
    if not isinstance(method.early_stopping, bool) and method.early_stopping != "never":
        choice(owner, "early_stopping", method.early_stopping, ("True", "False", "never"))
