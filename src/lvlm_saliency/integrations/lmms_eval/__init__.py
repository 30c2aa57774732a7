"""A model for lmms-eval that decodes with this package's methods: `--model lvlm_saliency`.

lmms-eval finds `manifests` by its entry point. One plug-in that raises there hides all others, so nothing is imported
before it is needed. `requests` turns what lmms-eval sends into plain data, `model` is the class; docs/lmms-eval.md
has the commands and the traps.
"""

from __future__ import annotations

from typing import Any


def manifests() -> list[Any]:
    """What lmms-eval registers: the model's name and where its class is."""
    from lmms_eval.models.registry_v2 import ModelManifest

    home = f"{__name__}.model.SaliencyLMM"
    return [ModelManifest(model_id="lvlm_saliency", chat_class_path=home, aliases=("lvlm-saliency",))]
