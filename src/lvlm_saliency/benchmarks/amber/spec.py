"""AMBER: what is known of it."""

from __future__ import annotations

from lvlm_saliency.benchmarks.spec import Column, Need, Parts, Scores, Spec
from lvlm_saliency.pages.figures import Figure

_FROM = "GitHub junyangwang0410/AMBER, data/"

SCORES = Scores(
    table="lvlm_saliency.benchmarks.amber",
    items="per_response",
    key=lambda item: item["id"],
    columns={
        "generative": (
            Column("CHAIR %", "CHAIR", "{hallucinated_mentions}/{mentions}"),
            Column("Cover %", "Cover", "{covered_truth}/{truth}"),
            Column("Hal %", "Hal", "{hallucinated_responses}/{responses}"),
            Column("Cog %", "Cog", "{covered_hallu}/{hallu}"),
        ),
        "discriminative": (
            Column("accuracy %", "accuracy", "{right}/{questions}"),
            Column("precision %", "precision", "{right_no}/{answered_no}"),
            Column("recall %", "recall", "{right_no}/{true_no}"),
            Column("F1 %", "f1"),
        ),
    },
    parts={"discriminative": Parts("dimensions", Column("F1 %", "f1"), "f1", "{}_f1")},
    figures=(
        Figure("CHAIR", "lower"),
        Figure("Cover"),
        Figure("Hal", "lower"),
        Figure("Cog", "lower"),
        Figure("accuracy"),
        Figure("precision"),
        Figure("recall"),
        Figure("f1", title="F1"),
        Figure("length", "", 1.0),
    ),
    plotted=("CHAIR", "Hal", "recall", "Cover", "length", "accuracy", "f1"),
    judged=("CHAIR", "Hal"),
    beside=("Cover",),
    told=("CHAIR", "Hal", "accuracy", "f1"),
    across=(("Cover", "CHAIR"),),
)
SPECS = (
    Spec(
        "amber",
        SCORES,
        adapter="lvlm_saliency.benchmarks.amber.adapter:Amber",
        whole=("captions", "answers"),
        needs=(
            Need("query_generative", "queries for descriptions", _FROM + "query"),
            Need("query_discriminative", "yes/no queries", _FROM + "query"),
            Need("annotations", "ground truth", _FROM),
            Need("relation", "associated words", _FROM),
            Need("safe_words", "words that never count as hallucinated", _FROM),
            Need("pictures", "AMBER_1.jpg to AMBER_1004.jpg", "a link on " + _FROM.removesuffix(", data/")),
        ),
    ),
)
