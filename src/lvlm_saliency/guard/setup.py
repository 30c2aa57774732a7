"""Prepares a guard for a model: its judge, its vocabulary, its tokenizer."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import SettingError
from lvlm_saliency.guard.bans import Spellings
from lvlm_saliency.guard.calibration import KEY, Calibration
from lvlm_saliency.guard.judge import Judge, judge_of
from lvlm_saliency.guard.method import OFF
from lvlm_saliency.guard.vocabulary import Vocabulary, open_vocabulary
from lvlm_saliency.model.checkpoints import SCENES
from lvlm_saliency.risk.model import SHIPPED_CAUSAL, RiskModel

SHIPPED = SHIPPED_CAUSAL
"""The causal risk model of the shipped model, with its calibration."""


@dataclass(frozen=True)
class Setup:
    """A guard prepared for a model.

    Attributes:
        judge: None where a control decides.
        vocabulary: of object names.
        acts: whether the guard can ever act (its threshold is below 1, or a control decides).
    """

    judge: Judge | None
    vocabulary: Vocabulary
    acts: bool


def set_up(guard, model) -> Setup:
    """Prepare a guard for a model.

    Raises:
        SettingError: there is nothing to judge by; or the risk model looks ahead, or was not calibrated for this mode.
        InputError: a file cannot be used, or the risk model belongs to another architecture.
    """
    risk, calibration = _risk_of(guard.risk, model)
    words = guard.words
    if words is None and calibration is not None:
        words = calibration.record.get("words")
    vocabulary = _vocabulary_of("scenes" if words is None and _is_scenes(model) else str(words or "nouns"))
    if guard.verdicts is not None:
        return Setup(None, vocabulary, True)
    judge = judge_of(risk, calibration, guard.ask, guard.threshold, guard.recall_loss)
    if risk is not None:
        risk.check_architecture(model)
    acts = judge.threshold < 1 and (guard.threshold is not None or guard.recall_loss > 0)
    return Setup(judge, vocabulary, acts)


def _risk_of(given: Any, model) -> tuple[RiskModel | None, Calibration | None]:
    """The risk model and its calibration, where there are any."""
    if isinstance(given, RiskModel):
        return given, _calibration_of(given, "the guard's risk model")
    if given is None:
        given = SHIPPED if _is_scenes(model) and SHIPPED.exists() else OFF
    if given == OFF:
        return None, None
    if isinstance(given, (str, Path)):
        return _loaded(str(given), _stamp(given))
    raise SettingError(f"Guard: risk must be a risk model, the path of one, 'off' or None, got {given!r}")


def _stamp(path: str | Path) -> tuple[int, int] | None:
    """Time and size of a file, which change when it is rewritten; None where there is no file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return found.st_mtime_ns, found.st_size


def _is_scenes(model) -> bool:
    """Whether the model is the shipped one."""
    return str(model.config.name_or_path) == str(SCENES)


@functools.lru_cache(maxsize=8)
def _loaded(path: str, stamp: tuple[int, int] | None) -> tuple[RiskModel, Calibration | None]:
    risk = RiskModel.load(Path(path))
    return risk, _calibration_of(risk, path)


def _calibration_of(risk: RiskModel, where: str) -> Calibration | None:
    kept = risk.about.get(KEY)
    return None if kept is None else Calibration.from_json(kept, where)


def _vocabulary_of(source: str) -> Vocabulary:
    return _vocabulary(source, _stamp(source))


@functools.lru_cache(maxsize=8)
def _vocabulary(source: str, stamp: tuple[int, int] | None) -> Vocabulary:
    return open_vocabulary(source)


def tokenizer_of(processor: Any) -> Any:
    """The tokenizer of the processor that `generate` was given.

    Raises:
        SettingError: it was given none.
    """
    if processor is None:
        raise SettingError("the guard reads words: pass processor=processor to generate")
    return getattr(processor, "tokenizer", processor)


_SPELLINGS: dict[tuple[int, int], tuple[Any, Vocabulary, Spellings]] = {}


def spellings(tokenizer: Any, vocabulary: Vocabulary) -> Spellings:
    """The vocabulary as token ids; made once for each pair."""
    key = id(tokenizer), id(vocabulary)
    known = _SPELLINGS.get(key)
    if known is None or known[0] is not tokenizer or known[1] is not vocabulary:
        if len(_SPELLINGS) > 8:
            _SPELLINGS.clear()
        known = _SPELLINGS[key] = tokenizer, vocabulary, Spellings(tokenizer, vocabulary)
    return known[2]
