"""MMVP: what is known of it."""

from __future__ import annotations

from lvlm_saliency.benchmarks.spec import Column, Scores, Spec
from lvlm_saliency.pages.figures import Figure

SCORES = Scores(
    table="lvlm_saliency.benchmarks.mmvp.scorer",
    items="per_pair",
    key=lambda item: item["pair"],
    columns={
        "": (
            Column("pairs right %", "pair_accuracy", "{both_right}/{pairs}"),
            Column("questions right %", "accuracy", "{right}/{questions}"),
            Column("unclear", "unclear", digits=0, factor=1),
        )
    },
    figures=(Figure("pair_accuracy", title="pairs right"),),
    plotted=("pair_accuracy",),
    told=("pair_accuracy",),
)
SPECS = (Spec("mmvp", SCORES),)
