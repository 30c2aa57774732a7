"""Figures that the paper reports ("Hallucination Begins Where Saliency Drops", ICLR 2026).

In percent: CHAIR on COCO captions, F1 and accuracy of POPE. Only figures that were read in the paper are listed; others
are shown as missing.
"""

from __future__ import annotations

from dataclasses import dataclass

FIGURES = ("CHAIR_s", "CHAIR_i", "f1", "accuracy")


@dataclass(frozen=True)
class Setting:
    """A row of a table: alpha of SGRS (0: without it), beta of LocoRE (0: without it), and `FIGURES` in their order."""

    alpha: float
    beta: float
    values: tuple[float, float, float, float]

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

    def value(self, figure: str) -> float:
        """The figure in percent."""
        return self.values[FIGURES.index(figure)]


@dataclass(frozen=True)
class Reported:
    """What the paper reports of one model. `types`: transformers' model types that this row speaks of."""

    model: str
    types: tuple[str, ...]
    rows: tuple[Setting, ...]
    further: tuple[Setting, ...] = ()

    @property
    def base(self) -> Setting:
        """The row without either method."""
        return self.rows[0]


LLAVA = Reported(
    "LLaVA-1.5",
    ("llava",),
    (
        Setting(0, 0, (48.0, 13.9, 85.4, 84.0)),
        Setting(0, 0.15, (38.4, 10.2, 86.9, 87.3)),
        Setting(0.6, 0, (36.5, 9.0, 86.9, 87.4)),
        Setting(0.6, 0.15, (35.6, 8.2, 87.0, 87.5)),
    ),
    further=(Setting(0.6, 1.0, (50.2, 20.9, 60.3, 57.8)),),
)
QWEN = Reported(
    "Qwen2-VL",
    ("qwen2_vl",),
    (
        Setting(0, 0, (25.0, 7.3, 86.6, 87.6)),
        Setting(0, 0.2, (23.5, 6.8, 87.5, 88.2)),
        Setting(0.6, 0, (20.5, 5.6, 87.9, 88.9)),
        Setting(0.6, 0.2, (19.3, 5.1, 88.0, 89.0)),
    ),
)
MODELS = (LLAVA, QWEN)
MISSING = (
    "The paper's figures on LLaVA-Bench, MM-Vet, VizWiz and ScienceQA, and CHAIR and POPE of InternVL, are not at hand "
    "here and not set beside anything."
)


def of_type(model_type: str) -> Reported | None:
    """The paper's figures for models of this type; None where there are none here."""
    return next((one for one in MODELS if model_type in one.types), None)
