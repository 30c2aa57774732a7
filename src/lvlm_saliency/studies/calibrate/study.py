"""`lvlm-saliency guard calibrate`: a causal risk for a model, its weights and thresholds, and what they reach."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency import __version__
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation.summary.content import RunData
from lvlm_saliency.files import json_lines as store
from lvlm_saliency.files import read_text, write_text
from lvlm_saliency.guard.calibration import KEY
from lvlm_saliency.interventions.preset_files import Preset, model_of
from lvlm_saliency.model import provenance
from lvlm_saliency.risk.fitting import FOLDS, pictures_of_each
from lvlm_saliency.risk.model import RiskModel, architecture
from lvlm_saliency.stats.clusters import Estimate, Resampler, mean
from lvlm_saliency.studies.calibrate.fitting import Candidate, asked, candidates, missed, questions
from lvlm_saliency.studies.calibrate.objects import Objects, gather
from lvlm_saliency.studies.calibrate.parts import ASKED_SHARES, CALIBRATE, FIT, REPORT, SHARES, TUNE, Part, parts_of
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.page import Page

RISK, PRESET, WORDS = "guard.safetensors", "guard.yaml", "words.txt"
"""Files of the folder that a calibration writes."""
COMMONEST = 10


@dataclass(frozen=True)
class Reached:
    """What a mode does to greedy texts of pictures that nothing was fitted on, where it acts above its threshold.

    Attributes:
        promised: `recall_loss`.
        threshold: the risk above which the guard acts.
        lost: mean over pictures of the share of correct objects above the threshold.
        found: share of absent objects above the threshold.
        asked: questions per text.
        classes: for the most frequent classes (name, correct, correct above the threshold, absent, absent above it).
    """

    promised: float
    threshold: float
    lost: Estimate
    found: Estimate
    asked: float
    classes: Sequence[tuple[str, int, int, int, int]]


@dataclass(frozen=True)
class Results:
    """chosen: the candidate that missed least on the tuning pictures; tried: kind to (missed, absent, lost) there;
    reached: by mode; run: the guard and greedy decoding on the reporting pictures, None where texts come from a file or
    nothing can be acted on."""

    chosen: Candidate
    tried: Mapping[str, tuple[int, int, float]]
    mode: str
    reached: Mapping[str, Reached]
    counts: Mapping[str, tuple[int, int, int]]
    run: RunData | None
    label: str


@dataclass(frozen=True)
class Calibrate:
    """recall_loss: the share of correct objects that may be acted on; risk: whether a risk model is learned; ask:
    whether the guard asks the model."""

    name: ClassVar[str] = "guard"

    recall_loss: float = 0.01
    risk: bool = True
    ask: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.recall_loss < 1:
            raise SettingError(f"recall_loss must lie between 0 and 1, got {self.recall_loss}")
        if not (self.risk or self.ask):
            raise SettingError("with neither a risk model nor questions there is nothing to calibrate")

    def run(self, lab: Lab) -> Page:
        """Everything; the guard's files go into DIR on the way."""
        from lvlm_saliency.studies.calibrate.page import page

        parts = parts_of(lab, SHARES if self.risk else ASKED_SHARES)
        objects = {name: gather(lab, part, traced=self.risk, ask=self.ask) for name, part in parts.items()}
        if self.risk:
            check(objects)
            chosen, mode, tried = self.choose(lab, objects)
        else:
            check_asked(objects)
            chosen, mode, tried = asked(objects[CALIBRATE]), "ask", {}
        threshold = chosen.calibration.mode(mode).threshold(self.recall_loss)
        words, text = words_of(lab, objects)
        if text is not None:
            write_text(Path(lab.out) / WORDS, text)
        if self.risk:
            self.finished(lab, chosen, objects, words if text is None else None).save(Path(lab.out) / RISK)
        guard = self.guard(mode, WORDS if text is not None else words, threshold)
        run, label = self.tried(lab, parts[REPORT], guard) if threshold < 1 else (None, "")
        reached = {
            one: reached_by(chosen, one, objects[REPORT], self.recall_loss, lab) for one in chosen.calibration.modes
        }
        counts = {name: (one.pictures, len(one), int(one.y.sum())) for name, one in objects.items()}
        results = Results(chosen, tried, mode, reached, counts, run, label)
        shown = page(self, lab, results)
        shown.files[PRESET] = self.preset(lab, results, guard)
        return shown

    def choose(self, lab: Lab, objects: Mapping[str, Objects]) -> tuple[Candidate, str, dict[str, Any]]:
        """The candidate that misses fewest absent objects on the tuning pictures at the loss that was asked for, the
        simpler one where they tie."""
        found = candidates(objects[FIT], objects[CALIBRATE], lab.settings.seed)
        mode = "both" if self.ask and "both" in found[0].calibration.modes else "risk"
        if self.ask and mode != "both":
            lab.listener.note("the tokenizer has no words for yes and no: the guard will not ask the model")
        tried = {one.kind: missed(one, mode, objects[TUNE], self.recall_loss) for one in found}
        return min(found, key=lambda one: tried[one.kind][0]), mode, tried

    def finished(self, lab: Lab, chosen: Candidate, objects: Mapping[str, Objects], words: str | None) -> RiskModel:
        """The risk model with its calibration, as it is kept; words: the vocabulary, where it ships."""
        if chosen.risk is None:
            raise InputError(f"{chosen.kind} learned no risk model, so there is none to keep")
        setup, learn = lab.setup(), objects[FIT]
        about = {
            "model": setup["model"],
            "architecture": architecture(lab.structure),
            "weights": lab.fingerprint,
            "labels": setup["labels"],
            "classifier": chosen.kind,
            "trained on": f"first mentions of objects in {learn.texts} texts about {learn.pictures} pictures",
            "seed": lab.settings.seed,
            "versions": provenance.versions(),
            KEY: dataclasses.replace(chosen.calibration, record={"words": words}).to_json(),
        }
        opening = np.unique(np.concatenate([one.token for one in objects.values()]))
        return dataclasses.replace(chosen.risk, objects=opening, about=store.plain(about))

    def guard(self, mode: str, words: str, threshold: float) -> Any:
        """The calibrated guard as a method, its files named as they lie beside the preset."""
        from lvlm_saliency.interventions.registry import method

        if not self.risk:
            return method("guard", risk="off", threshold=threshold, words=words)
        return method("guard", risk=RISK, ask=mode == "both", recall_loss=self.recall_loss, words=words)

    def tried(self, lab: Lab, part: Part, guard: Any) -> tuple[RunData | None, str]:
        """The guard itself on the reporting pictures, where the model can generate new captions for them."""
        if part.spec is None:
            return None, ""
        here = {name: str(Path(lab.out) / getattr(guard, name)) for name in ("risk", "words")}
        here = {name: path for name, path in here.items() if Path(path).is_file()}
        data, compared = lab.run([dataclasses.replace(guard, **here)], benchmarks=[part.spec], n=part.pictures)
        return data, compared[-1].label

    def preset(self, lab: Lab, results: Results, guard: Any) -> str:
        """guard.yaml: the guard, its files beside it, and what it reached."""
        setup, told = lab.setup(), results.reached[results.mode]
        record = {
            "how": {"labels": setup["labels"], "seed": lab.settings.seed, "max_new_tokens": setup["max_new_tokens"]},
            "pictures": {name: pictures for name, (pictures, _, _) in results.counts.items()},
            "on pictures it never saw": {
                "share of correct objects acted on": _rounded(told.lost),
                "share of absent objects acted on": _rounded(told.found),
            },
            "command": lab.command,
            "version": __version__,
            "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        }
        model = {"id": setup["model"], **model_of(lab.structure), "weights": lab.fingerprint}
        return Preset([guard], model, store.plain(record)).text()


def _rounded(estimate: Estimate) -> list[float]:
    """Value and interval, four digits."""
    return [round(value, 4) for value in (estimate.value, estimate.low, estimate.high)]


def check(objects: Mapping[str, Objects]) -> None:
    """Raise InputError where a part has too few objects to learn from."""
    learn = objects[FIT].take(objects[FIT].greedy)
    bad, good = pictures_of_each(learn.y, learn.picture)
    if min(bad, good) < FOLDS:
        raise InputError(
            f"{int(learn.y.sum())} absent and {int((~learn.y).sum())} correct objects in the texts of {learn.pictures} "
            "pictures: too few to learn from; give more pictures (--n)"
        )


def check_asked(objects: Mapping[str, Objects]) -> None:
    """Raise where there is no answer, or no object, to take a threshold from."""
    if not all(one.asked for one in objects.values()):
        raise SettingError(
            "the tokenizer has no words for yes and no, so the model cannot be asked: learn a risk model"
        )
    if not len(objects[CALIBRATE]):
        raise InputError("the texts name no object, so there is nothing to calibrate on")


def words_of(lab: Lab, objects: Mapping[str, Objects]) -> tuple[str, str | None]:
    """The vocabulary that finds objects in texts: its name and, where it does not ship, the content of its file: the
    list that the labels were read with, or the names in a file of labelled texts."""
    if lab.from_file:
        names = sorted({str(name) for one in objects.values() for name in one.name})
        return WORDS, "".join(f"{name}\n" for name in names)
    opened = open_benchmark(lab.settings.labels, n=lab.settings.n, images=lab.settings.images, data=lab.settings.data)
    known = opened.words()
    if known is None:
        raise InputError(f"{lab.settings.labels}: its answers name no objects, so there is nothing to calibrate on")
    return (known, None) if isinstance(known, str) else (WORDS, read_text(known))


def reached_by(chosen: Candidate, mode: str, objects: Objects, recall_loss: float, lab: Lab) -> Reached:
    """What acting above the mode's threshold does to these objects; intervals redraw pictures."""
    how = chosen.calibration.modes[mode]
    score, t = chosen.final(mode, objects), how.threshold(recall_loss)
    above, right = score > t, ~objects.y
    shares = np.array([float((one > t).mean()) if len(one) else 0.0 for one in objects.by_picture(score, right)])
    draws = lab.settings.resamples, lab.settings.seed
    lost = Resampler(np.arange(objects.pictures), *draws).estimate(mean(shares))
    absent = Resampler(objects.picture[objects.y], *draws).estimate(mean(above[objects.y].astype(float)))
    count = questions(mode, how, t, chosen.risk, objects)
    names, counts = np.unique(objects.name.astype(str), return_counts=True)
    common = names[np.argsort(-counts, kind="stable")][:COMMONEST]
    classes = []
    for name in common:
        here = objects.name == name
        classes.append(
            (
                str(name),
                int((here & right).sum()),
                int((here & right & above).sum()),
                int((here & objects.y).sum()),
                int((here & objects.y & above).sum()),
            )
        )
    return Reached(recall_loss, t, lost, absent, count / max(objects.texts, 1), classes)
