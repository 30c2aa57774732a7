"""SGRS: saliency-guided rejection sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.attention.parts import Parts, Role, RunInfo
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.base import Method, choice, layer_numbers, number, seed_number
from lvlm_saliency.model.families import presets

if TYPE_CHECKING:
    from lvlm_saliency.interventions.sgrs.rejection import SaliencyGate

ORDERS = ("sample", "greedy")
EXECUTIONS = ("auto", "stepwise", "blockwise")


@dataclass(frozen=True)
class SGRS(Method):
    """A candidate whose saliency over the earlier output falls below that of the recent tokens is drawn again.

    "Hallucination Begins Where Saliency Drops", ICLR 2026, arXiv 2601.20279, Eq. 6-7. At each step the `top_k` most
    probable tokens (of the processed distribution) are candidates c with S(c), the mean row-normalised saliency over
    the output so far, computed with c's own loss. A drawn candidate is accepted when S(c) >= alpha * mean of S over
    the last `window` accepted tokens; after `max_draws` rejections the candidate of the largest S is taken.

    Args:
        alpha: threshold ratio; 0 accepts every first draw. Paper: 0.6.
        top_k: K, size of the candidate set. Paper: 5.
        window: W, accepted tokens in the running mean. Paper: 5.
        max_draws: R, draws per step. Paper: 3.
        layers: decoder layers whose rows are scored; default the family's preset (middle to deep).
        order: "sample" draws by probability; "greedy" tries the most probable candidates first.
        execution: "stepwise" scores each step as it is decoded; "blockwise" drafts several tokens and verifies them
            together, with the same decisions; "auto" measures both and takes the cheaper one.
        seed: of the draws, which depend on (seed, sample, step, draw) only; None takes one from torch's generator.
    """

    name: ClassVar[str] = "sgrs"
    paper: ClassVar[str] = "arXiv 2601.20279"
    edits: ClassVar[str] = "choice of each token"
    composes: ClassVar[str] = "attention edits, and one method that makes the logits; no other that chooses tokens"
    cost: ClassVar[str] = "one backward pass per token through the upper layers, or one pass per block of tokens"

    alpha: float = 0.6
    top_k: int = 5
    window: int = 5
    max_draws: int = 3
    layers: Sequence[int] | None = None
    order: str = "sample"
    execution: str = "auto"
    seed: int | None = None

    def __post_init__(self) -> None:
        number("SGRS", "alpha", self.alpha, 0, 1e4)
        number("SGRS", "top_k", self.top_k, 1, 1000, whole=True)
        number("SGRS", "window", self.window, 1, whole=True)
        number("SGRS", "max_draws", self.max_draws, 1, whole=True)
        choice("SGRS", "order", self.order, ORDERS)
        choice("SGRS", "execution", self.execution, EXECUTIONS)
        seed_number("SGRS", self.seed)
        object.__setattr__(self, "layers", layer_numbers("SGRS", self.layers))

    def check_model(self, model: Any) -> None:
        self.target_layers(model)

    def target_layers(self, model: Any) -> list[int]:
        """The layers that are scored on this model, ascending."""
        from lvlm_saliency import hf

        layers = hf.target_layers(model, self.layers)
        return layers if self.layers is not None else presets(model.config.model_type).target_layers(layers)

    @property
    def roles(self) -> Role:
        return Role.TOKENS

    def bind(self, model: Any, run: RunInfo | None = None) -> Parts:
        gate = self.selector(model, () if run is None else run.sample_ids)
        if self.execution == "stepwise":
            return Parts(selector=gate)
        from lvlm_saliency.interventions.sgrs.blockwise import Blocks

        fixed = self.execution == "blockwise"
        if fixed and run is not None and Role.LOOP in run.beside:
            raise SettingError(f"{self.name}: execution='blockwise' is not possible here: another method runs the loop")
        return Parts(selector=gate, faster=Blocks(self.name, gate, fixed))

    def selector(self, model: Any, sample_ids: Sequence[int]) -> SaliencyGate:
        """The selector of one generation."""
        from lvlm_saliency import hf
        from lvlm_saliency.interventions.sgrs.rejection import SaliencyGate

        hf.refuse_inference_weights(model)
        return SaliencyGate(self, self.target_layers(model), sample_ids)
