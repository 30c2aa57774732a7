"""ICD: instruction contrastive decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.base import ContrastMethod, choice, number

if TYPE_CHECKING:
    from torch import Tensor

    from lvlm_saliency.decoding.contrast import ContrastBranch

MODES = ("paper", "official_code")


@dataclass(frozen=True)
class ICD(ContrastMethod):
    """The logits under an instruction that confuses the model are subtracted from those without it.

    "Mitigating Hallucinations in Large Vision-Language Models with Instruction Contrastive Decoding", ACL 2024,
    arXiv 2403.18715. logits = (1 + alpha) l - alpha l', where l' are those over the same picture with `instruction`
    added to the prompt, among the tokens v with p(v) >= beta max p under l.

    Args:
        alpha: weight of the contrast; 0 (with beta=0) switches the method off, bit-identically. Released scripts: 1;
            where none is passed, and in the re-implementations of later methods: 0.5.
        beta: plausibility constraint, 0 for none. All: 0.1.
        instruction: the text, encoded by the tokenizer that belongs to the model's name or folder; or its token ids,
            for a model that was loaded from neither. The released scripts try five, the nearest of them "You are a
            confused objects detector to provide a fuzzy overview or impression of the image."
        mode: where the instruction stands. "paper": behind the picture and the marks that close it, before what the
            template writes between picture and question; the re-implementations make it a prefix of the question.
            "official_code": before the whole prompt (after its first token where that only begins a text), where the
            released scripts for LLaVA put it instead of a system prompt; a system prompt that the model's template
            wrote stays here. The default is "paper", which means the same in every template.
    """

    name: ClassVar[str] = "icd"
    paper: ClassVar[str] = "arXiv 2403.18715"
    edits: ClassVar[str] = "logits, against a confusing instruction"
    cost: ClassVar[str] = "one more pass per token, a second prompt and cache"
    families: ClassVar[str] = "all that see pictures"
    needs_picture: ClassVar[bool] = True

    alpha: float = 0.5
    beta: float = 0.1
    instruction: str | Sequence[int] = "You are a confused object detector."
    mode: str = "paper"

    def __post_init__(self) -> None:
        number("ICD", "alpha", self.alpha, 0, 1e4)
        number("ICD", "beta", self.beta, 0, 1)
        choice("ICD", "mode", self.mode, MODES)
        if not self.instruction:
            raise SettingError("ICD: instruction is empty; give a text or token ids")
        if not isinstance(self.instruction, str):
            for one in self.instruction:
                number("ICD", "instruction", one, 0, whole=True)
            object.__setattr__(self, "instruction", tuple(int(one) for one in self.instruction))

    @property
    def extra_forwards(self) -> int:
        return int(self.alpha > 0)

    def contrast_branches(self, model: Any, inputs: dict[str, Any], numbers: Sequence[int]) -> list[ContrastBranch]:
        """The same picture and question with the instruction."""
        from lvlm_saliency.decoding.contrast import ContrastBranch
        from lvlm_saliency.interventions.prompts import after_pictures, at_the_front, closing_marks
        from lvlm_saliency.model import families

        front, written = self.mode == "official_code", isinstance(self.instruction, str)
        marked = not front and bool(families.presets(model.config.model_type).closing)
        tokenizer: Any = _tokenizer(model, marked) if written or marked else None
        if isinstance(self.instruction, str):
            ids = tokenizer(self.instruction, add_special_tokens=False)["input_ids"]
        else:
            ids = list(self.instruction)
        if front:
            return [ContrastBranch(at_the_front(model, inputs, ids))]
        return [ContrastBranch(after_pictures(model, inputs, ids, closing_marks(model, tokenizer) if marked else ()))]

    def combine(self, logits: Tensor, others: list[Tensor]) -> Tensor:
        """float32 `[B, V]` of the logits without the instruction and, where alpha > 0, with it."""
        from lvlm_saliency.decoding.contrast import constrained

        contrast = logits if not others else (1 + self.alpha) * logits - self.alpha * others[0]
        return constrained(contrast, logits, self.beta)


def _tokenizer(model: Any, marked: bool) -> Any:
    """The tokenizer that belongs to the model's name or folder.

    Args:
        model: the model.
        marked: the tokenizer must also tell which mark closes a picture.

    Raises:
        SettingError: there is none.
    """
    from transformers import AutoTokenizer

    source = model.config.name_or_path
    try:
        return AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError) as error:
        instead = "pass instruction as token ids"
        if marked:
            marks = "it tells what closes a picture: load the model from its folder, or set mode='official_code'"
            instead = f"{marks} and {instead}"
        raise SettingError(f"icd: no tokenizer is found for the model's name {source!r}: {instead}") from error
