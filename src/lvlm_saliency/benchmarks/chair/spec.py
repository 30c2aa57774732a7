"""CHAIR: what is known of it."""

from __future__ import annotations

from lvlm_saliency.benchmarks.spec import COCO, Column, Need, Scores, Spec
from lvlm_saliency.files.records import image_key
from lvlm_saliency.pages.figures import Figure

_LIST = "GitHub LisaAnne/Hallucination, data/synonyms.txt"

FIGURES = (Figure("CHAIR_s", "lower"), Figure("CHAIR_i", "lower"), Figure("recall"), Figure("length", "", 1.0))
SCORES = Scores(
    table="lvlm_saliency.benchmarks.chair.scorer",
    items="per_caption",
    key=lambda item: image_key(item["image_id"]),
    columns={
        "": (
            Column("CHAIR_s %", "CHAIR_s", "{hallucinated_captions}/{captions}"),
            Column("CHAIR_i %", "CHAIR_i", "{hallucinated_mentions}/{mentions}"),
            Column("recall %", "recall", "{recalled_objects}/{truth_objects}"),
            Column("length", "length", "{tokens}/{captions}", factor=1),
        )
    },
    figures=FIGURES,
    plotted=("CHAIR_s", "CHAIR_i", "recall", "length"),
    judged=("CHAIR_s", "CHAIR_i"),
    beside=("recall",),
    told=("CHAIR_s", "CHAIR_i", "recall"),
    across=(("recall", "CHAIR_i"),),
)
SPECS = (
    Spec(
        "chair",
        SCORES,
        adapter="lvlm_saliency.benchmarks.chair.adapter:Chair",
        whole=("captions",),
        needs=(
            Need("synonyms", "official synonym list", _LIST),
            Need(
                "objects",
                "prepared ground truth, {image id: [node words]}, in place of the four annotation files",
                "lvlm_saliency.benchmarks.chair.from_coco, which makes it once",
                optional=True,
            ),
            *(
                Need(f"{kind}_{split}", f"COCO {kind} of {split}", COCO)
                for split in ("train2014", "val2014")
                for kind in ("instances", "captions")
            ),
            Need("pictures", "COCO val2014 pictures", COCO),
        ),
    ),
)
