"""VizWiz: what is known of it."""

from __future__ import annotations

from lvlm_saliency.benchmarks.spec import Column, Need, Parts, Scores, Spec
from lvlm_saliency.pages.figures import Figure

_FROM = "vizwiz.org, VQA data set"
SCORES = Scores(
    table="lvlm_saliency.benchmarks.vizwiz.scorer",
    items="per_question",
    key=lambda item: item["image"],
    columns={
        "": (
            Column("accuracy %", "fraction", "{questions} questions", digits=2),
            Column("says unanswerable %", "unanswerable_share"),
            Column("people say so %", "truth_unanswerable_share"),
        )
    },
    parts={"": Parts("per_type", Column("accuracy %", ""), interval="type {}")},
    figures=(
        Figure("fraction", title="accuracy"),
        Figure("unanswerable_share", "", title="says unanswerable"),
    ),
    plotted=("fraction",),
    told=("fraction",),
)
SPECS = (
    Spec(
        "vizwiz",
        SCORES,
        adapter="lvlm_saliency.benchmarks.vizwiz.adapter:VizWiz",
        whole=("answers",),
        needs=(
            Need("val", "val.json: questions and ten answers each (test.json for split=test)", _FROM),
            Need("pictures", "VizWiz_val_00000000.jpg ...", _FROM),
        ),
    ),
)
