"""LLaVA-Bench (in the wild): what is known of it."""

from __future__ import annotations

from lvlm_saliency.benchmarks.spec import Column, Need, Parts, Scores, Spec
from lvlm_saliency.pages.figures import Figure

_FROM = "liuhaotian/llava-bench-in-the-wild on the hub"
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
SPECS = (
    Spec(
        "llava-bench",
        SCORES,
        adapter="lvlm_saliency.benchmarks.llava_bench.adapter:LlavaBench",
        whole=("answers",),
        needs=(
            Need("questions", "questions.jsonl", _FROM),
            Need("pictures", "001.jpg to 024.jpg", _FROM),
        ),
    ),
)
