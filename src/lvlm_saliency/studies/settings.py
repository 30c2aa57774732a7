"""What all studies of one call share: model, labels, pictures, limits and seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.benchmarks.sources import require
from lvlm_saliency.evaluation.settings import Settings


@dataclass(frozen=True)
class StudySettings:
    """What all studies of one call share.

    Args:
        out: folder of pages, data and everything that is kept for the next study.
        model: "scenes", a hub id or a folder.
        labels: a benchmark whose answers can be labelled ("scenes-caption", "chair"), with settings where wanted, or a
            file of labelled texts (JSON lines: image, prompt, text, spans with labels).
        n: pictures, the first of the list; None for all.
        seed: of every draw and every resample.
        max_new_tokens: of every text that is written.
        batch_size: texts worked on together; results do not depend on it.
        images, data: folder of the pictures, folder of a benchmark's official files.
        dtype, device, revision: of the model.
        resamples: bootstrap resamples behind each interval.
    """

    out: str | Path
    model: str = "scenes"
    labels: str = "scenes-caption"
    n: int | None = 500
    seed: int = 0
    max_new_tokens: int = 128
    batch_size: int = 32
    images: str | Path | None = None
    data: str | Path | None = None
    dtype: str = "auto"
    device: str | None = None
    revision: str | None = None
    resamples: int = 2000

    def run(self, out: str | Path, benchmarks: Sequence[str], methods: Sequence[Any], **changes: Any) -> Settings:
        """The same as settings of an evaluation, which checks them."""
        shared = {f.name for f in dataclasses.fields(Settings)} & {f.name for f in dataclasses.fields(self)} - {"out"}
        values = {name: getattr(self, name) for name in shared} | changes
        return Settings(out=out, benchmarks=benchmarks, methods=methods, **values)

    @property
    def from_file(self) -> bool:
        """Whether labels come from a file of texts, and not from what the model writes."""
        return self.labels.lower().endswith((".jsonl", ".json"))

    def check_sources(self) -> None:
        """Tell what is wrong with labels and folders before a model is loaded, which may take minutes.

        Raises:
            InputError: a file or a folder is missing, or the file of labelled texts cannot be used.
        """
        if self.from_file:
            from lvlm_saliency.studies.label_files import checked

            checked(self.labels, self.images, self.n)
        else:
            asked = open_benchmark(self.labels, n=self.n, images=self.images, data=self.data)
            require(asked.name, asked.data, asked.images)
