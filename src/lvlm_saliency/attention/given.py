"""Checks on the `methods` argument: that they are methods, and, for a trace, that they edit rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lvlm_saliency.attention.parts import Bindable, Role
from lvlm_saliency.errors import SettingError


def given_methods(methods: Any) -> list[Bindable]:
    """The methods as a list. A single method may be passed without a list.

    Raises:
        SettingError: a name, a class, something else that is not a method, or the same method twice.
    """
    given: list[Any] = list(methods) if isinstance(methods, (list, tuple)) else [methods]
    for method in given:
        if isinstance(method, str):
            raise SettingError(f"{method!r} is not a method but a name: pass ls.method({method!r}, ...)")
        if isinstance(method, type):
            raise SettingError(f"{method.__name__} is not a method but a class: pass {method.__name__}(...)")
        if not isinstance(method, Bindable):
            raise SettingError(f"{method!r} is not a method: pass LocoRE(...), SGRS(...) or ls.method(name, ...)")
    names = [method.name for method in given]
    for name in names:
        if names.count(name) > 1:
            raise SettingError(f"{name} is given twice: its two settings would act on top of each other; give one")
    return given


def editing(methods: Iterable[Bindable]) -> list[Bindable]:
    """The methods that act inside the model's own forward pass; a trace of a text written under them applies them."""
    return [method for method in methods if Role.ROWS in method.roles]


def traced_methods(methods: Any) -> list[Bindable]:
    """The methods of a trace: each edits attention rows in the model's own forward pass.

    Raises:
        SettingError: what `given_methods` refuses, or a method that edits no rows because it contrasts several passes,
            chooses tokens, or only observes. The message says what to do instead.
    """
    given = given_methods(methods)
    for method in given:
        if Role.ROWS in method.roles:
            continue
        raise SettingError(
            f"{method.name} {_does(method.roles)} and edits no attention rows, so a trace cannot be made under it: "
            "leave it out, and the rows are those of the model's own pass over that text"
        )
    return given


def _does(roles: Role) -> str:
    if Role.LOGITS in roles:
        return "makes its logits of other passes beside the model's own"
    if Role.TOKENS in roles:
        return "chooses tokens"
    return "runs the loop of a generation" if Role.LOOP in roles else "hears which tokens are chosen"
