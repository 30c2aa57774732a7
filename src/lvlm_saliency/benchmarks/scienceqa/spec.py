"""ScienceQA: what is known of it."""

from __future__ import annotations

from lvlm_saliency.benchmarks.spec import Column, Need, Parts, Scores, Spec
from lvlm_saliency.pages.figures import Figure

_FROM = "GitHub lupantech/ScienceQA (data/scienceqa, and its download script)"
SCORES = Scores(
    table="lvlm_saliency.benchmarks.scienceqa.scorer",
    items="per_question",
    key=lambda item: item["question_id"],
    columns={
        "": (
            Column("accuracy %", "accuracy", "{correct}/{questions}", digits=2, factor=1),
            Column("with picture %", "image_accuracy", "{image_correct}/{image_questions}", digits=2, factor=1),
            Column("no letter", "failed", digits=0, factor=1),
        )
    },
    parts={"": Parts("categories", Column("%", "", digits=2, factor=1), interval="", none=-1.0)},
    figures=(Figure("image_accuracy", scale=1.0, title="accuracy with picture"),),
    plotted=("image_accuracy",),
    told=("image_accuracy",),
)
SPECS = (
    Spec(
        "scienceqa",
        SCORES,
        adapter="lvlm_saliency.benchmarks.scienceqa.adapter:ScienceQa",
        whole=("answers",),
        needs=(
            Need("problems", "problems.json", _FROM),
            Need("pid_splits", "pid_splits.json", _FROM),
            Need("pictures", "test/<id>/image.png", _FROM),
        ),
    ),
)
