"""Words in the terminal: colours where there are some, bars and brackets where not."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from lvlm_saliency.report.colours import Scale
from lvlm_saliency.report.terminal import BARS, print_trace

TOKENS = ["A", " cup", " on", " a", " table", " near", " the", " d\u00f3g", "."]
SCORES = [math.nan, 0.5, 0.4, 0.4, 0.1, 0.4, 0.3, 0.02, 0.3]


def shown(tokens=TOKENS, scores=SCORES, encoding="utf-8", **options):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    console = Console(file=stream, **{"width": 60, "no_color": True, **options})
    print_trace(console, tokens, scores)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


def test_without_colour_falls_are_bracketed_and_bars_stand_below():
    text, bars, legend = shown(width=120).splitlines()
    assert text == "A cup on a [table] near the [d\u00f3g]."
    assert bars[0] == " "
    assert bars[2:5] == BARS[-1] * 3
    assert bars[text.index("[d")] == BARS[0]
    assert "falls" in legend


def test_with_colour_every_scored_word_has_a_background():
    text = shown(force_terminal=True, color_system="truecolor", no_color=False)
    first = text.splitlines()[0]
    assert first.count("48;2;") == len([score for score in SCORES if score == score])
    assert first.count("\u25be") == 2


def test_ascii_terminals_get_digits():
    text = shown(tokens=["a", " b", " c"], scores=[0.1, 0.4, 0.9], encoding="ascii")
    assert text.splitlines()[1] == "1 6 9"


@pytest.mark.parametrize("width", [12, 20, 40])
def test_lines_fit_the_width(width):
    lines = shown(width=width).splitlines()
    text = [line for line in lines if "falls" not in line]
    assert max(len(line) for line in text[: len(text) // 2]) <= width


def test_wide_characters_keep_bars_aligned():
    text, bars = shown(tokens=["\u732b", "\u5bb6", " a"], scores=[0.1, 0.4, 0.9], width=120).splitlines()[:2]
    assert len(bars) == 2 + 2 + 1 + 1
    assert text == "\u732b\u5bb6 a"


def test_control_characters_are_not_passed_on():
    text = shown(tokens=["\x1b[2Jx", " y"], scores=[0.1, 0.2], width=120)
    assert "\x1b" not in text


def test_no_score_at_all():
    assert "no token has a score" in shown(tokens=["a"], scores=[math.nan])


def test_line_breaks_of_the_text_are_kept():
    lines = shown(tokens=["a", "\nb"], scores=[0.1, 0.2], width=120).splitlines()
    assert [lines[0], lines[2]] == ["a", "b"]


def test_scale_is_logarithmic_and_clipped():
    scale = Scale(low=0.01, high=1.0)
    assert [scale.share(score) for score in (0.001, 0.01, 0.1, 1.0, 5.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert scale.share(math.nan) == 0
    assert Scale.of([0.2, 0.2]).share(0.2) == 0
