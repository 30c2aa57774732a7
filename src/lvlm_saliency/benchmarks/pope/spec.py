"""POPE: what is known of it."""

from __future__ import annotations

from lvlm_saliency.benchmarks.spec import COCO, Column, Need, Result, Scores, Spec
from lvlm_saliency.pages.figures import Figure

_FROM = "GitHub AoiDragon/POPE, output/coco (A-OKVQA and GQA beside it)"
KINDS = ("random", "popular", "adversarial")

FIGURES = (
    Figure("accuracy"),
    Figure("precision"),
    Figure("recall"),
    Figure("f1", title="F1"),
    Figure("yes_ratio", "", title="yes ratio"),
)


def _sums(result: Result) -> dict[str, int]:
    """Sums of the four counts."""
    return {
        "right": result["tp"] + result["tn"],
        "said_yes": result["tp"] + result["fp"],
        "positive": result["tp"] + result["fn"],
    }


SCORES = Scores(
    table="lvlm_saliency.benchmarks.pope.scorer",
    items="per_question",
    key=lambda item: (item["image"], item["question_id"]),
    columns={
        "": (
            Column("accuracy %", "accuracy", "{right}/{questions}"),
            Column("precision %", "precision", "{tp}/{said_yes}"),
            Column("recall %", "recall", "{tp}/{positive}"),
            Column("F1 %", "f1"),
            Column("yes %", "yes_ratio", "{said_yes}/{questions}"),
        )
    },
    figures=FIGURES,
    plotted=("recall", "accuracy", "f1", "yes_ratio"),
    told=("accuracy", "f1", "yes_ratio"),
    across=(("yes_ratio", "accuracy"),),
    sums=_sums,
)
SPECS = (
    Spec(
        "pope",
        SCORES,
        adapter="lvlm_saliency.benchmarks.pope.adapter:Pope",
        whole=("all",),
        needs=(
            *(Need(f"coco_pope_{kind}", f"questions, {kind} negatives", _FROM) for kind in KINDS),
            Need("pictures", "COCO val2014 pictures", COCO),
        ),
        hub="lmms-lab/POPE",
    ),
)
