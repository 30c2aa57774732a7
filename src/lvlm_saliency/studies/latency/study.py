"""Study `latency`: what every method costs on this machine, beside plain `model.generate`."""

from __future__ import annotations

import dataclasses
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.decoding.loop import generate
from lvlm_saliency.errors import LvlmSaliencyError, SettingError
from lvlm_saliency.evaluation.cost import PeakMemory
from lvlm_saliency.evaluation.systems import ALL, GREEDY, SAMPLED, System, check_name, served, system
from lvlm_saliency.interventions.base import number
from lvlm_saliency.interventions.registry import methods
from lvlm_saliency.model.input_checks import check_inputs
from lvlm_saliency.model.output import Cost, TokenRecord
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.latency.timing import Paired, paired
from lvlm_saliency.studies.page import Page

STRICT = "sgrs:alpha=0.9"
EXTRA = (STRICT, "sgrs+locore")
"""What `all` adds to the registered methods: the paper times the first, and recommends the second."""
NOISE, LOOP = "generate, again", "no method"
SLOW = 2.0
"""A method that takes more seconds for a text is timed in few pairs."""


@dataclass(frozen=True)
class Row:
    """One method's pairs against plain generation (`against`: greedy or sample), `tokens` new tokens each.

    Attributes:
        passes: forward and backward passes per new token, and draws refused per token (None where nothing is refused),
            mean of all pairs.
        rows: of the batch that one text needs in a pass.
        peak: bytes on the GPU, None without one.
    """

    label: str
    against: str
    timed: Paired
    tokens: int
    passes: tuple[float | None, float | None, float | None] = (None, None, None)
    rows: int = 1
    peak: int | None = None

    def record(self) -> dict[str, Any]:
        """JSON-ready."""
        low, high = self.timed.interval
        forwards, backwards, refused = self.passes
        return {
            "method": self.label,
            "against": self.against,
            "pairs": len(self.timed.own),
            "ratio": self.timed.median,
            "low": low,
            "high": high,
            "least": float(self.timed.ratios.min()),
            "most": float(self.timed.ratios.max()),
            "ms_per_token": 1000 * statistics.median(self.timed.own) / self.tokens,
            "forwards_per_token": forwards,
            "backwards_per_token": backwards,
            "rows": self.rows,
            "refused_per_token": refused,
            "peak_bytes": self.peak,
        }


@dataclass(frozen=True)
class Latency:
    """What each method costs, timed in pairs with plain generation.

    Attributes:
        tokens: new tokens of every text, neither more nor fewer.
        repeats: pairs of baseline and method; three for a method that takes more than 2 seconds a text.
        methods: what is timed, joined by "/"; "all": every registered method.
    """

    name: ClassVar[str] = "latency"

    tokens: int = 40
    repeats: int = 11
    methods: str = ALL

    def __post_init__(self) -> None:
        number("latency", "tokens", self.tokens, 2, whole=True)
        number("latency", "repeats", self.repeats, 1, whole=True)
        self.systems(0)

    def systems(self, seed: int) -> list[System]:
        """What is timed, each once. Those of `all` are optional: a model that they do not fit goes without.

        Raises:
            SettingError: an unknown method or setting.
        """
        found: dict[str, System] = {}
        for name in str(self.methods).split("/"):
            whole = name.strip().lower() == ALL
            check_name(name.strip())
            for one in (*methods(), *EXTRA) if whole else (name.strip(),):
                made = dataclasses.replace(system(one, seed), optional=whole)
                if made.label == GREEDY and not whole:
                    raise SettingError("latency: greedy decoding is what all are compared with; name another method")
                found.setdefault(made.label, made)
        return list(found.values())

    def run(self, lab: Lab) -> Page:
        """Every time is measured anew: kept ones would belong to another state of the machine."""
        from lvlm_saliency.studies.latency.page import page

        begin = _load()
        bench = _Bench(lab, self)
        chosen, left_out = served(self.systems(lab.settings.seed), lab.model)
        pairs = 3 + len(chosen)
        lab.listener.begin("timing", pairs, 0)
        rows = [bench.noise(), bench.loop()]
        lab.listener.advance("timing · plain generate", 2)
        for one in chosen:
            try:
                rows.append(bench.row(one))
            except LvlmSaliencyError as error:
                if not one.optional:
                    raise
                left_out[one.label] = str(error)
            lab.listener.advance(f"timing · {one.label}", 1)
        labels = {row.label for row in rows}
        strict = bench.between("sgrs", STRICT) if {"sgrs", STRICT} <= labels else None
        lab.listener.advance("timing", 1)
        setup = lab.setup() | {"load average": f"{begin} before, {_load()} after", "tokens": f"{self.tokens}, forced"}
        return page(rows, strict, left_out, setup, cuda=lab.model.device.type == "cuda")


