"""VCD: visual contrastive decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.interventions.base import ContrastMethod, number, seed_number

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.decoding.contrast import ContrastBranch


@dataclass(frozen=True)
class VCD(ContrastMethod):
    """The logits over a noised picture are subtracted from those over the picture.

    "Mitigating Object Hallucinations in Large Vision-Language Models through Visual Contrastive Decoding", CVPR 2024,
    arXiv 2311.16922. logits = (1 + alpha) l - alpha l', where l' are those of the same text over the picture after
    `noise_step` steps of diffusion (on the tensor that the processor made, drawn once per sample), among the tokens v
    with p(v) >= beta max p under l. Paper and released code agree. The code knows sampling only; under greedy decoding
    the largest of the combined logits is taken, as later papers do.

    Args:
        alpha: weight of the contrast; 0 (with beta=0) switches the method off, bit-identically. Paper: 1.
        beta: plausibility constraint, 0 for none. Paper: 0.1 (0.2 in the released script for POPE with LLaVA).
        noise_step: T, diffusion steps of 1000. Released scripts: 500.
        seed: of the noise, which is a function of (seed, sample); None takes one from torch's generator.
    """

    name: ClassVar[str] = "vcd"
    paper: ClassVar[str] = "arXiv 2311.16922"
    edits: ClassVar[str] = "logits, against a noised picture"
    cost: ClassVar[str] = "one more pass per token, a second prompt and cache"
    families: ClassVar[str] = "all that see pictures"
    needs_picture: ClassVar[bool] = True

    alpha: float = 1.0
    beta: float = 0.1
    noise_step: int = 500
    seed: int | None = None

    def __post_init__(self) -> None:
        number("VCD", "alpha", self.alpha, 0, 1e4)
        number("VCD", "beta", self.beta, 0, 1)
        number("VCD", "noise_step", self.noise_step, 0, 999, whole=True)
        seed_number("VCD", self.seed)

    @property
    def extra_forwards(self) -> int:
        return int(self.alpha > 0)

    def contrast_branches(self, model: Any, inputs: dict[str, Any], numbers: Sequence[int]) -> list[ContrastBranch]:
        """The same text over the noised picture."""
        from lvlm_saliency.decoding.contrast import ContrastBranch
        from lvlm_saliency.decoding.draws import fresh_seed
        from lvlm_saliency.interventions.noise import noised

        seed = fresh_seed() if self.seed is None else self.seed
        pixels = noised(model, inputs, self.noise_step, seed, numbers)
        return [ContrastBranch({**inputs, "pixel_values": pixels})]

    def combine(self, logits: Tensor, others: list[Tensor]) -> Tensor:
        """float32 `[B, V]` of the logits over the picture and, where alpha > 0, over the noised one."""
        from lvlm_saliency.decoding.contrast import constrained

        contrast = logits if not others else (1 + self.alpha) * logits - self.alpha * others[0]
        return constrained(contrast, logits, self.beta)
