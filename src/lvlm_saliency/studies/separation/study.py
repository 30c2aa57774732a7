"""Study `separation`: do hallucinated object words have lower saliency than correct ones?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lvlm_saliency.errors import InputError
from lvlm_saliency.interventions.base import choice, number
from lvlm_saliency.studies.cells import plain
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.nested import table as nested_table
from lvlm_saliency.studies.page import Page, Part, Picture
from lvlm_saliency.studies.separation import figures as drawn
from lvlm_saliency.studies.separation import tables
from lvlm_saliency.studies.separation.findings import findings
from lvlm_saliency.studies.separation.measures import Measured
from lvlm_saliency.studies.separation.words import TOKENS, scores, usable, words
from lvlm_saliency.studies.tokens import TokenTable

PAPER = (
    "hallucinated words have lower saliency. Mean score over the previous token, correct against hallucinated: "
    ".472 ± .136 / .193 ± .087 (LLaVA-1.5), .664 ± .158 / .355 ± .103 (Qwen2-VL), .508 ± .124 / .224 ± .095 "
    "(InternVL); in ten bins of equal width 68–76 % of words are hallucinated in the lowest and 18–28 % in the "
    "highest, falling from bin to bin; plain attention tells nothing."
)
BINNED = ("saliency: previous", "saliency: output", "log-probability")


@dataclass(frozen=True)
class Separation:
    """Do hallucinated words have lower saliency?

    Attributes:
        bins: number of bins of equal width over which the hallucination rate is shown.
        token: which of a word's tokens gives its score: "first" (which decides on the word), "last", or the "mean".
    """

    name: ClassVar[str] = "separation"

    bins: int = 10
    token: str = "first"

    def __post_init__(self) -> None:
        number("separation", "bins", self.bins, 2, 100, whole=True)
        choice("separation", "token", self.token, TOKENS)

    def run(self, lab: Lab) -> Page:
        return self.page(lab.tokens(), lab.setup(), lab.settings.resamples, lab.settings.seed)

    def page(self, everything: TokenTable, setup: dict[str, str], resamples: int, seed: int) -> Page:
        """The page for a table of tokens.

        Raises:
            InputError: there are not two correct and two hallucinated first mentions to compare.
        """
        every = words(everything, self.token)
        kept = every.take(usable(every))
        kinds = {"first mentions": kept.first, "repeated mentions": ~kept.first, "all mentions": kept.first >= 0}
        measured = {
            name: Measured(kept.take(rows), everything, resamples, seed) for name, rows in kinds.items() if rows.any()
        }
        first = measured.get("first mentions")
        wrong, right = (0, 0) if first is None else (int(first.y.sum()), int((~first.y).sum()))
        if first is None or min(wrong, right) < 2:
            raise InputError(
                f"{len(everything.texts)} texts hold {right} correct and {wrong} hallucinated first mentions: too few "
                "to compare; take more pictures (--n) or other texts (--labels)"
            )
        means = {name: one.means() for name, one in measured.items()}
        controls, layers, nested = first.controls(), first.by_layer(), first.nested()
        bins = {score.name: first.binned(score.name, self.bins) for score in first.scores}
        asked = sum(one.asked for one in measured.values()) + 2 * len(nested)
        shown = {name: bins[name] for name in BINNED}
        parts = [
            Part(
                "First mentions",
                tables.counted(first, len(every) - len(kept), self.token, asked),
                [tables.means(means["first mentions"], first)],
                [
                    Picture(
                        "areas",
                        f"How well each score tells hallucinated from correct words: {wrong} against {right} first "
                        f"mentions (blue), and {first.compared('same position')} hallucinated ones against correct "
                        "ones at the same token position (orange); 95 % intervals over pictures.",
                        drawn.areas(controls),
                    )
                ],
            ),
            Part(
                "Hallucination rate over the score",
                tables.RATES,
                [tables.rates(bins, first)],
                [
                    Picture(
                        "rates",
                        f"Share of hallucinated words in {self.bins} bins of equal width (blue; hollow: fewer than 10 "
                        f"words) and in deciles (orange), of {len(first.y):,} words; dashed: overall.",
                        drawn.rates(shown, float(first.y.mean())),
                    )
                ],
            ),
            Part("With other things equal", tables.CONTROLS, [tables.controls(controls, first)]),
            Part(
                "What saliency adds to log-probability",
                tables.NESTED,
                [nested_table(nested, len(first.y))] if nested else [],
            ),
            Part(
                "Layer by layer",
                "",
                [tables.groups(layers)],
                [
                    Picture(
                        "layers",
                        f"Areas by decoder layer, {wrong} hallucinated against {right} correct first mentions; bands: "
                        "95 % intervals, each for itself.",
                        drawn.layers(layers),
                    )
                ],
            ),
            Part("First and repeated mentions", tables.MENTIONS, [tables.mentions(means, measured)]),
        ]
        return Page(
            "Do hallucinated words have lower saliency?",
            PAPER,
            findings(first, bins["saliency: previous"], nested, self.bins),
            parts,
            {
                **setup,
                "words": f"{len(kept):,} ({self.token} token)",
                "hallucinated": f"{int(kept.hallucinated.sum())}",
            },
            data={
                "scores": [plain({"mentions": name, **row}) for name, rows in means.items() for row in rows],
                "controls": [plain(row) for row in controls],
                "bins": tables.bin_rows(bins),
                "layers": [plain(row) for row in layers],
                "nested": [plain(vars(one)) for one in nested],
                "words": _rows(kept),
            },
        )


def _rows(table: TokenTable) -> list[dict[str, Any]]:
    """One row per word with all that was measured of it, layers averaged."""
    fields = {
        "image": np.array([table.texts[text].image for text in table.text], dtype=object),
        "name": table.name,
        "hallucinated": table.hallucinated,
        "first": table.first,
        "position": table.position,
        "token_id": table.token_id,
    }
    fields |= {score.name.replace(": ", "_"): score.values.round(7) for score in scores(table)}
    return [
        {name: value.item() if hasattr(value, "item") else value for name, value in zip(fields, row, strict=True)}
        for row in zip(*fields.values(), strict=True)
    ]
