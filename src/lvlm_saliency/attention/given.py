"""Methods as a user gives them: checked to be methods, and, for a trace, to be ones that edit rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lvlm_saliency.errors import SettingError

_PARTS = ("edit_rows", "hooks", "selector", "search", "shaper")


def given_methods(methods: Any) -> list:
    """The methods as a list; one alone may come without a list.

    Raises:
        SettingError: a name, a class, something else that is not a method, or the same method twice.
    """
    methods = list(methods) if isinstance(methods, (list, tuple)) else [methods]
    for method in methods:
        if isinstance(method, str):
            raise SettingError(f"{method!r} is not a method but a name: pass ls.method({method!r}, ...)")
        if isinstance(method, type):
            raise SettingError(f"{method.__name__} is not a method but a class: pass {method.__name__}(...)")
        if not any(hasattr(method, part) for part in _PARTS):
            raise SettingError(f"{method!r} is not a method: pass LocoRE(...), SGRS(...) or ls.method(name, ...)")
    names = [method.name for method in methods]
    for name in names:
        if names.count(name) > 1:
            raise SettingError(f"{name} is given twice: its two settings would act on top of each other; give one")
    return methods


def shapes(method: Any) -> bool:
    """Whether the method, as it is set, makes new logits of the model's."""
    return hasattr(method, "shaper") and getattr(method, "shapes_logits", True)


def traced_methods(methods: Sequence) -> list:
    """The methods of a trace: each edits attention rows in the model's own pass, which a trace repeats.

    Raises:
        SettingError: what `given_methods` refuses, or a method that edits no rows: it makes the logits of several
            passes, or chooses tokens. The message says what to do instead.
    """
    methods = given_methods(methods)
    for method in methods:
        if hasattr(method, "edit_rows") or hasattr(method, "hooks"):
            continue
        does = "makes its logits of other passes beside the model's own" if shapes(method) else "chooses tokens"
        raise SettingError(
            f"{method.name} {does} and edits no attention rows, so a trace cannot be made under it: "
            "leave it out, and the rows are those of the model's own pass over that text"
        )
    return methods
