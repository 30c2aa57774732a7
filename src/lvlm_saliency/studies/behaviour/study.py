"""Study `behaviour`: what SGRS refuses, how often, where, and what it does to the text."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import SettingError
from lvlm_saliency.evaluation.systems import GREEDY, SAMPLED, system
from lvlm_saliency.interventions.base import number
from lvlm_saliency.interventions.sgrs import SGRS
from lvlm_saliency.studies.behaviour.diversity import measures
from lvlm_saliency.studies.behaviour.first_draws import Draws, first_draws
from lvlm_saliency.studies.behaviour.parts_of_speech import tagger
from lvlm_saliency.studies.gate_records import write
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.labels import labeller
from lvlm_saliency.studies.page import Page
from lvlm_saliency.studies.tokens import TokenTable


@dataclass(frozen=True)
class Found:
    """What was measured.

    Attributes:
        draws: by candidate set ("top-5", ...), `Draws` of texts of the same pictures.
        texts: by way of decoding, the measures of `diversity` of each text, float64 `[texts]`, same pictures in the
            same order.
        words: first mentions of greedy captions.
        saliency: S(output) of each of those over the gate's layers, float `[words]`.
    """

    draws: dict[str, Draws]
    texts: dict[str, dict[str, np.ndarray]]
    words: TokenTable
    saliency: np.ndarray
    speech: str
    max_draws: int


@dataclass(frozen=True)
class Behaviour:
    """SGRS as written and with its candidates inside top-p, judged draw by draw.

    Attributes:
        pictures: how many are described with each candidate set, at most the study's `n`.
        alpha, top_k, window, max_draws: of SGRS.
        top_p: of the second candidate set.
        confident: the model counts as sure of a word that has at least this probability.
    """

    name: ClassVar[str] = "behaviour"

    pictures: int = 100
    alpha: float = 0.6
    top_k: int = 5
    window: int = 5
    max_draws: int = 3
    top_p: float = 0.9
    confident: float = 0.5

    def __post_init__(self) -> None:
        number("behaviour", "pictures", self.pictures, 2, whole=True)
        number("behaviour", "top_p", self.top_p, 0.01, 0.999)
        number("behaviour", "confident", self.confident, 0, 1)
        self.method(0)

    def method(self, seed: int) -> SGRS:
        """SGRS run step by step: in a batch of this size some text has a refusal at nearly every step, and blocks
        would not pay."""
        return SGRS(self.alpha, self.top_k, self.window, self.max_draws, execution="stepwise", seed=seed)

    def run(self, lab: Lab) -> Page:
        """Decode, judge, and write the page.

        Raises:
            SettingError: the labels belong to the texts of a file; those that SGRS writes have none.
        """
        from lvlm_saliency.studies.behaviour.page import page

        if lab.from_file:
            raise SettingError("behaviour lets the model describe pictures anew; --labels must name a benchmark")
        chosen = lab.settings
        n = self.pictures if chosen.n is None else min(self.pictures, chosen.n)
        benchmark = open_benchmark(chosen.labels, n=n, images=chosen.images, data=chosen.data)
        benchmark.check()
        label, (tag, speech) = labeller(benchmark), tagger(benchmark)
        method, tokenizer = self.method(chosen.seed), lab.reader.tokenizer
        draws: dict[str, Draws] = {}
        texts = self._plain(lab, len(benchmark.items))
        for top_p in (1.0, self.top_p):
            name = f"top-{self.top_k}" if top_p == 1 else f"top-{self.top_k} in top-p {top_p:g}"
            folder = lab.kept / "gate" / lab.fingerprint
            rows = write(lab.reader, benchmark, method, top_p, folder, lab.listener, f"SGRS, {name}", lab.pool)
            draws[name] = first_draws(rows, benchmark, label, tokenizer, tag, lab.reader.answers)
            texts[f"SGRS, {name}"] = measures([row["text"] for row in rows])
        words = lab.tokens().mentions(first=True)
        saliency = words.score("output", layers=method.target_layers(lab.structure))
        keep = np.isfinite(saliency)
        found = Found(draws, texts, words.take(keep), saliency[keep], speech, self.max_draws)
        setup = lab.setup() | {"SGRS": ", ".join(f"{k}={v}" for k, v in self._told().items())}
        return page(self, found, chosen.resamples, chosen.seed, setup)

    def _plain(self, lab: Lab, count: int) -> dict[str, dict[str, np.ndarray]]:
        """Greedy and sampled texts of the same pictures, from the run that other studies read as well."""
        data, _ = lab.run([])
        (name,) = data.scores["benchmarks"]
        found = {}
        for label in (GREEDY, SAMPLED):
            answers = data.folder.answers(name, system(label, lab.settings.seed))
            found[label] = measures([answers[index]["text"] for index in range(count)])
        return found

    def _told(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name in _OF_SGRS}


_OF_SGRS = ("alpha", "top_k", "window", "max_draws")
