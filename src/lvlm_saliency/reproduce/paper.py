"""Figures that the paper reports ("Hallucination Begins Where Saliency Drops", ICLR 2026, tables 2 and 3).

In percent, in the order of `FIGURES`. Table 2 has one decimal for every model; the row of SGRS alone and beta 1 are of
table 3, which has CHAIR and POPE only. What the paper does not report is None, and shown as missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import InputError
from lvlm_saliency.files.kinds import is_number
from lvlm_saliency.files.yaml_values import read_mapping

FIGURES = ("CHAIR_s", "CHAIR_i", "f1", "accuracy", "relative", "total", "fraction", "image_accuracy")
"""CHAIR on COCO captions, F1 and accuracy of POPE, LLaVA-Bench (in the wild), MM-Vet, VizWiz, ScienceQA."""


@dataclass(frozen=True)
class Setting:
    """A row of a table: alpha of SGRS (0: without it), beta of LocoRE (0: without it), and `FIGURES` in their order;
    those at the end may be missing."""

    alpha: float
    beta: float
    values: tuple[float | None, ...]

    @property
    def spec(self) -> str:
        """The row as `--method` takes it; "" for the row without either."""
        parts = [f"sgrs:alpha={self.alpha:g}"] if self.alpha else []
        parts += [f"locore:beta={self.beta:g}"] if self.beta else []
        return "+".join(parts)

    @property
    def name(self) -> str:
        """The row in words."""
        parts = [f"SGRS α {self.alpha:g}"] if self.alpha else []
        parts += [f"LocoRE β {self.beta:g}"] if self.beta else []
        return " + ".join(parts) or "neither"

    def value(self, figure: str) -> float | None:
        """The figure in percent; None where the paper does not report it."""
        place = FIGURES.index(figure)
        return self.values[place] if place < len(self.values) else None


@dataclass(frozen=True)
class Reported:
    """What the paper reports of one model.

    Attributes:
        types: transformers' model types that this row speaks of.
        width: of the model's hidden states, which tells models of one type apart; 0 where it is not known.
        further: rows of the ablation alone; empty for those of LLaVA-1.5-7B without figures.
    """

    model: str
    types: tuple[str, ...]
    width: int
    rows: tuple[Setting, ...]
    further: tuple[Setting, ...] = ()

    @property
    def base(self) -> Setting:
        """The row without either method."""
        return self.rows[0]


LLAVA = Reported(
    "LLaVA-1.5-7B",
    ("llava",),
    4096,
    (
        Setting(0, 0, (48.0, 13.9, 85.4, 84.0, 72.5, 30.5, 48.5, 65.5)),
        Setting(0, 0.15, (38.4, 10.2, 86.9, 87.3, 74.8, 33.8, 54.8, 67.5)),
        Setting(0.6, 0, (36.5, 9.0, 86.9, 87.4)),
        Setting(0.6, 0.15, (35.6, 8.2, 87.0, 87.5, 76.7, 36.0, 54.9, 67.8)),
    ),
    further=(Setting(0.6, 1.0, (50.2, 20.9, 60.3, 57.8)),),
)
QWEN = Reported(
    "Qwen2-VL-7B",
    ("qwen2_vl",),
    3584,
    (
        Setting(0, 0, (25.0, 7.3, 86.6, 87.6, 75.6, 63.2, 57.3, 74.1)),
        Setting(0, 0.2, (23.5, 6.8, 87.5, 88.2, 77.8, 64.8, 59.4, 74.2)),
        Setting(0.6, 0, (20.5, 5.6, 87.9, 88.9)),
        Setting(0.6, 0.2, (19.3, 5.1, 88.0, 89.0, 79.7, 67.7, 60.3, 75.3)),
    ),
    further=(Setting(0.6, 1.0, (37.5, 18.5, 55.3, 54.6)),),
)
MODELS = (
    LLAVA,
    Reported(
        "LLaVA-1.5-13B",
        ("llava",),
        5120,
        (
            Setting(0, 0, (47.2, 13.6, 86.6, 87.2, 72.5, 36.1, 60.5, 71.6)),
            Setting(0, 0.15, (43.8, 12.8, 87.7, 87.4, 74.0, 38.4, 62.1, 72.5)),
            Setting(0.6, 0, ()),
            Setting(0.6, 0.15, (39.8, 8.8, 88.1, 87.6, 76.8, 42.0, 64.0, 75.5)),
        ),
    ),
    QWEN,
    # The paper names no beta for Qwen2.5-VL; that of Qwen2-VL stands in.
    Reported(
        "Qwen2.5-VL-7B",
        ("qwen2_5_vl",),
        3584,
        (
            Setting(0, 0, (27.2, 9.0, 87.4, 88.4, 76.8, 62.2, 60.9, 79.0)),
            Setting(0, 0.2, (23.0, 8.5, 87.8, 88.7, 77.9, 64.8, 61.6, 80.8)),
            Setting(0.6, 0, ()),
            Setting(0.6, 0.2, (21.0, 6.5, 88.3, 89.5, 80.0, 66.2, 62.7, 82.1)),
        ),
    ),
    Reported(
        "Qwen2.5-VL-32B",
        ("qwen2_5_vl",),
        5120,
        (
            Setting(0, 0, (43.6, 9.5, 86.7, 87.8, 81.2, 72.2, 70.8, 89.0)),
            Setting(0, 0.2, (41.8, 8.5, 86.9, 88.0, 82.7, 73.1, 71.2, 89.3)),
            Setting(0.6, 0, ()),
            Setting(0.6, 0.2, ()),
        ),
    ),
)
NOTE = (
    "The paper's VizWiz figures are presumably of the server's test-dev split, whose answers are not public, and its "
    "LLaVA-Bench and MM-Vet figures depend on a judge that it does not name."
)


def of_model(config: Any) -> Reported | None:
    """The paper's figures for a model of this configuration: those of its type and width, else the first of its type,
    whose name then says so; None where there are none here."""
    width, alike = config.get_text_config().hidden_size, [one for one in MODELS if config.model_type in one.types]
    if not alike:
        return None
    for one in alike:
        if one.width == width:
            return one
    return replace(alike[0], model=f"{alike[0].model}, whose width is {alike[0].width} and not {width} as here")


LAYOUT = "model: NAME, and rows: a list of {alpha, beta} with any of " + ", ".join(FIGURES)


def read_reported(path: str | Path) -> Reported:
    """Published figures from a YAML file, in place of the paper's:

        model: InternVL-7B
        rows:
          - {alpha: 0, beta: 0, CHAIR_s: 46.6, CHAIR_i: 12.4, f1: 85.3, accuracy: 86.2}
          - {alpha: 0.6, beta: 0.15, CHAIR_s: 34.4, CHAIR_i: 7.5, f1: 87.6, accuracy: 87.7}

    Figures are in percent; the first row is the one without either method.

    Raises:
        InputError: the file cannot be used.
    """
    read = read_mapping(path, LAYOUT)
    rows, name = read.get("rows"), read.get("model")
    if set(read) != {"model", "rows"} or not isinstance(name, str) or not isinstance(rows, list) or len(rows) < 2:
        raise InputError(f"{path}: it must hold {LAYOUT}")
    settings = tuple(_row(row, f"{path}, row {number}") for number, row in enumerate(rows, 1))
    if settings[0].spec or any(not one.spec for one in settings[1:]):
        raise InputError(f"{path}: the first row, and it alone, must have alpha 0 and beta 0")
    return Reported(name, (), 0, settings)


def _row(row: Any, where: str) -> Setting:
    if not isinstance(row, Mapping) or not {"alpha", "beta"} <= set(row) <= {"alpha", "beta", *FIGURES}:
        raise InputError(f"{where} must have alpha, beta and any of {', '.join(FIGURES)}")
    if strange := [name for name, value in row.items() if not is_number(value) or value < 0]:
        raise InputError(f"{where}: {strange[0]} must be a number of at least 0, got {row[strange[0]]!r}")
    return Setting(float(row["alpha"]), float(row["beta"]), tuple(row.get(name) for name in FIGURES))
