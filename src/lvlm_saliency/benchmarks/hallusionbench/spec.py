"""HallusionBench: what is known of it."""

from __future__ import annotations

from lvlm_saliency.benchmarks.hallusionbench.scorer import PLACE
from lvlm_saliency.benchmarks.spec import Column, Need, Scores, Spec
from lvlm_saliency.pages.figures import Figure

_FROM = "GitHub tianyi-lab/HallusionBench"
SCORES = Scores(
    table="lvlm_saliency.benchmarks.hallusionbench.scorer",
    items="per_question",
    key=lambda item: tuple(item[part] for part in PLACE),
    columns={
        "": (
            Column("qAcc %", "qAcc", digits=2, factor=1),
            Column("fAcc %", "fAcc", digits=2, factor=1),
            Column("easy %", "easy_aAcc", digits=2, factor=1),
            Column("hard %", "hard_aAcc", digits=2, factor=1),
            Column("aAcc %", "aAcc", digits=2, factor=1),
        )
    },
    figures=(*(Figure(name, scale=1.0) for name in ("qAcc", "fAcc", "easy_aAcc", "hard_aAcc", "aAcc")),),
    plotted=("qAcc", "fAcc", "aAcc"),
    told=("qAcc", "fAcc", "aAcc"),
)
SPECS = (
    Spec(
        "hallusionbench",
        SCORES,
        adapter="lvlm_saliency.benchmarks.hallusionbench.adapter:HallusionBench",
        whole=("answers",),
        needs=(
            Need("HallusionBench", "HallusionBench.json", _FROM),
            Need("pictures", "VD/..., VS/... as in its drive", _FROM),
        ),
    ),
)
