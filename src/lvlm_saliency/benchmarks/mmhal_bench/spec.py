"""MMHal-Bench: what is known of it."""

from __future__ import annotations

from lvlm_saliency.benchmarks.spec import Column, Need, Parts, Scores, Spec
from lvlm_saliency.pages.figures import Figure

_FROM = "Shengcao1006/MMHal-Bench on the hub"
SCORES = Scores(
    table="lvlm_saliency.benchmarks.mmhal_bench.scorer",
    items="per_question",
    key=lambda item: item["question"],
    columns={
        "": (
            Column("score 0..6", "average_score", "{replies} replies", digits=2, factor=1),
            Column("below 3 %", "hallucination_rate", digits=1),
            Column("unread", "unparsable", digits=0, factor=1),
        )
    },
    parts={"": Parts("per_type", Column("score", "", digits=2, factor=1))},
    figures=(
        Figure("average_score", scale=1.0, title="score"),
        Figure("hallucination_rate", "lower", title="below 3"),
    ),
    plotted=("average_score", "hallucination_rate"),
    told=("average_score", "hallucination_rate"),
)
SPECS = (
    Spec(
        "mmhal-bench",
        SCORES,
        adapter="lvlm_saliency.benchmarks.mmhal_bench.adapter:MmhalBench",
        whole=("answers",),
        needs=(
            Need("response_template", "response_template.json: questions, addresses of the pictures", _FROM),
            Need("pictures", "the downloaded pictures", _FROM),
        ),
    ),
)
