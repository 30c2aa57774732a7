"""Study `tune`: the best settings of a method for this model on a budget, and their effect on held-out pictures."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lvlm_saliency import __version__
from lvlm_saliency.errors import SettingError
from lvlm_saliency.evaluation.scoring import difference
from lvlm_saliency.evaluation.systems import GREEDY, System
from lvlm_saliency.files import json_lines as store
from lvlm_saliency.interventions.preset_files import Preset, model_of
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.page import Page
from lvlm_saliency.studies.tune.halving import plan
from lvlm_saliency.studies.tune.objective import Measured, Objective, measured
from lvlm_saliency.studies.tune.ranges import Space
from lvlm_saliency.studies.tune.search import BASELINES, PART, Halves, Search, search

Differences = Mapping[str, Mapping[str, Any]]
"""By figure: `difference` and `interval`, as `Bootstrap.differences` gives them."""


@dataclass(frozen=True)
class Tune:
    """Successive halving over settings drawn from `ranges`, on the dev half of the benchmark's pictures.

    Attributes:
        methods: `locore`, `sgrs`, `sgrs+locore` (`sgrs/locore`) or another method with ranges; `locore:space=logit`
            holds a setting.
        objective: chair_i, chair_s or f1, within the margins of `Objective`.
        budget: captions that are written to choose a setting, greedy and sampled ones included; judging it takes up
            to four more for each of the study's `n` held-out pictures.
        settings: how many are drawn, the default one included.
        keep: one in so many candidates goes on to the next rung.
    """

    name: ClassVar[str] = "tune"

    methods: str = "locore"
    objective: str = "chair_i"
    budget: int = 2000
    settings: int = 18
    keep: int = 3
    recall_margin: float = 0.02
    length_margin: float = 0.1
    form_margin: float = 0.02

    def __post_init__(self) -> None:
        Space(self.methods)
        self.aim()  # checks the objective and the margins
        plan(self.settings, self.keep, self.budget, len(BASELINES))

    def aim(self) -> Objective:
        return Objective(self.objective, self.recall_margin, self.length_margin, self.form_margin)

    def run(self, lab: Lab) -> Page:
        from lvlm_saliency.studies.tune.page import page

        if lab.from_file:
            raise SettingError("tune lets the model describe pictures again and again; --labels must name a benchmark")
        halves = Halves(lab.settings.labels)
        effort = {"settings": self.settings, "keep": self.keep, "budget": self.budget}
        found = search(lab, halves, Space(self.methods), self.aim(), **effort)
        effect = judge(lab, halves, found)
        shown = page(self, found, effect, lab.setup())
        shown.files["preset.yaml"] = self.preset(lab, found, effect, [f"{f.verdict}: {f.text}" for f in shown.findings])
        return shown

    def preset(self, lab: Lab, found: Search, effect: Effect, verdicts: list[str]) -> str:
        """The preset file: the best setting, or greedy decoding where no setting beat it, with what was measured."""
        chosen = found.best.methods if found.beats_greedy else ()
        setup = lab.setup()
        record = {
            "how": {
                "method": self.methods,
                "objective": self.objective,
                "margins": {
                    "recall": self.recall_margin,
                    "length": self.length_margin,
                    "well-formed": self.form_margin,
                },
                "settings tried": len(found.candidates),
                "captions": found.captions,
                "labels": setup["labels"],
                "max_new_tokens": lab.settings.max_new_tokens,
                "seed": lab.settings.seed,
            },
            "effect of": found.best.label,
            "against greedy": {
                "pictures chosen on": told(effect.dev, effect.dev_pictures),
                "held-out pictures": told(effect.held[found.best.label], effect.pictures),
            },
            "verdicts": verdicts,
            "command": lab.command,
            "version": __version__,
            "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        }
        model = {"id": setup["model"], **model_of(lab.structure), "weights": lab.fingerprint}
        return Preset(chosen, model, store.plain(record)).text()


@dataclass
class Effect:
    """The best candidate (and the usual setting) against greedy decoding, paired over pictures.

    Attributes:
        dev: on the pictures it was chosen on, of which there are `dev_pictures`.
        held: by label, on the held-out ones.
        over_usual: the best minus the usual setting on the held-out pictures; empty where both are the same
            setting.
        matched: by label, minus greedy captions cut to the same length.
        measured: by label, on the held-out pictures.
    """

    dev: Differences
    dev_pictures: int
    held: dict[str, Differences]
    over_usual: Differences
    matched: dict[str, Differences]
    measured: dict[str, Measured]
    seconds: float
    usual: System = field(repr=False)

    @property
    def pictures(self) -> int:
        return self.measured[GREEDY].pictures


def judge(lab: Lab, halves: Halves, found: Search) -> Effect:
    """Describe the held-out pictures under the best and the usual setting: the only time that they are looked at."""
    usual, best = found.candidates[0], found.best
    data, compared = lab.run([list(one.methods) for one in (usual, best)], benchmarks=[halves.test])
    results = {one.label: measured([data.detail(halves.name, one.label)[PART]]) for one in compared}
    draws = Bootstrap(lab.settings.resamples, lab.settings.seed)

    def against(one: Measured, other: Measured) -> Differences:
        return difference(draws, one.table, other.table)

    greedy, seen, theirs = results[GREEDY], found.measured(best.label), found.measured(GREEDY)
    controls = data.scores["benchmarks"][halves.name]["length_matched"]["differences"][PART]
    return Effect(
        dev=against(seen, theirs),
        dev_pictures=seen.pictures,
        held={label: against(one, greedy) for label, one in results.items() if label != GREEDY},
        over_usual=against(results[best.label], results[usual.label]) if best.label != usual.label else {},
        matched={one.label: controls[one.label] for one in (usual, best)},
        measured=results,
        seconds=sum(data.cost(halves.name, label)["seconds"] for label in results),
        usual=usual,
    )


def told(differences: Differences, pictures: int) -> dict[str, Any]:
    """Differences as a preset file keeps them: fractions, with four digits."""
    rounded = {
        name: {"difference": round(one["difference"], 4), "interval": [round(bound, 4) for bound in one["interval"]]}
        for name, one in differences.items()
    }
    return {"pictures": pictures, **rounded}
