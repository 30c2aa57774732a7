"""The lab that all studies share: the model, labelled texts, token tables, and evaluation runs, each made once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import SettingError
from lvlm_saliency.evaluation.decoding import Decoder
from lvlm_saliency.evaluation.folder import RunFolder
from lvlm_saliency.evaluation.reader import ReadsTexts
from lvlm_saliency.evaluation.runner import Listener, Silent, evaluate
from lvlm_saliency.evaluation.summary.content import RunData
from lvlm_saliency.evaluation.systems import GREEDY, System, system, systems
from lvlm_saliency.interventions.parsing import parse_specs
from lvlm_saliency.model import provenance
from lvlm_saliency.stats.bootstrap import MIN_IMAGES, MIN_RESAMPLES
from lvlm_saliency.studies.collect import Extra, collect, digest
from lvlm_saliency.studies.labels import check_source, labelled
from lvlm_saliency.studies.model import StudyModel
from lvlm_saliency.studies.settings import StudySettings
from lvlm_saliency.studies.texts import LabelledText
from lvlm_saliency.studies.tokens import TokenTable

if TYPE_CHECKING:
    from lvlm_saliency.workers import Pool


class Lab:
    """Everything is made on first use and saved under `out/kept` for later use.

    With a `pool`, its workers do what needs a model, and this process holds none, unless a study asks for `model` or
    `decoder` itself.
    """

    def __init__(
        self,
        settings: StudySettings,
        *,
        model: Any = None,
        processor: Any = None,
        pool: Pool | None = None,
        listener: Listener | None = None,
    ):
        self.settings, self.pool, self.listener = settings, pool, listener or Silent()
        self.out = Path(settings.out)
        self.kept = self.out / "kept"
        self.command = ""  # how the study was started, for what it writes
        self.held = StudyModel(settings, model, processor, pool)
        self._texts: dict[str, list[LabelledText]] = {}
        settings.run(self.out, [settings.labels if not self.from_file else "scenes-caption"], [])  # checked at once
        if not self.from_file:
            check_source(parse_specs(settings.labels)[0][0])

    # --- the model ---

    def load(self) -> None:
        """Load the model now, before a bar of progress is drawn over what loading prints."""
        self.held.load()

    @property
    def model(self) -> Any:
        return self.held.model

    @property
    def structure(self) -> Any:
        """See `StudyModel.structure`."""
        return self.held.structure

    @property
    def processor(self) -> Any:
        return self.held.processor

    @property
    def reader(self) -> ReadsTexts:
        """See `StudyModel.reader`."""
        return self.held.reader

    @property
    def decoder(self) -> Decoder:
        """See `StudyModel.decoder`."""
        return self.held.decoder

    @property
    def fingerprint(self) -> str:
        return self.held.fingerprint

    # --- texts ---

    @property
    def from_file(self) -> bool:
        """Whether labels come from a file of texts, and not from what the model writes."""
        return self.settings.from_file

    def run(
        self, methods: Sequence[Any], *, benchmarks: Sequence[str] | None = None, **changes: Any
    ) -> tuple[RunData, list[System]]:
        """A finished evaluation of greedy, sampled and `methods`, and its systems in order.

        `benchmarks` defaults to the labelled one; `changes` are settings of the evaluation that differ from the lab's.
        The run is kept; the same call again, in this process or a later one, goes on where it stopped.
        """
        benchmarks = [self.settings.labels] if benchmarks is None else list(benchmarks)
        chosen = self.settings.run(self.kept, benchmarks, methods, **changes)
        compared = systems(methods, chosen.seed)
        records = [(one.label, one.record()) for one in compared]
        shared = {f.name: str(getattr(chosen, f.name)) for f in dataclasses.fields(chosen) if f.name not in FREE}
        folder = self.kept / "runs" / digest(self.fingerprint, records, shared)
        here = self.pool is None  # else the workers hold it
        evaluate(
            dataclasses.replace(chosen, out=folder),
            model=self.model if here else None,
            processor=self.processor if here else None,
            pool=self.pool,
            listener=self.listener,
        )
        return RunData(RunFolder(folder)), compared

    def texts(self, method: Any = GREEDY, *, among: Sequence[Any] | None = None, **changes: Any) -> list[LabelledText]:
        """Labelled texts: what the model writes under `method` ("greedy", "sample", "locore:beta=0.2", objects), or
        the user's file, whoever wrote it. `among`: the methods of the run that writes them, where one run shall serve
        several calls; default `method` alone.

        Raises:
            SettingError: a method was asked for and the texts come from a file.
        """
        if self.from_file:
            if method != GREEDY:
                raise SettingError("the labelled texts come from a file: no method can write them anew")
            return self._texts_of_file
        asked = repr((method, among, sorted(changes.items())))
        if asked not in self._texts:
            self._texts[asked] = self._written(method, among, **changes)
        return self._texts[asked]

    def _written(self, method: Any, among: Sequence[Any] | None, **changes: Any) -> list[LabelledText]:
        spec = changes.pop("labels", self.settings.labels)
        data, _ = self.run(
            among if among is not None else [] if method == GREEDY else [method], benchmarks=[spec], **changes
        )
        n = changes.get("n", self.settings.n)
        benchmark = open_benchmark(spec, n=n, images=self.settings.images, data=self.settings.data)
        answers = data.folder.answers(
            benchmark.name, system(method, changes.get("seed", self.settings.seed)), benchmark.items
        )
        return labelled(benchmark, answers, self.reader.tokenizer, self.reader.answers)

    @cached_property
    def _texts_of_file(self) -> list[LabelledText]:
        from lvlm_saliency.studies.label_files import read_labelled

        return read_labelled(self.settings.labels, self.settings.images, self.reader.tokenizer, self.settings.n)

    def tokens(
        self,
        method: Any = GREEDY,
        *,
        layers: Sequence[int] | None = None,
        extra: Extra | None = None,
        name: str = "",
        among: Sequence[Any] | None = None,
        **changes: Any,
    ) -> TokenTable:
        """The table of all tokens of `texts(method)`, traced under `method`'s own attention edits.

        `extra` adds features of its own, kept under `name`.
        """
        texts = self.texts(method, among=among, **changes)
        acting = system(method, self.settings.seed)
        shown = [[text.image, text.prompt, list(text.token_ids), repr(text.spans)] for text in texts]
        batch = self.settings.batch_size
        folder = self.kept / "traces" / digest(self.fingerprint, shown, acting.record(), layers, name, batch)
        return collect(
            self.reader,
            texts,
            folder,
            methods=acting.methods,
            layers=layers,
            extra=extra,
            pool=self.pool,
            listener=self.listener,
            label=f"traces of {acting.label} texts",
        )

    # --- what a page says about itself ---

    def setup(self) -> dict[str, str]:
        """Model, settings, versions and machine, for the foot of a page."""
        chosen = self.settings
        given = {
            "model": Path(chosen.model).name if Path(chosen.model).is_absolute() else chosen.model,
            "weights": self.fingerprint,
            "labels": Path(chosen.labels).name if self.from_file else chosen.labels,
            "pictures": "all" if chosen.n is None else str(chosen.n),
            "max_new_tokens": str(chosen.max_new_tokens),
            "seed": str(chosen.seed),
            "bootstrap": _intervals(chosen.resamples),
        }
        return given | provenance.versions() | {"machine": provenance.machine()}


def _intervals(resamples: int) -> str:
    if not resamples:
        return "none (0 resamples): nothing was tested, so nothing is judged"
    if resamples < MIN_RESAMPLES:
        return f"none ({resamples} resamples are too few, {MIN_RESAMPLES} are needed): nothing was tested or judged"
    few = f"of fewer than {MIN_IMAGES} pictures there is none, and no verdict"
    return f"{resamples} resamples of pictures, 95 % percentile intervals; {few}"


FREE = ("out", "methods", "batch_size", "device", "resamples", "shard", "skip_errors")
"""Settings that do not affect the texts, and so are not part of a run's name."""
