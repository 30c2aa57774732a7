"""What a guard did to a text, on a terminal: each sentence that was taken back has its own reason."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

import lvlm_saliency.report
from lvlm_saliency.guard.events import Event, Try
from lvlm_saliency.report.guard import WHY, print_guard


def printed(tokens, events) -> str:
    out = io.StringIO()
    print_guard(Console(file=out, width=200), tokens, events)
    return out.getvalue()


def tried(why: str, risk: float = 0.004) -> str:
    event = Event("cup", "cup", (0, 2), None, "rewritten", (Try("There is a blue", "blue", "cup", risk, why),))
    return printed(["A", " day."], [event])


def test_an_object_is_taken_back_for_its_risk():
    text = tried("absent", 0.97)
    assert "There is a blue   (blue: risk 97%)" in text
    assert "written instead: A day." in text


@pytest.mark.parametrize("why", sorted(WHY))
def test_what_was_not_taken_back_for_a_risk_shows_none(why):
    text = tried(why)
    assert f"(blue: {WHY[why]})" in text
    assert "risk" not in text


def test_counts():
    kept = Event("cup", "cup", (0, 1), 0.01, "kept")
    assert "object words checked: 1; sentences taken back: none" in printed(["cup"], [kept])
    assert "object words checked: 0; sentences taken back: 1" in tried("again")


def test_the_page_gives_the_same_reasons():
    script = (Path(lvlm_saliency.report.__file__).parent / "static" / "main.js").read_text()
    (found,) = re.findall(r"const because = \{(.*?)\};", script, re.DOTALL)
    assert {key.strip('"'): value for key, value in re.findall(r'("[\w ]+"|\w+): "([^"]*)"', found)} == WHY
