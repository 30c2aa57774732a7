"""The settings of an annotation: what is read of each word, and of which words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlm_saliency.errors import SettingError

PER = ("mention", "token")
EVERY = "every"
"""As `words`: every word is judged, not objects alone."""


@dataclass(frozen=True)
class AnnotateSettings:
    """A run of `lvlm-saliency annotate`.

    Args:
        input: JSON lines of pictures, prompt and answer (`annotation.read_items`).
        out: the run's folder.
        images: folder of the pictures; default the input's own.
        model: "scenes", a hub id or a folder: the model that reads the texts.
        detectors: names of published scores (`lvlm_saliency.detectors()`).
        risk: path of a `RiskModel`; None for none.
        words: which words are judged where the input does not say: a vocabulary ("scenes", "nouns", or a file of object
            names and their synonyms), or "every".
        per: a row for each "mention", or for each "token".
        batch_size: texts read together. Figures of a text depend on its mates in the last digits, so a folder is
            finished with the batch size that it was begun with.
        skip_errors: leave texts out that cannot be read (with the reason), and go on.
        dtype, device, revision: of the model.
    """

    input: str | Path
    out: str | Path
    images: str | Path | None = None
    model: str = "scenes"
    detectors: Sequence[str] = ()
    risk: str | Path | None = None
    words: str = "nouns"
    per: str = "mention"
    batch_size: int = 8
    skip_errors: bool = False
    dtype: str = "auto"
    device: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.per not in PER:
            raise SettingError(f"per is {self.per!r}; it must be one of {', '.join(PER)}")
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise SettingError(f"batch_size is {self.batch_size!r}; it must be a whole number from 1")

    def record(self) -> dict[str, Any]:
        """What decides the rows, JSON-ready; no folder of this machine."""
        left = ("input", "out", "images", "risk", "device")
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in left}
        local = {"model": self.model, "words": self.words}
        return {
            **kept,
            **{name: Path(value).name if Path(value).is_absolute() else value for name, value in local.items()},
            "detectors": list(self.detectors),
        }
