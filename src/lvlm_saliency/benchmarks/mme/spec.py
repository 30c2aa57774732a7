"""MME: what is known of it."""

from __future__ import annotations

from lvlm_saliency.benchmarks.spec import Column, Need, Parts, Scores, Spec
from lvlm_saliency.pages.figures import Figure

_FROM = (
    "GitHub BradyFU/Awesome-Multimodal-Large-Language-Models, branch Evaluation (pictures on request to its authors)"
)
SUMS = ("perception", "cognition", "hallucination")

SCORES = Scores(
    table="lvlm_saliency.benchmarks.mme.scorer",
    items="per_image",
    key=lambda item: (item["task"], item["line"], item["image"]),
    columns={"": tuple(Column(name, name, digits=2, factor=1) for name in SUMS)},
    parts={"": Parts("tasks", Column("", "score", digits=2, factor=1), "score")},
    figures=tuple(Figure(name, "higher", 1.0) for name in (*SUMS, "existence", "count", "position", "color")),
    told=("hallucination",),
)
SPECS = (
    Spec(
        "mme",
        SCORES,
        adapter="lvlm_saliency.benchmarks.mme.adapter:Mme",
        whole=("answers",),
        needs=(
            Need("folder", "one folder or text file per task", _FROM),
            Need("pictures", "pictures, in the tasks' folders", _FROM),
        ),
        hub="lmms-lab/MME",
    ),
)
