"""A procedural world of drawn scenes with exact ground truth, and the small model that was trained on it.

`classes` is the world's table, `world` samples scenes, `draw` paints them, `grammar` holds the sentence patterns that
`captions` writes with, `labels` reads which objects a text names and `statements` all that it says of them, `questions`
asks, and `dataset` writes it all to a folder.
"""

from __future__ import annotations

from lvlm_saliency.scenes.captions import write_caption
from lvlm_saliency.scenes.draw import draw_scene
from lvlm_saliency.scenes.labels import Mention, chair_scores, label_mentions, label_tokens, parses
from lvlm_saliency.scenes.questions import pope_questions
from lvlm_saliency.scenes.statements import Claim, Statement, label_claims, label_statements
from lvlm_saliency.scenes.world import Scene, SceneObject, demo_scenes, generate_scenes

__all__ = [
    "Claim",
    "Mention",
    "Scene",
    "SceneObject",
    "Statement",
    "chair_scores",
    "demo_scenes",
    "draw_scene",
    "generate_scenes",
    "label_claims",
    "label_mentions",
    "label_statements",
    "label_tokens",
    "parses",
    "pope_questions",
    "write_caption",
]
