"""MM-Vet: what is known of it."""

from __future__ import annotations

from lvlm_saliency.benchmarks.spec import Column, Need, Parts, Scores, Spec
from lvlm_saliency.pages.figures import Figure

_FROM = "mm-vet.zip (GitHub yuweihao/MM-Vet, release v1)"
SCORES = Scores(
    table="lvlm_saliency.benchmarks.mm_vet.scorer",
    items="per_question",
    key=lambda item: item["question_id"],
    columns={
        "": (
            Column("total %", "total", "{ungraded} ungraded", factor=1),
            Column("std of runs", "std", factor=1),
        )
    },
    parts={"": Parts("capabilities", Column("%", "", factor=1))},
    figures=(Figure("total", scale=1.0),),
    plotted=("total",),
    told=("total",),
)
SPECS = (
    Spec(
        "mm-vet",
        SCORES,
        adapter="lvlm_saliency.benchmarks.mm_vet.adapter:MmVet",
        whole=("answers",),
        needs=(
            Need("mm-vet", "mm-vet.json: questions and ground truths", _FROM),
            Need("pictures", "v1_0.png ...", _FROM),
        ),
    ),
)
