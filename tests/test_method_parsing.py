"""Methods and layers as users type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.parsing import parse_layers, parse_methods, parse_specs


@pytest.mark.parametrize(
    ("text", "layers"),
    [("6", [6]), ("4-6", [4, 5, 6]), ("9+4-6", [4, 5, 6, 9]), ("1, 3", [1, 3]), ("2-2", [2]), ("all", None)],
)
def test_layers(text, layers):
    assert parse_layers(text) == layers


@pytest.mark.parametrize("text", ["", "-3", "6-4", "a", "1-2-3", "4..6", "99999999999"])
def test_wrong_layers(text):
    with pytest.raises(SettingError, match="layer"):
        parse_layers(text)


@given(st.sets(st.integers(0, 200), min_size=1))
def test_any_set_of_layers_survives(layers):
    assert parse_layers("+".join(map(str, sorted(layers)))) == sorted(layers)


def test_settings_get_their_types():
    text = "sgrs:alpha=0.9,top_k=7,order=greedy,layers=4-6+9,seed=none"
    settings = {"alpha": 0.9, "top_k": 7, "order": "greedy", "layers": [4, 5, 6, 9], "seed": None}
    assert parse_specs(text) == [("sgrs", settings)]


def test_plus_joins_methods_before_a_letter_and_layers_before_a_digit():
    assert parse_specs("sgrs:layers=4+6 + locore:layers=1-2+4,beta=.2") == [
        ("sgrs", {"layers": [4, 6]}),
        ("locore", {"layers": [1, 2, 4], "beta": 0.2}),
    ]


def test_methods_are_built():
    assert parse_methods("SGRS:alpha=1+locore") == [ls.SGRS(alpha=1), ls.LocoRE()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no method named"),
        (":alpha=1", "no method named"),
        ("locor", "did you mean 'locore'"),
        ("locore:bta=1", "did you mean 'beta'"),
        ("locore:beta", "SETTING=VALUE"),
        ("locore:beta=1,beta=2", "set twice"),
        ("locore:beta=-1", "beta must be"),
        ("locore:beta=high", "beta must be"),
        ("sgrs:order=gredy", "did you mean 'greedy'"),
        ("sgrs:layers=b-c", "cannot read layers"),
    ],
)
def test_wrong_methods_are_one_clear_line(text, words):
    with pytest.raises(SettingError, match=words) as caught:
        parse_methods(text)
    assert "\n" not in str(caught.value)
