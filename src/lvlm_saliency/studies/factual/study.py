"""The study `factual`: short questions of many kinds with known answers, asked of a model of text."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from lvlm_saliency.chat import Chat
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.model.provenance import digest
from lvlm_saliency.studies.factual.answers import TOKENS, answers_of
from lvlm_saliency.studies.factual.asking import NEW_TOKENS, Asked, ask, asked_as
from lvlm_saliency.studies.factual.measures import Measured
from lvlm_saliency.studies.factual.page import page
from lvlm_saliency.studies.factual.questions import SHOWN, Question, kinds
from lvlm_saliency.studies.page import Page

UNUSED = ("labels", "n", "max_new_tokens", "images", "data")
"""Settings of a lab that would change nothing here."""


@dataclass(frozen=True)
class Factual:
    """Does a wrong answer show in a low saliency of its word? Labels are exact; the answers are public facts.

    The questions are its own: of the lab it takes the model, the folder and the seed, not labels or pictures.

    Attributes:
        per_kind: questions of each kind, the first of its list; 0: all.
        token: which token of an answer speaks for it: the first (which decides), the last, or the mean over its tokens.
    """

    per_kind: int = 60
    token: str = "first"

    name: ClassVar[str] = "factual"

    def __post_init__(self) -> None:
        if isinstance(self.per_kind, bool) or not isinstance(self.per_kind, int) or self.per_kind < 0:
            raise SettingError(f"factual: per_kind must be a whole number, 0 for all, not {self.per_kind!r}")
        if self.token not in TOKENS:
            raise SettingError(f"factual: token must be {', '.join(TOKENS[:-1])} or {TOKENS[-1]}, not {self.token!r}")

    def questions(self) -> list[Question]:
        """Those that are asked, kind by kind, without the examples."""
        last = SHOWN + self.per_kind if self.per_kind else None
        return [one for own in kinds().values() for one in own[SHOWN:last]]

    def run(self, lab: Any) -> Page:
        """Ask the questions, trace the answers, and make the page.

        Raises:
            SettingError: the model that ships, which knows drawn scenes only; a setting of pictures or labels.
        """
        _check(lab.settings)
        questions = self.questions()
        chat = Chat(lab.model, lab.processor)
        shown = [list(asked_as(one, chat.tokenizer)) for one in questions]
        batch = lab.settings.batch_size
        name = digest([lab.fingerprint, str(NEW_TOKENS), str(batch), repr(shown)])[:16]
        asked = ask(chat, questions, lab.kept / "questions" / name, batch, lab.listener)
        setup = {name: value for name, value in lab.setup().items() if name not in ("labels", "pictures")}
        return self.page(questions, asked, chat.tokenizer, setup, lab.settings.resamples, lab.settings.seed)

    def page(
        self,
        questions: list[Question],
        asked: Asked,
        tokenizer: Any,
        setup: dict[str, str],
        resamples: int,
        seed: int,
    ) -> Page:
        """The page of what was asked.

        Raises:
            InputError: fewer than two answers are right, or fewer than two are wrong.
        """
        answers = answers_of(questions, asked, tokenizer, self.token)
        wrong, right = int(answers.wrong.sum()), int((~answers.wrong).sum())
        if min(wrong, right) < 2:
            raise InputError(
                f"of {len(questions)} questions this model answers {right} right and {wrong} wrong: too few to compare"
            )
        return page(Measured(answers, resamples, seed), len(questions), setup)


def _check(settings: Any) -> None:
    if settings.model == "scenes":
        raise SettingError("factual asks about the world, of which the model that ships knows nothing: give --model")
    for one in fields(settings):
        if one.name in UNUSED and getattr(settings, one.name) != one.default:
            raise SettingError(
                f"factual asks its own questions: leave --{one.name.replace('_', '-')} out "
                "(factual:per_kind=20 asks 20 of each kind)"
            )
