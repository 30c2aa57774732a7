"""MemVR: memory-space visual retracing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.attention.parts import LayerHooks, Parts, Removable, Role, RunInfo
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.base import Method, choice, number

if TYPE_CHECKING:
    from lvlm_saliency.attention.session import Session

ACTIVATIONS = ("identity", "silu")
MODES = ("paper", "official_code")


@dataclass(frozen=True)
class MemVR(Method, LayerHooks):
    """Where a middle layer is uncertain of the next token, the next layer's feed-forward output is mixed with the
    picture.

    "Look Twice Before You Answer: Memory-Space Visual Retracing for Hallucination Mitigation in Multimodal Large
    Language Models", ICML 2025, arXiv 2410.03577. After layer l with start < l < end, H is the entropy of the ten
    largest logits read off the hidden state (through the last norm; see mode), divided by ln 10. The first layer with
    H > gamma makes layer l + 1 put out (1 - alpha) FFN(x) + alpha k D(x), once per pass, with D(x) = act(x W1) W2 over
    the picture's projected tokens Z as keys and as values, and k such that k D is as large as FFN on average.

    Each decoded row has its own decision and k; the prompt's rows share those of its last row. Z is what the forward
    call over the prompt put at the image positions, kept beside its cache.

    Args:
        alpha: share of the picture; 0 switches the method off, bit-identically. Released: 0.12 to 0.32, by benchmark.
        gamma: entropy that triggers; 1 is never reached. Released: 0.75.
        start, end: layers that may trigger lie strictly between them. Released for 32 layers: 5 and 16, which the
            default scales to the model's depth.
        activation: "identity" is the released code for LLaVA, where the sizes of the weights cancel in k; "silu" that
            for Qwen-VL and the paper's formula, with W1 = Z mean|W_up| / mean|Z|. The default follows LLaVA.
        mode: "paper" reads H through the model's last norm whatever the activation. "official_code": the released code
            for LLaVA does so, that for Qwen-VL (activation="silu") puts the hidden state into the head as it is, so
            that H has another size there. The default is "paper".
    """

    name: ClassVar[str] = "memvr"
    paper: ClassVar[str] = "arXiv 2410.03577"
    edits: ClassVar[str] = "feed-forward output of one layer"
    cost: ClassVar[str] = "no extra pass; one more head product per layer that may trigger"
    families: ClassVar[str] = "all that see pictures and have plain feed-forward blocks"
    composes: ClassVar[str] = "any other but searches over beams; a text written under it cannot be traced under it"
    needs_picture: ClassVar[bool] = True

    alpha: float = 0.12
    gamma: float = 0.75
    start: int | None = None
    end: int | None = None
    activation: str = "identity"
    mode: str = "paper"

    def __post_init__(self) -> None:
        number("MemVR", "alpha", self.alpha, 0, 1)
        number("MemVR", "gamma", self.gamma, -1, 1e4)
        for name in ("start", "end"):
            if getattr(self, name) is not None:
                number("MemVR", name, getattr(self, name), 0, whole=True)
        choice("MemVR", "activation", self.activation, ACTIVATIONS)
        choice("MemVR", "mode", self.mode, MODES)

    def check_model(self, model: Any) -> None:
        from lvlm_saliency import hf

        layers = self.layers(model)
        stack = hf.decoder_layers(model)
        if not all(hasattr(getattr(stack[n], "mlp", None), "up_proj") for n in layers):
            raise SettingError("memvr: the layers of this model have no plain feed-forward block (up_proj) to add to")

    def layers(self, model: Any) -> list[int]:
        """The layers that may trigger, ascending.

        Raises:
            SettingError: none lies between start and end.
        """
        from lvlm_saliency import hf

        count = len(hf.decoder_layers(model))
        start = math.floor(5 / 32 * count) if self.start is None else self.start
        end = math.ceil(count / 2) if self.end is None else self.end
        layers = [n + 1 for n in range(start + 1, min(end, count - 1))]
        if not layers:
            raise SettingError(f"memvr: no layer lies strictly between start={start} and end={end} of {count} layers")
        return layers

    @property
    def normalised(self) -> bool:
        """Whether hidden states go through the model's last norm before their entropy is read."""
        return self.mode == "paper" or self.activation == "identity"

    @property
    def edits_prompt(self) -> bool:
        """All rows of the prompt share a decision."""
        return bool(self.alpha) and self.gamma < 1

    @property
    def roles(self) -> Role:
        return Role.ROWS

    def bind(self, model: Any, run: RunInfo | None = None) -> Parts:
        return Parts(hooks=(self,))

    def put(self, model: Any, session: Session) -> list[Removable]:
        """The hooks of one session; none where the method is switched off."""
        if not self.alpha or self.gamma >= 1:
            return []
        from lvlm_saliency.interventions.memvr.retracing import Retracing

        return Retracing(self, model, session).hooks()
