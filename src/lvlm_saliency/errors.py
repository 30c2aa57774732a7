"""The exceptions that users meet. Each carries one line that says what is wrong and what to do about it.

Every one is a `LvlmSaliencyError`; the command line prints its line and ends with `exit_status`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LvlmSaliencyError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_status = 2


class InputError(LvlmSaliencyError, ValueError):
    """Something that the user gave cannot be used as it is."""


class ImageError(InputError):
    """A picture cannot be read, or must not be (missing, truncated, not a picture, far too large)."""


class PromptError(InputError):
    """A prompt does not fit: empty, too long, or with the wrong number of image placeholders."""


class SettingError(InputError):
    """An unknown method or setting, a value out of range, or methods that cannot be composed."""


class SequenceError(InputError):
    """Generated sequences do not belong to the inputs that are said to have produced them."""


class ModelError(InputError):
    """A model or its processor cannot be loaded."""


class UnsupportedModelError(ModelError):
    """The model loads, but its attention cannot be captured; the message names the reason."""


class NumericalError(LvlmSaliencyError, ArithmeticError):
    """The model produced NaN or infinite values where finite ones are needed."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the closest of `known`, or the list of all when nothing is close."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
