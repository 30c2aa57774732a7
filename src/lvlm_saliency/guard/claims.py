"""The claims of a text in progress: its object words, what is known of each, and the rules of the guard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvlm_saliency.guard.attributes import Said
from lvlm_saliency.guard.judge import Judge
from lvlm_saliency.guard.verdicts import Verdicts
from lvlm_saliency.guard.words import Mention


@dataclass
class Note:
    """What is recorded of the forward pass that chose a token.

    Attributes:
        log_p: log-probability of the token (nats) under the model's own distribution.
        entropy: entropy (nats) of that distribution.
        features: attention features; None without a risk model, and for tokens with which no object's name begins.
    """

    log_p: float
    entropy: float
    features: tuple[np.ndarray, np.ndarray] | None


@dataclass
class Claim:
    """An object word that is being judged.

    Attributes:
        token: number of its first token in the answer.
        known: the object was judged earlier in the text.
        again: the object is introduced a second time, in a sentence that is being rewritten.
        odds: log-odds of the first stage (the risk model).
        margin: log-odds of no over yes in the model's answer.
        waiting: a question about it has not been answered yet.
        since: the step at which that question was first wanted.
        risk: its final risk, 0 to 1.
        acts: whether the guard acts on it; None before the judgement.
    """

    mention: Mention
    token: int
    known: bool
    again: bool
    odds: float | None = None
    margin: float | None = None
    waiting: bool = False
    since: int = 0
    risk: float | None = None
    acts: bool | None = None


@dataclass
class Check:
    """A statement of a rewritten sentence about a present object, and whether the model confirms it (None: not asked
    yet)."""

    said: Said
    confirmed: bool | None = None


@dataclass(frozen=True)
class Rules:
    """The rules of a guard.

    Attributes:
        judge: the guard's judge; None where a control decides.
        verdicts: the control that decides in place of the judge, or None.
        rewrite: whether sentences are rewritten; otherwise words are only flagged.
        attributes: whether the model is asked about the attributes in rewritten sentences.
        local_tries, beginnings, total_tries, per_sentence: as in `ls.Guard`.
        end: the end-of-sequence token, if there is one.
    """

    judge: Judge | None
    verdicts: Verdicts | None
    rewrite: bool
    attributes: bool
    local_tries: int
    beginnings: int
    total_tries: int
    per_sentence: int
    end: int | None
