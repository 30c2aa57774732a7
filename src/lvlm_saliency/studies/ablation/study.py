"""Study `ablation`: which settings of SGRS and LocoRE matter, and whether their scores do better than chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import SettingError
from lvlm_saliency.evaluation.scoring import count_table, difference
from lvlm_saliency.evaluation.systems import GREEDY, SAMPLED, system
from lvlm_saliency.interventions.locore import SPACES, LocoRE
from lvlm_saliency.interventions.sgrs import SGRS
from lvlm_saliency.stats.bootstrap import Bootstrap
from lvlm_saliency.studies.ablation.chance import ChanceSGRS, Refusals
from lvlm_saliency.studies.ablation.controls import ObjectSGRS, ScatteredLocoRE, ShuffledSGRS, TurnedSGRS
from lvlm_saliency.studies.gate_records import write
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.page import Page

GROUPS = ("grid", "factors", "controls")


@dataclass(frozen=True)
class Ablation:
    """The grid over alpha and beta, one factor at a time, and controls; as written and inside top-p.

    Attributes:
        pictures: how many are described under each setting, at most the study's `n`.
        alphas, betas: of the grid, joined by "/".
        groups: of grid, factors and controls, joined by "/".
        window: of LocoRE where it stands beside its control, a random window; short, because on a caption no longer
            than the window the two are the same.
    """

    name: ClassVar[str] = "ablation"

    pictures: int = 60
    alphas: str = "0/0.3/0.6/0.9"
    betas: str = "0/0.15/1.0"
    groups: str = "grid/factors/controls"
    top_p: float = 0.9
    window: int = 3

    def __post_init__(self) -> None:
        if isinstance(self.pictures, bool) or not isinstance(self.pictures, int) or self.pictures < 2:
            raise SettingError(f"ablation: pictures must be a whole number from 2, got {self.pictures!r}")
        if isinstance(self.top_p, bool) or not isinstance(self.top_p, (int, float)) or not 0 < self.top_p < 1:
            raise SettingError(f"ablation: top_p must be a number between 0 and 1, got {self.top_p!r}")
        for group in self.groups.split("/"):
            if group not in GROUPS:
                raise SettingError(f"ablation: groups are {', '.join(GROUPS)}, joined by /; got {group!r}")
        LocoRE(window=self.window)
        for alpha in self.numbers("alphas"):
            SGRS(alpha=alpha)
        for beta in self.numbers("betas"):
            LocoRE(beta=beta)

    def numbers(self, name: str) -> list[float]:
        given = str(getattr(self, name))
        try:
            return [float(value) for value in given.split("/")]
        except ValueError:
            raise SettingError(f"ablation: {name} must be numbers joined by /, got {given!r}") from None

    def grid(self, seed: int) -> dict[tuple[float, float], list[Any]]:
        """Method by (alpha, beta); alpha 0 draws from the top K and refuses nothing."""
        return {
            (a, b): [SGRS(alpha=a, seed=seed, execution="stepwise"), *([LocoRE(beta=b)] if b else [])]
            for a in self.numbers("alphas")
            for b in self.numbers("betas")
        }

    def methods(self, lab: Lab, refusals: Refusals | None) -> dict[str, list[Any]]:
        """Every way of decoding by the name that the page gives it; controls where there are `refusals` of SGRS."""
        seed, wanted = lab.settings.seed, self.groups.split("/")
        plain: dict[str, Any] = {"seed": seed, "execution": "stepwise"}
        found: dict[str, list[Any]] = {"SGRS": [SGRS(**plain)], "LocoRE": [LocoRE()]}
        if "grid" in wanted:
            found |= {named(*place): method for place, method in self.grid(seed).items()}
        if "factors" in wanted:
            top = SGRS().target_layers(lab.structure)[-1] + 1
            thirds = {"lower": range(top // 3), "middle": range(top // 3, 2 * top // 3)}
            thirds |= {"upper": range(2 * top // 3, top)}
            changed: list[tuple[str, str, Any]] = [("K", "top_k", k) for k in (2, 10)]
            changed += [("R", "max_draws", r) for r in (1, 5)]
            changed += [*(("W", "window", w) for w in (1, 20)), ("order", "order", "greedy")]
            found |= {f"SGRS {shown} {value}": [SGRS(**plain, **{key: value})] for shown, key, value in changed}
            found |= {f"SGRS {k} third": [SGRS(**plain, layers=tuple(v))] for k, v in thirds.items() if len(v)}
            found |= {f"LocoRE w {w}": [LocoRE(window=w)] for w in (1, 5, 50)}
            found |= {f"LocoRE {k} third": [LocoRE(layers=tuple(v))] for k, v in thirds.items() if len(v)}
            found |= {variant(s, b): [LocoRE(beta=b, space=s)] for s in SPACES for b in (0.15, 1.0)}
        if refusals is not None:
            found |= {
                "by chance": [ChanceSGRS(seed=seed, rates=refusals.rates(SGRS(**plain)))],
                "shuffled": [ShuffledSGRS(seed=seed)],
                "reversed sign": [TurnedSGRS(seed=seed)],
                "object words": [ObjectSGRS(seed=seed, token_ids=openers(lab))],
                "window": [LocoRE(window=self.window)],
                "random window": [ScatteredLocoRE(window=self.window, seed=seed)],
            }
        return found

    def run(self, lab: Lab) -> Page:
        from lvlm_saliency.studies.ablation.page import page

        if lab.from_file:
            raise SettingError("ablation lets the model describe pictures anew; --labels must name a benchmark")
        n = self.pictures if lab.settings.n is None else min(self.pictures, lab.settings.n)
        both = {}
        for how, top_p in (("as written", 1.0), (f"top-p {self.top_p:g}", self.top_p)):
            refusals = self.refusals(lab, n, top_p, how) if "controls" in self.groups.split("/") else None
            both[how] = Measured(lab, self.methods(lab, refusals), refusals, n=n, top_p=top_p)
        return page(self, both, n, lab.setup())

    @staticmethod
    def refusals(lab: Lab, n: int, top_p: float, how: str) -> Refusals:
        """What SGRS refuses on the first `n` pictures, draw by draw: an evaluation keeps no more than sums of it."""
        chosen, method = lab.settings, SGRS(seed=lab.settings.seed, execution="stepwise")
        benchmark = open_benchmark(chosen.labels, n=n, images=chosen.images, data=chosen.data)
        benchmark.check()
        folder = lab.kept / "gate" / lab.fingerprint
        label = f"SGRS, {how}"
        return Refusals.of(write(lab.reader, benchmark, method, top_p, folder, lab.listener, label, lab.pool))


class Measured:
    """One evaluation of all methods, read by the names that the page gives them, and "greedy" and "sample".
    refusals: of SGRS with the same candidate set; None where no control needs them."""

    def __init__(self, lab: Lab, methods: Mapping[str, list[Any]], refusals: Refusals | None, **changes: Any):
        self.refusals = refusals
        distinct = {system(m, lab.settings.seed).label: m for m in methods.values()}
        data, _ = lab.run(list(distinct.values()), **changes)
        self.names = [GREEDY, SAMPLED, *methods]
        self._label = {name: system(m, lab.settings.seed).label for name, m in methods.items()}
        self._name = next(iter(data.scores["benchmarks"]))
        self._scores = data.scores["benchmarks"][self._name]
        self._part = (
            "captions" if "captions" in self._scores["against_greedy"] else next(iter(self._scores["against_greedy"]))
        )
        self._tables = {label: count_table(data.detail(self._name, label)[self._part]) for label in data.labels}
        self._draws = Bootstrap(lab.settings.resamples, lab.settings.seed)

    def label(self, name: str) -> str:
        return self._label.get(name, name)

    def figures(self, name: str) -> dict[str, float]:
        return self._tables[self.label(name)].values()

    def rejected(self, name: str) -> float:
        """Refused candidates per token; NaN for what refuses none."""
        return self._scores["answers"][self.label(name)].get("rejected_per_token", float("nan"))

    def fallbacks(self, name: str) -> float:
        """Share of tokens that were taken because every draw was refused; NaN for what refuses none."""
        return self._scores["answers"][self.label(name)].get("fallbacks_per_token", float("nan"))

    def against(self, name: str, other: str = GREEDY) -> Mapping[str, Mapping[str, Any]]:
        """Paired differences over pictures, with intervals, by figure."""
        return difference(self._draws, self._tables[self.label(name)], self._tables[self.label(other)])

    def matched(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        """Differences to greedy captions that are cut to the same length."""
        return self._scores["length_matched"]["differences"][self._part][self.label(name)]


def named(alpha: float, beta: float) -> str:
    return f"α {alpha:g}, β {beta:g}"


def variant(space: str, beta: float) -> str:
    return f"LocoRE {space}, β {beta:g}"


def openers(lab: Lab) -> tuple[int, ...]:
    """Tokens that open an object word of the labels, written after a space or at the start, ascending."""
    from lvlm_saliency.benchmarks.chair.adapter import Chair
    from lvlm_saliency.scenes.classes import PLURALS

    tokenizer, settings = lab.reader.tokenizer, lab.settings
    benchmark = open_benchmark(settings.labels, n=1, images=settings.images, data=settings.data)
    words = benchmark.synonyms.node_of if isinstance(benchmark, Chair) else [*PLURALS, *PLURALS.values()]
    first = (tokenizer.encode(lead + word.strip(), add_special_tokens=False) for word in words for lead in ("", " "))
    return tuple(sorted({ids[0] for ids in first if ids} - {tokenizer.unk_token_id}))
