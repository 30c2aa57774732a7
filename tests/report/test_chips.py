"""What is drawn as one piece: whole characters, whatever the tokens are."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from lvlm_saliency.report.chips import chips, shown
from lvlm_saliency.report.risk import print_risk
from lvlm_saliency.report.terminal import print_trace
from lvlm_saliency.tracing.pieces import token_texts
from lvlm_saliency.tracing.words import bytes_of, candidate_texts

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
ENGLAND = "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in "gbeng") + "\U000e007f"
SYLLABLE = "\u1112\u1161\u11ab"
TEXT = f"Zwölf 猫 \U0001f600\U0001f44d\U0001f3fd {FAMILY} \U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7 e\u0301nd.\n नमस्ते"
TEXT += f" {SYLLABLE} {ENGLAND}"


class Bytes:
    """A tokenizer whose tokens are a few bytes each."""

    def __init__(self, text: bytes, cuts: list[int]):
        edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(text)}), len(text)]
        self.pieces = [text[a:b] for a, b in itertools.pairwise(edges)]

    def decode(self, ids, skip_special_tokens=False):
        return b"".join(self.pieces[i] for i in ids).decode("utf-8", errors="replace")

    def convert_ids_to_tokens(self, token):
        return "".join(f"<0x{byte:02X}>" for byte in self.pieces[token])

    def texts(self):
        return token_texts(self, list(range(len(self.pieces))))


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"), min_size=1, max_size=40),
    st.lists(st.integers(1, 120)),
)
def test_every_character_is_whole_and_every_token_in_one_piece(text, cuts):
    tokens = Bytes(text.encode(), cuts).texts()
    pieces = chips(tokens)
    assert "".join(piece.text for piece in pieces) == text
    assert [t for piece in pieces for t in piece.tokens] == list(range(len(tokens)))
    for piece in pieces:
        assert shown(piece.text)
        assert "\ufffd" not in piece.text


def test_one_piece_for_each_character_that_a_person_sees():
    tokens = Bytes(TEXT.encode(), list(range(200))).texts()
    assert tokens.count("") > 20
    pieces = [shown(piece.text) for piece in chips(tokens)]
    for whole in (
        "猫",
        "\U0001f600",
        "\U0001f44d\U0001f3fd",
        FAMILY,
        "\U0001f1e9\U0001f1ea",
        "\U0001f1eb\U0001f1f7",
        "e\u0301",
        "ö",
        SYLLABLE,
        ENGLAND,
    ):
        assert whole in pieces
    assert "\u23ce" in pieces
    assert not {"", "\u2205", "\ufffd"} & set(pieces)


@pytest.mark.parametrize("broken", [b"ab\xf0\x9f", b"\xf0\x9f", b"a\xff\xfeb", b"\xff"])
def test_bytes_that_are_no_character(broken):
    pieces = chips(Bytes(broken, [1, 2, 3]).texts())
    assert pieces[-1].end == len(Bytes(broken, [1, 2, 3]).pieces)
    assert all(shown(piece.text) and "\ufffd" not in piece.text for piece in pieces)


def test_whole_words_stay_as_they_are():
    tokens = ["A", " red", " boat", ".", "\n", "</s>"]
    assert [(piece.first, piece.end, piece.text) for piece in chips(tokens)] == [
        (at, at + 1, token) for at, token in enumerate(tokens)
    ]
    assert [shown(text) for text in ("\n", " ", " a ", "")] == ["\u23ce", "\u2423", "a", "\u00b7"]


def test_the_values_of_a_piece():
    piece = chips(["", "", "猫"])[0]
    assert piece.mean([0.2, math.nan, 0.4]) == pytest.approx(0.3)
    assert piece.largest([0.2, math.nan, 0.4]) == 0.4
    assert math.isnan(piece.mean([math.nan] * 3))


@pytest.mark.parametrize("colour", [None, "truecolor"])
def test_the_terminal_shows_characters(colour):
    tokens = Bytes("Eine 猫 \U0001f600!".encode(), list(range(30))).texts()
    scores = [math.nan] + [0.1 + 0.01 * t for t in range(len(tokens) - 1)]
    for show in (print_trace, print_risk):
        console = Console(width=70, record=True, color_system=colour, force_terminal=colour is not None)
        show(console, tokens, scores)
        text = console.export_text()
        assert "猫" in text
        assert "\U0001f600" in text
        assert "\ufffd" not in text
        assert "\u2205" not in text


def test_candidates_that_are_bytes_are_named_by_them():
    class Step:
        token_id, candidates, rejected = 0, {1: None}, []

    tokenizer = Bytes("\U0001f600".encode(), [1, 2])
    assert candidate_texts(tokenizer, [Step]) == {0: "<0xF0>", 1: "<0x9F>"}
    assert bytes_of("\u00f0\u0141") == "<0xF0><0x9F>"  # as GPT-2's alphabet writes them
    assert bytes_of("<0xE2>") == "<0xE2>"
