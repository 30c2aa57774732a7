"""Colours of words: whatever the background, the letters on it can be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.report import colours
from lvlm_saliency.report.colours import READABLE, RISKY, SCALES, STRONG, contrast, ink, mix, palettes

CHANNEL = st.integers(0, 255)


def read(text):
    return tuple(int(text[at : at + 2], 16) for at in (1, 3, 5))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", SCALES)
def test_every_step_of_the_pages_scales_can_be_read(name, scheme):
    steps = palettes()[name][scheme]
    assert len(steps) == colours.STEPS
    assert min(contrast(read(ground), read(letters)) for ground, letters in steps) >= READABLE
    weakest, strongest = SCALES[name][scheme]
    assert (read(steps[0][0]), read(steps[-1][0])) == (weakest, strongest)


@pytest.mark.parametrize("strongest", [STRONG, RISKY])
def test_every_share_in_terminal_and_notebook_can_be_read(strongest):
    grounds = [mix(step / 1000, strongest) for step in range(1001)]
    assert min(contrast(ground, ink(ground)) for ground in grounds) >= READABLE


@given(st.tuples(CHANNEL, CHANNEL, CHANNEL))
def test_any_background_has_readable_letters(ground):
    assert contrast(ground, ink(ground)) >= READABLE


def test_contrast_is_that_of_wcag():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.478, abs=1e-3)
    assert contrast((1, 2, 3), (1, 2, 3)) == 1


def test_letters_keep_their_usual_colours_at_the_ends():
    assert ink(mix(0.0)) == colours.INK
    assert ink(mix(1.0)) == colours.PAPER
