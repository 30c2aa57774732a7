"""Study `separation`: do hallucinated object words have lower saliency than correct ones?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lvlm_saliency.studies import stats
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.page import CANNOT_TELL, Cell, Finding, Page, Part, Table


@dataclass(frozen=True)
class Separation:
    """bins: of equal width, over which the hallucination rate is shown."""

    name: ClassVar[str] = "separation"

    bins: int = 10

    def run(self, lab: Lab) -> Page:
        table = lab.tokens().mentions(first=True)
        resampler = stats.Resampler(table.group, lab.settings.resamples, lab.settings.seed)
        found = resampler.estimate(stats.auroc(-table.logprob, table.hallucinated))
        rows = [(Cell("-log p"), Cell(str(found)))]
        part = Part("First mentions", tables=[Table("AUROC", ("score", "AUROC"), tuple(rows))])
        return Page("Separation", "", [Finding(CANNOT_TELL, "not yet judged")], [part], lab.setup())