def passes(results: Sequence[tuple[Sequence[TokenRecord], Cost]]) -> tuple[float, float, float | None]:
    """Forward passes, backward passes and refused draws per new token; the last None where nothing can be refused."""
    written = sum(len(steps) for steps, _ in results)
    gated = any(step.threshold is not None for steps, _ in results for step in steps)
    refused = sum(len(step.rejected) for steps, _ in results for step in steps)
    forwards, backwards = (sum(getattr(cost, name) for _, cost in results) for name in ("forwards", "backwards"))
    return forwards / written, backwards / written, refused / written if gated else None


class _Bench:
    """One picture, one question, and calls that write about it."""

    def __init__(self, lab: Lab, study: Latency):
        self.model, self.seed = lab.model, lab.settings.seed
        self.tokens, self.repeats = study.tokens, study.repeats
        picture, prompt = _asked(lab)
        self.inputs = lab.decoder.inputs([picture], [prompt])
        check_inputs(self.model, self.inputs, self.tokens)
        self.memory = PeakMemory(self.model.device)
        self.paired = partial(paired, pairs=self.repeats, device=self.model.device, slow=SLOW)

    def settings(self, draws: bool) -> dict[str, Any]:
        """Of every generation: one length, and the whole distribution where something is drawn."""
        warping = {"temperature": 1.0, "top_p": 1.0, "top_k": 0}
        chosen = warping if draws else dict.fromkeys(warping)
        length = {"max_new_tokens": self.tokens, "min_new_tokens": self.tokens}
        return {**length, "num_beams": 1, "do_sample": draws, **chosen}

    def plain(self, draws: bool) -> Any:
        return lambda _: self.model.generate(**self.inputs, **self.settings(draws))

    def ours(self, chosen: System) -> Any:
        """A call under a method. Each pair draws with a seed of its own, so that the median is over several texts."""

        def call(pair: int) -> Any:
            acting = [method.reseeded(pair) for method in chosen.methods]
            out = generate(self.model, self.inputs, acting, **self.settings(chosen.decides))
            return out.steps[0], out.cost

        return call

    def noise(self) -> Row:
        timed = self.paired(self.plain(False), self.plain(False))
        return Row(NOISE, GREEDY, timed, self.tokens)

    def loop(self) -> Row:
        return self.row(System(LOOP, ()))

    def row(self, chosen: System) -> Row:
        self.memory.reset()
        timed = self.paired(self.plain(chosen.decides), self.ours(chosen))
        peak = self.memory.bytes() if self.model.device.type == "cuda" else None
        against = SAMPLED if chosen.decides else GREEDY
        return Row(chosen.label, against, timed, self.tokens, passes(timed.results), chosen.rows_per_token, peak)

    def between(self, first: str, second: str) -> Paired:
        """The second method against the first."""
        one, other = (self.ours(system(name, self.seed)) for name in (first, second))
        return self.paired(one, other)


def _asked(lab: Lab) -> tuple[Any, str]:
    """The first picture of the labelled source, and its question."""
    if lab.from_file:
        text = lab.texts()[0]
        return text.picture(), text.prompt
    chosen = lab.settings
    benchmark = open_benchmark(chosen.labels, n=1, images=chosen.images, data=chosen.data)
    item = benchmark.items[0]
    return benchmark.picture(item), item.prompt


def _load() -> str:
    """Processes that wanted a core over the last minute; Windows has no such figure."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
