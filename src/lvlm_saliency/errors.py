"""The exceptions that users see. The message is one line that says what is wrong and what to do about it.

All derive from `LvlmSaliencyError`; the command line prints the message and exits with status `exit_status`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LvlmSaliencyError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_status = 2


class InputError(LvlmSaliencyError, ValueError):
    """An argument, a file or another input of the user's cannot be used as it is."""


class ImageError(InputError):
    """A picture cannot be read, or is refused: missing, truncated, not a picture, far too large."""


class PromptError(InputError):
    """A prompt does not fit: empty, too long, or with the wrong number of image placeholders."""


class SettingError(InputError):
    """An unknown method or setting, a value out of range, or methods that cannot be composed."""


class SequenceError(InputError):
    """Generated sequences do not belong to the inputs that they are passed with."""


class ModelError(InputError):
    """A model or its processor cannot be loaded."""


class UnsupportedModelError(ModelError):
    """The model loads, but its attention cannot be captured; the message names the reason."""


class NumericalError(LvlmSaliencyError, ArithmeticError):
    """The model produced NaN or infinite values where finite ones are needed."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the closest of `known`, or the list of all where none is close."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
