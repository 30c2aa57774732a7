"""The drawn world's benchmarks: what is known of them. Their answers go to the scorers of CHAIR and POPE, and what
captions say of objects to `statements`."""

from __future__ import annotations

from lvlm_saliency.benchmarks.spec import Scores, Spec
from lvlm_saliency.pages.figures import Figure

STATEMENTS = Scores(
    table="lvlm_saliency.benchmarks.scenes.statements",
    items="per_caption",
    key=lambda item: item["image_id"],
    columns={},
    figures=(
        Figure("false_statements", "lower", title="false statements"),
        Figure("false_object", "lower", title="absent object"),
        Figure("false_count", "lower", title="wrong number"),
        Figure("false_colour", "lower", title="wrong colour"),
        Figure("false_place", "lower", title="wrong place"),
        Figure("false_relation", "lower", title="wrong relation"),
        Figure("false_per_caption", "lower", 1.0, "false per caption"),
        Figure("false_per_sentence", "lower", 1.0, "false per sentence"),
        Figure("introduced_again", "lower", title="introduced again"),
        Figure("statements_per_caption", "", 1.0, "statements"),
        Figure("repeated_bigrams", "lower", title="repeated word pairs"),
        Figure("well_formed", title="well-formed"),
    ),
    judged=("false_statements",),
    told=("false_statements", "introduced_again"),
)
SPECS = (
    Spec("scenes-caption", adapter="lvlm_saliency.benchmarks.scenes.adapter:ScenesCaption", whole=("captions",)),
    Spec("scenes-pope", adapter="lvlm_saliency.benchmarks.scenes.adapter:ScenesPope", whole=("all",)),
    Spec("scene-statements", STATEMENTS),
)
