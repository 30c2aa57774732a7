"""What is kept of rows for the next run: scores and features batch by batch, and what was fitted on them.

Each row is kept under a name of its own: another detector, or another setting of one, costs no more than itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np

from lvlm_saliency.errors import InputError
from lvlm_saliency.files.archives import read_arrays, write_arrays
from lvlm_saliency.studies.collect import digest
from lvlm_saliency.studies.detect.published.rows import Row, settings_of

FITTING = (
    "lvlm_saliency.detection.fitted",
    "lvlm_saliency.risk.fitting",
    "lvlm_saliency.studies.detect.published.fits",
)
"""The modules that fit: what they fitted is not read again after one of them has changed."""


def key_of(row: Row) -> str:
    """The name under which a row's scores or features are kept."""
    return f"{row.name} {digest(settings_of(row), row.fits)}"


class Batch:
    """The scores and features of one batch of texts, in one or several files of a folder.

    Args:
        start: number of the batch's first text. count: how many words its texts have.
    """

    def __init__(self, folder: Path, start: int, count: int):
        self.folder, self.start, self.count = folder, start, count

    def read(self) -> dict[str, np.ndarray]:
        """Key of a row to float `[count]` or `[count, F]`.

        Raises:
            InputError: a file is damaged, or holds something else.
        """
        found: dict[str, np.ndarray] = {}
        for file in sorted(self.folder.glob(f"{self.start:06d}-*.npz")):
            arrays = read_arrays(file)
            if any(
                one.ndim not in (1, 2) or len(one) != self.count or one.dtype.kind != "f" for one in arrays.values()
            ):
                raise InputError(f"{file} is damaged (not the words of its texts); delete it, and it is made anew")
            found |= arrays
        return found

    def add(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep these rows beside those that are there."""
        write_arrays(self.folder / f"{self.start:06d}-{digest(sorted(arrays))}.npz", arrays)


class Fits:
    """Risks of fitted rows. folder: where they are kept; None: nowhere."""

    def __init__(self, folder: Path | None):
        self.folder = folder

    def of(
        self,
        row: Row,
        features: Mapping[str, np.ndarray],
        about: Sequence[object],
        fit: Callable[[], dict[str, np.ndarray] | None],
    ) -> dict[str, np.ndarray] | None:
        """What `fit` returns, or returned before.

        Args:
            features: by way of decoding. about: all else that the fit depends on, JSON-ready.
        """
        if self.folder is None:
            return fit()
        sources = [inspect.getsource(import_module(name)) for name in (*FITTING, type(row.detector).__module__)]
        shown = {way: [list(values.shape), digest(values.tobytes().hex())] for way, values in features.items()}
        file = (
            self.folder / f"{row.name} {digest(settings_of(row), shown, about, sources, version('scikit-learn'))}.npz"
        )
        if file.exists():
            kept = read_arrays(file)
            if set(kept) != set(features) or any(len(kept[way]) != len(features[way]) for way in kept):
                raise InputError(f"{file} is damaged (not the words of these texts); delete it, and it is made anew")
            return kept
        found = fit()
        if found is not None:
            write_arrays(file, found)
        return found
