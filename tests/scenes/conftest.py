"""The shipped model, loaded once; and the recipe, which lies beside the package and not in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import lvlm_saliency

ROOT = Path(__file__).parents[2]
MODEL = Path(lvlm_saliency.__file__).parent / "scenes" / "model"
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session")
def shipped():
    """(model in float32, processor) as any user of transformers loads them."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32)
    return model.eval(), AutoProcessor.from_pretrained(MODEL)
