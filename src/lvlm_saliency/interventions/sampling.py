"""Plain sampling whose draws do not depend on the rest of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.attention.parts import Parts, Role, RunInfo, Selector
from lvlm_saliency.interventions.base import Method, seed_number

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.attention.state import Capture
    from lvlm_saliency.model.output import TokenRecord


@dataclass(frozen=True)
class Sampling(Method):
    """Each token is drawn from the whole processed distribution: the sampled baseline.

    As `model.generate(do_sample=True)`, except that the draw of a step is a function of (seed, sample, step). A text
    therefore depends neither on the rest of its batch nor on the machine that runs its share of a benchmark.
    Temperature, top-k and top-p are `generate`'s own settings and act as usual, with `do_sample=True`.

    Args:
        seed: of the draws; None takes one from torch's generator.
    """

    name: ClassVar[str] = "sample"
    paper: ClassVar[str] = ""
    edits: ClassVar[str] = "choice of each token"
    composes: ClassVar[str] = "attention edits, and one method that makes the logits; no other that chooses tokens"
    cost: ClassVar[str] = "no extra pass"

    seed: int | None = None

    def __post_init__(self) -> None:
        seed_number("Sampling", self.seed)

    @property
    def roles(self) -> Role:
        return Role.TOKENS

    def bind(self, model: Any, run: RunInfo | None = None) -> Parts:
        return Parts(selector=Drawing(self.seed, () if run is None else run.sample_ids))


class Drawing(Selector):
    """The selector of one generation under `Sampling`. sample_ids: one number per sample, which draws depend on."""

    def __init__(self, seed: int | None, sample_ids: Sequence[int]):
        from lvlm_saliency.decoding.draws import fresh_seed

        self.seed = fresh_seed() if seed is None else seed
        self.samples = list(sample_ids)

    def choose(
        self, step: int | Sequence[int], logits: Tensor, processed: Tensor, capture: Capture | None, active: list[bool]
    ) -> list[TokenRecord | None]:
        """One record per sample, None for the finished; `processed` is float32 `[B, V]` after all warpers."""
        import torch

        from lvlm_saliency.decoding.draws import pick, uniform
        from lvlm_saliency.model.output import TokenRecord

        # float64, because rounding in a cumulative sum over a large vocabulary could change the draw
        weights = torch.softmax(processed.double(), dim=-1).cpu().numpy()
        steps = [step] * len(weights) if isinstance(step, int) else step
        return [
            TokenRecord(pick(row, uniform(self.seed, sample, at, 0))) if alive else None
            for row, sample, at, alive in zip(weights, self.samples, steps, active, strict=True)
        ]
