"""The rows of the table: every detector as it is by default, and the readings of it that papers and code differ in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from lvlm_saliency.detection.base import NOMINAL, Depth, Detector
from lvlm_saliency.detection.fitted import Fittable
from lvlm_saliency.detection.registry import detector, detectors
from lvlm_saliency.detection.risk import OfRiskModel
from lvlm_saliency.errors import SettingError, did_you_mean

OTHER_MODES: dict[str, tuple[dict[str, Any], ...]] = {
    "nll": ({"mode": "sum"},),
    "pas": ({"mode": "per_token"},),
    "lookback": ({"mode": "prompt"},),
    "internal-confidence": ({"mode": "plain", "subtokens": "first"},),
    "glsim": ({"mode": "paper"},),
    "sadt": ({"mode": "official_code"},),
    "blank-picture": ({"mode": "divergence"},),
    "overthinking-trained": ({"repeat": False},),
    "causal-risk": ({"hidden": True}, {"asked": True}),
}
"""Further settings that are rows of their own."""
OURS = ("risk", "causal-risk", "grounded-risk")
"""The detectors of this package: in each class of cost one row of theirs is held against the published ones."""
AS_SHIPPED = "causal-risk as it ships"
"""The row of the causal risk whose file is in the package, fitted on pictures of its own."""
REDUCTIONS = ("last", "mean", "max")
CLASSES = (
    "free: one pass",
    "hidden states: the same pass",
    "a backward pass",
    "further passes",
)
"""What a score costs, the cheapest first."""


@dataclass(frozen=True)
class Row:
    """A detector with settings.

    Attributes:
        label: what tables call it.
        main: whether it stands in the main table: the detector as it is by default, and every setting of ours.
        fits: whether it is fitted on other pictures.
    """

    label: str
    detector: Detector
    main: bool = False
    fits: bool = False

    @property
    def name(self) -> str:
        """The detector's registered name."""
        return self.detector.name

    @property
    def ours(self) -> bool:
        """Whether it is of this package, and not published."""
        return self.name in OURS

    @property
    def cost(self) -> str:
        """Its class of `CLASSES`."""
        return cost_class(self.detector)


def cost_class(one: Detector) -> str:
    """What a detector costs beyond the pass over the text, one of `CLASSES`."""
    needs = one.needs(NOMINAL)
    if needs.extra - {"words"}:
        return CLASSES[3]
    if needs.gradient:
        return CLASSES[2]
    hidden = needs.text or needs.image or needs.prompt or needs.image_lens or needs.prompt_lens or needs.text_lens
    return CLASSES[1] if hidden else CLASSES[0]


def chosen(asked: str) -> list[str]:
    """The names that "all" or "svar+glsim" stands for, in the order of tables.

    Raises:
        SettingError: an unknown name.
    """
    names = [part.strip().lower() for part in asked.replace(",", "+").split("+") if part.strip()]
    known = detectors()
    for name in names:
        if name not in (*known, "all"):
            raise SettingError(f"unknown detector {name!r}{did_you_mean(name, [*known, 'all'])}")
    return known if "all" in names else [name for name in known if name in names]


def rows_of(names: Sequence[str], several_tokens: bool) -> list[Row]:
    """All rows of these detectors. several_tokens: whether some word has more than one, so that it matters which."""
    found = []
    for name in names:
        one = detector(name)
        learns = one.fit == "trained" and isinstance(one, Fittable)
        found.append(Row(name, one, main=True, fits=learns or one.fit == "scale"))
        for where in one.places:
            if where != one.where:
                found.append(Row(f"{name} at {where}", detector(name, where=where), fits=found[-1].fits))
        for settings in OTHER_MODES.get(name, ()):
            told = [key if value is True else f"{key} {value}" for key, value in settings.items() if key != "subtokens"]
            found.append(Row(f"{name} ({', '.join(told)})", detector(name, **settings), main=name in OURS, fits=learns))
        if name == "lens-cosine":
            found.append(Row(f"{name} (less class means)", one, fits=True))
        if several_tokens and one.granularity == "token" and not isinstance(one, Fittable):
            others = [how for how in REDUCTIONS if how != one.subtokens]
            found += [Row(f"{name}, {how} token", detector(name, subtokens=how)) for how in others]
    return found


def settings_of(row: Row) -> dict[str, str]:
    """The detector's settings, for the name of what is kept."""
    values = {field.name: getattr(row.detector, field.name) for field in fields(row.detector)}
    told = {name: repr(value) for name, value in values.items() if name not in ("weights", "model")}
    # Another risk model gives other scores: what was kept of the one before must not be read as its own.
    one = row.detector
    return {**told, "model": one.digest()} if isinstance(one, OfRiskModel) and not row.fits else told


def layers_of(row: Row, depth: Depth) -> list[int]:
    """The layers whose attention it reads, on a model of this depth."""
    return sorted(row.detector.needs(depth).attention)
