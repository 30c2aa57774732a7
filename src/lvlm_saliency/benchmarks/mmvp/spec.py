"""MMVP: what is known of it."""

from __future__ import annotations

from lvlm_saliency.benchmarks.spec import Column, Need, Scores, Spec
from lvlm_saliency.pages.figures import Figure

_FROM = "MMVP/MMVP on the hub"
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
SPECS = (
    Spec(
        "mmvp",
        SCORES,
        adapter="lvlm_saliency.benchmarks.mmvp.adapter:Mmvp",
        whole=("answers",),
        needs=(
            Need("folder", "the folder of Questions.csv", _FROM),
            Need("pictures", "MMVP Images/1.jpg to 300.jpg", _FROM),
        ),
    ),
)
