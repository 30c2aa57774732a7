"""The families that see, as parameters of tests: those of `MORE` are slow, and skipped where their packages are not."""

from __future__ import annotations

import pytest

from . import FAMILIES, MORE, Family

NO_GRID = ("deepseek_ocr2",)
ALL = {**FAMILIES, **MORE}
SEEING = [
    *(name for name, family in FAMILIES.items() if not family.text_only),
    *(pytest.param(name, marks=pytest.mark.slow) for name in MORE if name not in NO_GRID),
]


def family_of(name: str) -> Family:
    if ALL[name].needs:
        pytest.importorskip(ALL[name].needs)
    return ALL[name]
