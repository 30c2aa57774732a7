"""Conformal thresholds: acting on scores above `t` affects at most a stated share of correct mentions.

Split conformal prediction (Vovk et al. 2005; Papadopoulos et al. 2002) for single scores, and conformal risk control
(Angelopoulos et al., ICLR 2024, arXiv 2208.02814) for losses of whole pictures, whose mentions depend on one another.
Both guarantees are averages over calibration sets and new data, if old and new data are exchangeable; they say nothing
about a single calibration set, nor about another decoder or other pictures. A score is higher where a mention is more
likely hallucinated; "acting" is flagging or rewriting it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lvlm_saliency.errors import InputError, SettingError

KAPPAS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 300.0, math.inf)
"""Strengths of shrinkage that `choose_kappa` tries; infinite is one rate for all classes."""


def score_threshold(scores: np.ndarray, epsilon: float) -> float:
    """Split conformal threshold from the scores of correct mentions: P(new score > t) <= epsilon.

    t is the k-th smallest of n scores, k = ceil((n + 1)(1 - epsilon)).

    Args:
        scores: float `[n]`, finite.
        epsilon: allowed share of correct mentions above t, 0 to 1.

    Returns:
        t; infinite (act on nothing) where so few scores cannot promise as much, -infinite where epsilon is 1.

    Raises:
        SettingError: epsilon outside 0 to 1.
        InputError: a score that is not finite.
    """
    ordered = np.sort(_finite(scores))
    rank = math.ceil((len(ordered) + 1) * (1 - _share("epsilon", epsilon)) - 1e-9)
    if rank > len(ordered):
        return math.inf
    return float(ordered[rank - 1]) if rank else -math.inf


def picture_threshold(pictures: Sequence[np.ndarray], epsilon: float) -> float:
    """Conformal risk control by picture: the expected share of a new picture's correct objects above t is <= epsilon.

    With L_i(t) the share of picture i's scores above t (0 where it has none), t = inf{t: (sum_i L_i(t) + 1) / (n + 1)
    <= epsilon} (arXiv 2208.02814, Eq. 4, with loss bound B = 1).

    Args:
        pictures: for each picture the scores of its correct objects, float `[n_i]`, finite; pictures without any count.
        epsilon: allowed expected loss, 0 to 1.

    Returns:
        t, one of the scores; infinite (act on nothing) where so few pictures cannot promise as much, -infinite where
        acting on everything loses no more than is allowed.

    Raises:
        SettingError, InputError: as `score_threshold`.
    """
    epsilon = _share("epsilon", epsilon)
    count = len(pictures)
    allowed = epsilon * (count + 1) - 1  # what the losses may add up to
    if allowed < -1e-9:
        return math.inf
    values = [_finite(scores) for scores in pictures]
    scores = np.concatenate([*values, np.empty(0)])
    weights = np.concatenate([*(np.full(len(one), 1 / max(len(one), 1)) for one in values), np.empty(0)])
    order = np.argsort(scores, kind="stable")
    scores, weights = scores[order], weights[order]
    if weights.sum() <= allowed + 1e-9:
        return -math.inf
    # Loss at t = scores[k] is the weight of everything above it; of tied scores only the last one's is right.
    above = weights.sum() - np.cumsum(weights)
    last = np.r_[scores[1:] != scores[:-1], True]
    return float(scores[np.flatnonzero(last & (above <= allowed + 1e-9))[0]])


def pass_threshold(pictures: Sequence[np.ndarray], delta: float) -> float:
    """The threshold below which a mention passes unasked: the expected share of a new picture's hallucinated objects
    that score below it is at most delta.

    Args:
        pictures: for each picture the scores of its hallucinated objects, float `[n_i]`.
        delta: allowed share, 0 to 1.

    Returns:
        The threshold; -infinite (nothing passes) where so few pictures cannot promise as much.

    Raises:
        SettingError, InputError: as `score_threshold`.
    """
    return -picture_threshold([-np.asarray(scores, dtype=np.float64) for scores in pictures], delta)


def control_threshold(losses: np.ndarray, thresholds: Sequence[float], epsilon: float) -> float:
    """Conformal risk control over measured losses: a whole procedure was run at each of a few thresholds.

    Losses need not fall as the threshold rises: each picture's are made monotone by a running maximum from the highest
    threshold down, which can only make the choice more careful.

    Args:
        losses: float `[pictures, thresholds]`, 0 to 1, such as the share of its objects that a picture's text lost.
        thresholds: ascending; the higher, the less the procedure acts.
        epsilon: allowed expected loss, 0 to 1.

    Returns:
        The lowest threshold with (sum of its losses + 1) / (pictures + 1) <= epsilon, infinite where there is none.

    Raises:
        SettingError: epsilon outside 0 to 1, or thresholds that do not ascend.
        InputError: losses of another shape, or outside 0 to 1.
    """
    epsilon = _share("epsilon", epsilon)
    losses = np.asarray(losses, dtype=np.float64)
    if any(low >= high for low, high in pairwise(thresholds)):
        raise SettingError(f"thresholds must ascend, got {list(thresholds)}")
    if losses.ndim != 2 or losses.shape[1] != len(thresholds):
        raise InputError(f"losses are {list(losses.shape)}, and there are {len(thresholds)} thresholds")
    if not ((losses >= 0) & (losses <= 1)).all():
        raise InputError("a loss lies outside 0 to 1")
    monotone = np.maximum.accumulate(losses[:, ::-1], axis=1)[:, ::-1]
    enough = (monotone.sum(axis=0) + 1) / (len(losses) + 1) <= epsilon + 1e-12
    return float(np.asarray(thresholds)[enough][0]) if enough.any() else math.inf


@dataclass(frozen=True)
class ClassRates:
    """How often mentions of each class are hallucinated, drawn towards the rate of all classes.

    Attributes:
        overall: the rate of all mentions.
        kappa: so many mentions at the overall rate are added to each class's own.
        mentions, hallucinated: the counts.
    """

    overall: float
    kappa: float
    mentions: Mapping[str, int]
    hallucinated: Mapping[str, int]

    def rate(self, name: str) -> float:
        """(h + kappa x overall) / (n + kappa); the overall rate for a class that was never mentioned."""
        count = self.mentions.get(name, 0)
        if math.isinf(self.kappa) or count + self.kappa == 0:
            return self.overall
        return (self.hallucinated.get(name, 0) + self.kappa * self.overall) / (count + self.kappa)

    def shift(self, name: str) -> float:
        """logit(rate) - logit(overall): what the class adds to log-odds, with rates held 1e-4 off 0 and 1."""
        return _logit(self.rate(name)) - _logit(self.overall)


def class_rates(mentions: Mapping[str, int], hallucinated: Mapping[str, int], kappa: float = 20.0) -> ClassRates:
    """Shrunk rates from counts of mentions and of hallucinated mentions by class.

    Raises:
        SettingError: kappa below 0 or not a number.
        InputError: no mention at all, or more hallucinated mentions of a class than mentions.
    """
    if not kappa >= 0:
        raise SettingError(f"kappa must be 0 or more, got {kappa}")
    total = sum(mentions.values())
    if not total:
        raise InputError("no mention to take rates from")
    for name, count in hallucinated.items():
        if not 0 <= count <= mentions.get(name, 0):
            raise InputError(f"{name}: {count} hallucinated of {mentions.get(name, 0)} mentions")
    return ClassRates(sum(hallucinated.values()) / total, float(kappa), dict(mentions), dict(hallucinated))


def choose_kappa(
    pictures: Sequence[Mapping[str, tuple[int, int]]],
    kappas: Sequence[float] = KAPPAS,
    *,
    folds: int = 5,
    seed: int = 0,
) -> float:
    """The kappa whose rates, learned on other pictures, give the mentions of a picture the smallest log loss.

    Args:
        pictures: for each picture, by class, (mentions, hallucinated mentions).
        kappas: what to choose among; ties go to the largest.
        folds: of cross-validation over pictures.
        seed: deals the pictures to folds.

    Raises:
        InputError: fewer pictures than folds.
    """
    if len(pictures) < folds:
        raise InputError(f"{len(pictures)} pictures for {folds} folds of cross-validation")
    fold = np.random.default_rng(seed).permutation(len(pictures)) % folds
    losses = dict.fromkeys(kappas, 0.0)
    for held in range(folds):
        learned = [one for one, at in zip(pictures, fold, strict=True) if at != held]
        mentioned, hallucinated = (summed(learned, which) for which in (0, 1))
        if not sum(mentioned.values()):
            continue
        tested = [one for one, at in zip(pictures, fold, strict=True) if at == held]
        for kappa in kappas:
            rates = class_rates(mentioned, hallucinated, kappa)
            for name, count in summed(tested, 0).items():
                rate = min(max(rates.rate(name), 1e-4), 1 - 1e-4)
                wrong = summed(tested, 1).get(name, 0)
                losses[kappa] -= wrong * math.log(rate) + (count - wrong) * math.log1p(-rate)
    return max(kappas, key=lambda kappa: (-losses[kappa], kappa))


def summed(pictures: Sequence[Mapping[str, tuple[int, int]]], which: int) -> dict[str, int]:
    """By class, the sum over pictures of the mentions (`which` 0) or the hallucinated mentions (1)."""
    found: dict[str, int] = {}
    for one in pictures:
        for name, counts in one.items():
            found[name] = found.get(name, 0) + counts[which]
    return found


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise SettingError(f"{name} must lie in 0 to 1, got {value}")
    return float(value)


def _finite(scores: np.ndarray) -> np.ndarray:
    values = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError("a score is no finite number")
    return values


def _logit(rate: float) -> float:
    held = min(max(rate, 1e-4), 1 - 1e-4)
    return math.log(held) - math.log1p(-held)
