"""A benchmark's data from the hub, where it can be reached: `data=hub`, or `data=hub:owner/name`."""

from __future__ import annotations

import hashlib
from collections.abc import Set
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlm_saliency.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image


def opened(data: str | Path | None, repository: str, columns: Set[str], split: str = "test") -> HubData | None:
    """The data set that `data` asks for, else None. `repository` is the default.

    Raises:
        InputError: `datasets` is not installed, the hub cannot be reached, or the data set has other columns.
    """
    kind, _, name = str(data).partition(":")
    if kind != "hub":
        return None
    return HubData(name or repository, columns, split)


class HubData:
    """One split of a data set whose rows hold a picture in column `image`."""

    def __init__(self, repository: str, columns: Set[str], split: str):
        try:
            from datasets import load_dataset
        except ImportError:
            raise InputError("data from the hub needs one more package: pip install 'lvlm-saliency[hub]'") from None
        try:
            self.table = load_dataset(repository, split=split)
        # datasets raises whatever its many back ends raise; all of it means that the data cannot be had this way.
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(
                f"cannot load {repository} from the hub ({reason}); give --data with the official files"
            ) from error
        if missing := sorted(columns - set(self.table.column_names)):
            raise InputError(f"{repository} has no column {missing[0]!r}; give --data with the official files")

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Every row, without its picture."""
        return list(self.table.remove_columns("image"))

    @cached_property
    def _places(self) -> dict[tuple[str, Any], int]:
        return {
            (name, value): place for place, row in enumerate(self.rows) for name, value in row.items() if _key(value)
        }

    def picture(self, column: str, value: Any) -> Image:
        """The picture of the (last) row with this value."""
        from lvlm_saliency.model.images import open_image

        return open_image(self.table[self._places[column, value]]["image"])

    def digest(self, column: str, value: Any) -> str:
        """SHA-256 of the decoded picture."""
        return hashlib.sha256(self.picture(column, value).tobytes()).hexdigest()


def _key(value: Any) -> bool:
    return isinstance(value, (str, int))
