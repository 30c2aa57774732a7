"""Judges of one reply per item, which the official files list in the order of the items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.files.json_lines import as_json, write_whole
from lvlm_saliency.files.records import read_json
from lvlm_saliency.judge.replay import Recorded, in_order
from lvlm_saliency.judge.run import Item


class OneReply:
    """What the `judging` of such a benchmark shares."""

    @staticmethod
    def parse(reply: str) -> Any:
        """What a reply says; None where it cannot be read."""
        raise NotImplementedError

    def unparsable(self, record: Mapping[str, Any]) -> bool:
        """Whether the reply cannot be read."""
        return self.parse(record["reply"]) is None

    def recorded(self, path: Path, items: Sequence[Item]) -> Recorded:
        """A list of texts, or of API responses, in the order of the items."""
        return in_order(read_json(path), [item.id for item in items], path)

    def write(self, path: Path, items: Sequence[Item], runs: Sequence[Mapping[str, dict[str, Any]]]) -> None:
        """A list of the replies of the first run, in the order of the items."""
        write_whole(path, as_json([runs[0][item.id]["reply"] for item in items], indent=1) + "\n")
