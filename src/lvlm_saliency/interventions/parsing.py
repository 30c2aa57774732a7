"""Reads methods and benchmarks written as `name:setting=value,...`."""

from __future__ import annotations

import math
import re
from typing import Any

from lvlm_saliency.errors import SettingError

LAYERS = re.compile(r"\d+(-\d+)?(\+\d+(-\d+)?)*")
BETWEEN_METHODS = re.compile(r"\+(?=\s*[A-Za-z])")
WORDS = {"true": True, "false": False, "none": None}


def parse_methods(text: str) -> list[Any]:
    """`sgrs`, `sgrs:alpha=0.9,seed=3` or `sgrs:alpha=0.9+locore:layers=4-6+9` as method objects.

    A `+` before a letter joins methods, a `+` before a digit joins layers. The name of a preset file (`tuned.yaml`)
    gives the file's methods. Raises `SettingError`, and `InputError` for a file that cannot be read.
    """
    from lvlm_saliency.interventions.preset_files import is_preset, load_preset
    from lvlm_saliency.interventions.registry import method

    if is_preset(text):
        return load_preset(text.strip())
    return [method(name, **settings) for name, settings in parse_specs(text)]


def parse_specs(text: str, *, joined: bool = True) -> list[tuple[str, dict[str, Any]]]:
    """The names and settings in `text`, without looking up the methods. Unless `joined`, a `+` does not join methods.

    Raises `SettingError`.
    """
    specs = []
    for part in BETWEEN_METHODS.split(text) if joined else [text]:
        name, _, settings = part.strip().partition(":")
        if not name:
            raise SettingError(f"no method named in {text!r}; write NAME or NAME:SETTING=VALUE,...")
        specs.append((name.strip().lower(), _settings(settings, part)))
    return specs


def _settings(text: str, part: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for item in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = (piece.strip() for piece in item.partition("="))
        if not equals or not key or not value:
            raise SettingError(f"cannot read {item!r} in method {part!r}; write SETTING=VALUE, with commas between")
        if key in result:
            raise SettingError(f"{key!r} is set twice in method {part!r}; set it once")
        result[key] = parse_layers(value) if key == "layers" else _value(value)
    return result


def _value(text: str) -> Any:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if isinstance(value, float) and (math.isnan(value) or (math.isinf(value) and text[-1:].isdigit())):
            raise SettingError(f"{text} is no number that can be used; write a finite one")
        return value
    return text


def parse_layers(text: str) -> list[int] | None:
    """`6`, `4-6` or `4-6+9` (also with commas) as sorted layer numbers; `all` and `none` as None, all layers.

    Raises `SettingError`.
    """
    if text.strip().lower() in ("all", "none"):
        return None
    compact = re.sub(r"\s*[,+]\s*", "+", text.strip())
    if not LAYERS.fullmatch(compact):
        raise SettingError(f"cannot read layers {text!r}; write for example 6, 4-6 or 4-6+9, counted from 0")
    layers: set[int] = set()
    for piece in compact.split("+"):
        first, _, last = piece.partition("-")
        if last and int(last) < int(first):
            raise SettingError(f"layers {piece!r} run backwards; write {last}-{first}")
        if int(last or first) > 10_000:
            raise SettingError(f"layer {last or first} does not exist in any model")
        layers.update(range(int(first), int(last or first) + 1))
    return sorted(layers)
