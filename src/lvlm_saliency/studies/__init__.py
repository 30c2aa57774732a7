"""The paper's claims as experiments that anyone can run: `lvlm-saliency study NAME`.

A study is a frozen dataclass whose fields are its settings. `run(lab)` measures with the model, labelled texts, traces
and evaluation runs of the `Lab`, and returns a `Page`.
"""

from __future__ import annotations

import dataclasses
from importlib import import_module
from typing import Any, ClassVar, Protocol

from lvlm_saliency.errors import SettingError, did_you_mean
from lvlm_saliency.extras import require
from lvlm_saliency.interventions.parsing import parse_specs

STUDIES = {
    "separation": ("separation.study:Separation", "Do hallucinated words have lower saliency? With the controls."),
    "decay": (
        "decay.study:Decay",
        "Does weaker attention to earlier words cause hallucination? A causal experiment.",
    ),
    "behaviour": (
        "behaviour.study:Behaviour",
        "What does SGRS refuse, how often, where, and what becomes of the text?",
    ),
    "ablation": ("ablation.study:Ablation", "Which settings matter, and is the score better than chance?"),
    "latency": ("latency.study:Latency", "What every method costs on this machine."),
    "tune": ("tune.study:Tune", "The best settings for this model on a budget, with their held-out effect."),
    "detect": ("detect.study:Detect", "A calibrated risk for every object word, and what each signal adds to it."),
    "detectors": (
        "detect.published.study:Published",
        "Published detectors on one label set, with controls (also: study detect --detector all).",
    ),
    "factual": (
        "factual.study:Factual",
        "Are wrong answers to questions of fact told by low saliency? For a model of text; not a part of all.",
    ),
}
"""Name to ("module:Class", the question in a line), in the order in which `all` runs them."""

APART = ("factual",)
"""Studies that `all` leaves out, because they need a language model; the others ask about pictures."""


class Study(Protocol):
    """A study, as the command line sees it."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def run(self, lab: Any) -> Any:
        """The study's `page.Page`, from a `lab.Lab`."""


def open_studies(specs: list[str]) -> list[Study]:
    """The studies that specs such as `separation`, `separation:bins=20` or `all` name, each once.

    Raises:
        SettingError: no such study, no such setting, or a value out of range.
    """
    parsed = [pair for spec in specs for pair in parse_specs(spec, joined=False)]
    named = [pair for pair in parsed if pair[0] != "all"]
    if len(named) < len(parsed):
        named += [(name, {}) for name in STUDIES if name not in {one for one, _ in named} | set(APART)]
    for name, _ in named:
        if name not in STUDIES:
            raise SettingError(f"no study {name!r}{did_you_mean(name, [*STUDIES, 'all'])}")
        if [one for one, _ in named].count(name) > 1:
            raise SettingError(f"{name} is given twice; give each setting an --out of its own")
    return [_opened(name, settings) for name, settings in named]


def written(study: Study) -> str:
    """The study as `open_studies` takes it, with the settings that differ from the defaults."""
    values = {field: getattr(study, field.name) for field in dataclasses.fields(study)}
    told = ",".join(f"{field.name}={value}" for field, value in values.items() if value != field.default)
    return f"{study.name}:{told}" if told else study.name


def _opened(name: str, settings: dict[str, Any]) -> Study:
    module, _, attribute = STUDIES[name][0].partition(":")
    require("studies", "matplotlib", "scipy", "sklearn", what="a study")
    kind = getattr(import_module(f"{__name__}.{module}"), attribute)
    known = {field.name for field in dataclasses.fields(kind)}
    for setting in settings:
        if setting not in known:
            raise SettingError(f"{name} has no setting {setting!r}{did_you_mean(setting, known)}")
    return kind(**settings)
