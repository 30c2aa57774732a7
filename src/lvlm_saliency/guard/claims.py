"""What a text claims as it is written: its object words, what is known of each, and what a guard goes by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvlm_saliency.guard.attributes import Said
from lvlm_saliency.guard.judge import Judge
from lvlm_saliency.guard.verdicts import Verdicts
from lvlm_saliency.guard.words import Mention


@dataclass
class Note:
    """What one forward pass said as it chose a token: log p and entropy of the model's own distribution, and its
    attention features (None without a risk model, and where no object's name begins)."""

    log_p: float
    entropy: float
    features: tuple[np.ndarray, np.ndarray] | None


@dataclass
class Claim:
    """An object word that is being judged. token: its first token; known: the object was judged before; again: it is
    introduced a second time, in a sentence that is being rewritten. odds: of the first stage; margin: of the question.
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
    """Something that a rewritten sentence says of a present object, and whether the model's own answer is the same
    (None while it has not been asked)."""

    said: Said
    confirmed: bool | None = None


@dataclass(frozen=True)
class Rules:
    """What a guard goes by. judge: its own, or None where a control decides (verdicts); rewrite: whether it goes back
    (else it flags); attributes: whether what a rewritten sentence says of its objects is asked about; end: the token
    that ends a text, if there is one; the others as of `ls.Guard`."""

    judge: Judge | None
    verdicts: Verdicts | None
    rewrite: bool
    attributes: bool
    local_tries: int
    beginnings: int
    total_tries: int
    per_sentence: int
    end: int | None
