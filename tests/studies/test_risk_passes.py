"""The two passes that the risk of a token is read from."""

from __future__ import annotations

import numpy as np
import pytest

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError, UnsupportedModelError
from lvlm_saliency.risk.passes import of_passes

REFUSED = {
    "gemma3n": (UnsupportedModelError, "several streams per token"),
    "glm5_next": (UnsupportedModelError, "several streams per token"),
    "phi4_multimodal": (SettingError, "this model sees image_pixel_values"),
    "step3p7": (SettingError, "also sees pixel_values_local"),
}
"""Families whose middle layers have no single state for a token, or whose pictures come under further names."""


@pytest.mark.each_kind
def test_every_family_that_sees_can_be_shown_a_blank_picture(family):
    """Idefics3 takes a tile of zeros for none: its blank picture still has every tile."""
    if family.text_only:
        return
    model, _ = family.build()
    inputs = family.inputs(n=2, images=2)
    texts = ls.generate(model, inputs, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    trace = ls.trace(model, inputs, texts)
    if family.name in REFUSED:
        error, told = REFUSED[family.name]
        with pytest.raises(error, match=told):
            of_passes(model, inputs, trace, np.array([5, 6]))
        return
    groups = of_passes(model, inputs, trace, np.array([5, 6]))
    assert groups["blank picture"].shape == (2, 3, 4)
    assert np.isfinite(groups["blank picture"]).all()
    assert np.abs(groups["blank picture"][..., 0]).max() > 0, "without its picture a token is as likely as with it"
