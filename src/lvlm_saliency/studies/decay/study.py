"""Study `decay`: does weaker attention to what was written correctly cause hallucination? An experiment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.interventions.base import layer_numbers, number
from lvlm_saliency.studies.decay import page as decay_page
from lvlm_saliency.studies.decay.arms import Arm, write
from lvlm_saliency.studies.decay.effects import Effects
from lvlm_saliency.studies.decay.weakening import Strength
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.labels import check_source
from lvlm_saliency.studies.page import Page


@dataclass(frozen=True)
class Decay:
    """factors: r, how much of the attention to confident correct words is left. controls: those of them that the
    control is run for. confidence: least probability of a word's first token. partners: tokens of the control for each
    weakened one. layers: decoder layers to act on, default all."""

    name: ClassVar[str] = "decay"

    factors: Sequence[float] = (0.8, 0.6, 0.4, 0.2)
    controls: Sequence[float] = (0.6, 0.2)
    confidence: float = 0.5
    partners: int = 5
    layers: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for name in ("factors", "controls"):
            given = getattr(self, name)
            values = (given,) if isinstance(given, (int, float)) else tuple(given)
            for value in values:
                number("decay", name, value, 0.001, 1)
            if not values or 1 in values:
                raise SettingError(f"decay: {name} must lie below 1 (r = 1 is always run), got {given!r}")
            object.__setattr__(self, name, tuple(sorted({float(value) for value in values}, reverse=True)))
        number("decay", "confidence", self.confidence, 0, 1)
        number("decay", "partners", self.partners, 1, whole=True)
        object.__setattr__(self, "layers", layer_numbers("decay", self.layers))

    def run(self, lab: Lab) -> Page:
        """The arms, each over the same pictures, and their page.

        Raises:
            InputError: the labels come from a file, or the model writes no confident correct word.
        """
        if lab.from_file:
            raise InputError(
                "decay lets the model write anew and must label what it writes: give --labels scenes-caption or chair"
            )
        chosen = lab.settings
        benchmark = open_benchmark(chosen.labels, n=chosen.n, images=chosen.images, data=chosen.data)
        benchmark.check()
        check_source(benchmark.name)
        folder = lab.kept / "decay" / lab.fingerprint

        layers = None if self.layers is None else tuple(self.layers)

        def arm(factor: float, elsewhere: bool = False) -> Arm:
            strength = Strength(factor, elsewhere, self.confidence, self.partners, layers, chosen.seed)
            name = "r = 1" if factor == 1 else f"r = {factor:g}{', elsewhere' if elsewhere else ''}"
            return write(lab.reader, benchmark, strength, folder, lab.listener, name, lab.pool)

        lab.load()
        base = arm(1.0)
        if not base.total("held"):
            raise InputError(
                f"none of {len(base.rows)} texts names an object that is there with a probability of at least "
                f"{self.confidence:g}: there is no hold to weaken; take more pictures (--n) or decay:confidence=0.2"
            )
        treated = [arm(factor) for factor in self.factors]
        control = [arm(factor, elsewhere=True) for factor in self.controls]
        return decay_page.page(Effects(base, treated, control, chosen.resamples, chosen.seed), self, lab.setup())
