"""What a prompt shows of a result: a line that says what it is, however large it is."""

from __future__ import annotations

import numpy as np
import torch

from lvlm_saliency import LocoRE, RiskModel
from lvlm_saliency.interventions.preset_files import Preset
from lvlm_saliency.model.layout import ImageLayout, ImageTile
from lvlm_saliency.model.output import Cost, GenerateOutput, TokenRecord
from lvlm_saliency.risk.model import SHIPPED

from .fabricated import fabricated

LONGEST = 400


def short(value):
    text = repr(value)
    assert len(text) <= LONGEST
    assert "\n" not in text
    assert "tensor" not in text
    assert "array" not in text
    return text


def test_trace_and_regions():
    trace, _ = fabricated(batch=20)
    trace.settings["methods"] = ["LocoRE(beta=0.15)"]
    text = short(trace)
    assert text.startswith(
        "SaliencyTrace(model='fabricated', rows=[20, 4, 49, 119], tokens=[49, 49, 49, 49, ... 16 more]"
    )
    assert "prompt=71" in text
    assert "LocoRE(beta=0.15)" in text
    assert short(trace.regions).startswith("Regions(shape=[20, 120], system=[1, 1, 1, 1, ... 16 more], image=[64, 64,")


def test_generate_output():
    step = TokenRecord(7, candidates={n: 0.5 for n in range(500)}, rejected=[1, 2])
    scores = tuple(torch.zeros(2, 1000) for _ in range(50))
    found = GenerateOutput(torch.zeros(2, 90, dtype=torch.long), [[step] * 50, [step] * 3], Cost(50), scores=scores)
    text = short(found)
    assert "sequences=[2, 90], tokens=[50, 3], rejected=[100, 6], cost=Cost(forwards=50" in text
    assert text.endswith("also=scores)")


def test_layouts():
    tile = ImageTile(np.arange(576).reshape(24, 24), (0, 0, 336.0, 336.0), "tile")
    assert short(tile) == "ImageTile(kind=tile, positions=[24, 24], box=(0.0, 0.0, 336.0, 336.0))"
    assert "tiles=[ImageTile(" in short(ImageLayout(672, 336, (tile,) * 4, np.arange(40)))
    assert "... 8 more" in repr(ImageLayout(672, 336, (tile,) * 12, np.arange(40)))


def test_presets_and_risk_models():
    preset = Preset([LocoRE()], {"type": "llava"}, {"effect": {str(n): n for n in range(1000)}, "command": "x" * 900})
    assert "record=[effect, command]" in short(preset)
    assert short(RiskModel.load(SHIPPED)).startswith("RiskModel(model='scenes', kind=")
