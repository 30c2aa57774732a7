"""`ls.Guard`: every object word is checked as it is written, and sentences that name absent objects are rewritten."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from lvlm_saliency.attention.parts import Parts, Role, RunInfo
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.base import Method, choice, number

ACTIONS = ("flag", "rewrite", "best_of")
OFF = "off"
MOST_TRIES = 1000


@dataclass(frozen=True)
class Guard(Method):
    """Checks every object word while the model generates. A sentence that names an absent object is rewritten; what
    cannot be rewritten is flagged, and every change is reported.

    A causal risk model scores each object word as it is generated. Unless its risk is low, the model is asked whether
    the object is in the picture; the question reuses the part of the prompt's key/value cache that it shares. Above the
    threshold the text is rolled back to the beginning of the clause, at the next failure to that of the sentence, and
    the object is banned until the sentence ends.

    Related: REVERSE (Wu et al. 2025, arXiv 2504.13169), which rolls back where a trained model flags a phrase, and
    HaloProbe (Alinejad et al. 2026), which uses a calibrated risk.

    Args:
        risk: a causal `RiskModel` or the path of one; None for the one that ships with the model, where there is one;
            "off" for none (the model's answers alone).
        ask: whether the model is asked about doubtful objects.
        action: "flag" (text, tokens and draws as without a guard), "rewrite", or "best_of" (several texts, of which the
            one whose objects are best supported is kept).
        threshold: the risk above which the guard acts, 0 to 1; None takes it from the calibration.
        recall_loss: the share of correct objects that may be acted on, from which the calibration gives the threshold;
            0 never acts.
        local_tries: how often one sentence may be rolled back before it has to begin in another way.
        beginnings: how many other beginnings are tried then, before the text ends without the sentence.
        total_tries: how often sentences may be rolled back in a whole text.
        attributes: whether the model has to confirm, when asked, what a rewritten sentence says of an object (its
            number, colour, place, or its position relative to another object). None: under greedy decoding and beams.
            Sampled texts state so much that is false that they would end early.
        per_sentence: the largest number of objects of one sentence about which the model is asked.
        words: the vocabulary of objects: "scenes", "nouns" or a file (one object a line, synonyms behind commas); None
            takes the one that the risk model was calibrated with, else the nouns that ship.
        beams: above 1, the draft that is checked is the best text of a beam search of this width, in place of what the
            decoding chooses token by token; a sentence that cannot be rewritten is left out of it.
        samples: texts that "best_of" writes beside the one without draws.
        seed: of random draws; None is 0 for greedy decoding (where only sentences that were rolled back repeatedly are
            drawn), and one from torch's generator for sampling.
        verdicts: a control that decides in place of the guard's judge (see `guard.verdicts`).
    """

    name: ClassVar[str] = "guard"
    paper: ClassVar[str] = ""
    edits: ClassVar[str] = "sentences that name absent objects: rewritten"
    cost: ClassVar[str] = "rewritten sentences, and a short pass for questions in doubt"
    families: ClassVar[str] = "all; questions need a picture"
    composes: ClassVar[str] = "attention edits, contrasts, sampling; no search, no sgrs"

    risk: Any = None
    ask: bool = True
    action: str = "rewrite"
    threshold: float | None = None
    recall_loss: float = 0.01
    attributes: bool | None = None
    local_tries: int = 2
    beginnings: int = 4
    total_tries: int = 20
    per_sentence: int = 3
    words: str | None = None
    beams: int = 1
    samples: int = 6
    seed: int | None = None
    verdicts: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        choice("Guard", "action", self.action, ACTIONS)
        for name in ("local_tries", "beginnings", "total_tries", "per_sentence", "beams", "samples"):
            number("Guard", name, getattr(self, name), 1, MOST_TRIES, whole=True)
        number("Guard", "recall_loss", self.recall_loss, 0, 1)
        if self.threshold is not None:
            number("Guard", "threshold", self.threshold, 0, 1)
        if self.seed is not None:
            number("Guard", "seed", self.seed, 0, 2**63 - 1, whole=True)
        for name, known in (("ask", (True, False)), ("attributes", (True, False, None))):
            if not any(getattr(self, name) is one for one in known):
                raise SettingError(f"Guard: {name} must be true or false, got {getattr(self, name)!r}")
        if self.action == "best_of" and self.beams > 1:
            raise SettingError("Guard: action='best_of' draws several drafts and beams search for one: choose one")
        if self.words is not None and not isinstance(self.words, (str, Path)):
            raise SettingError(f"Guard: words must name a vocabulary or a file, got {self.words!r}")
        if self.risk == OFF and not self.ask and self.verdicts is None:
            raise SettingError("Guard: with neither a risk model nor questions (ask=False) there is nothing to go by")

    @property
    def roles(self) -> Role:
        return Role.LOOP

    @property
    def rows_per_token(self) -> int:
        """Tokens that go through the model for each one of the draft."""
        return self.beams

    @property
    def needs_picture(self) -> bool:
        """Its questions are about a picture."""
        return self.ask and self.verdicts is None

    def check_model(self, model: Any) -> None:
        from lvlm_saliency.guard.setup import set_up

        set_up(self, model)

    def bind(self, model: Any, run: RunInfo | None = None) -> Parts:
        from lvlm_saliency.guard.loop import GuardLoop

        return Parts(loop=GuardLoop(self))
