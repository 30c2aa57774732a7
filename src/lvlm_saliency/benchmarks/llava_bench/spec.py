"""LLaVA-Bench (in the wild): what is known of it."""

from __future__ import annotations

from lvlm_saliency.benchmarks.spec import Column, Parts, Scores, Spec
from lvlm_saliency.pages.figures import Figure

SCORES = Scores(
    table="lvlm_saliency.benchmarks.llava_bench.scorer",
    items="per_question",
    key=lambda item: item["question_id"],
    columns={
        "": (
            Column("relative %", "relative", "{n} reviews", factor=1),
            Column("reference x10", "reference", factor=1),
            Column("model x10", "model", factor=1),
            Column("unread", "failed", digits=0, factor=1),
        )
    },
    parts={"": Parts("categories", Column("relative %", "relative", factor=1), "relative")},
    figures=(Figure("relative", scale=1.0),),
    plotted=("relative",),
    told=("relative",),
)
SPECS = (Spec("llava-bench", SCORES),)
