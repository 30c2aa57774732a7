"""The tokeniser: its own rules on examples, and NLTK's `word_tokenize` where NLTK is there to ask."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvlm_saliency.benchmarks.chair.lists import words
from lvlm_saliency.benchmarks.chair.sentences import final_stops
from lvlm_saliency.benchmarks.chair.tokenizer import tokenize


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("A dog. A Cat.", ["a", "dog", ".", "a", "cat", "."]),
        ("a table.the cat", ["a", "table.the", "cat"]),
        ("dog/cat, kite-flying", ["dog/cat", ",", "kite-flying"]),
        ("the dog's bowl isn't here", ["the", "dog", "'s", "bowl", "is", "n't", "here"]),
        ("the dogs' bowls", ["the", "dogs", "'", "bowls"]),
        ("five o'clock", ["five", "o'clock"]),
        ("the dog’s bowl", ["the", "dog", "’", "s", "bowl"]),
        ('a "stop" sign (red)', ["a", "``", "stop", "''", "sign", "(", "red", ")"]),
        ("it cannot, at 4:30, cost $3,000.", ["it", "can", "not", ",", "at", "4:30", ",", "cost", "$", "3,000", "."]),
        ("a\n\nb", ["a", "b"]),
        ("wait... what?!", ["wait", "...", "what", "?", "!"]),
        ("", []),
    ],
)
def test_examples(caption, tokens):
    assert tokenize(caption) == tokens


@pytest.mark.parametrize(
    ("text", "stops"),
    [
        ("dr. smith has a dog.", 1),  # an abbreviation goes on
        ("2. a table. x. a chair.", 2),  # so do a number and an initial before a word
        ("there are 2. (two)", 1),  # but not before a bracket
        ('a "dog." and', 1),
        ("a dog.”", 1),
        ("a dog...", 0),
        ("u.s. flag", 0),
        ("in the u.s.", 1),
    ],
)
def test_which_stops_end_a_sentence(text, stops):
    assert len(final_stops(text)) == stops


@given(st.text(max_size=200))
def test_nothing_is_lost_but_white_space_and_quotes(caption):
    kept = "".join(tokenize(caption)).replace("``", '"').replace("''", '"')
    assert kept == "".join(caption.lower().split()).replace("``", '"').replace("''", '"')


WORDS = st.sampled_from(
    words(
        "dog cats table. table.the (table.) “table.” 'hello' o'clock don't cannot it's dogs' u.s. dr. e.g. 2. 3.5 "
        "3,000 4:30 x. st. $5 100% #1 a/b -- … ... .. ! ? ?! * ; the.) no. etc. [1]. cat.] dog.’ ’s ‘dog’ kite-flying "
        "1) {y} is"
    )
)
GAPS = st.sampled_from([" "] * 6 + ["\n", "\n\n", "  ", ", ", ". ", "."])


@given(st.lists(st.tuples(WORDS, GAPS), max_size=14).map(lambda parts: "".join(map("".join, parts))))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_as_nltk(nltk_words, caption):
    def quotes_alike(tokens):
        return ['"' if token in {"``", "''"} else token for token in tokens]

    assert quotes_alike(tokenize(caption)) == quotes_alike(nltk_words(caption.lower()))
