"""Object words: whole words, the longest name first, complete when what follows cannot change them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.errors import InputError
from lvlm_saliency.guard.sentences import clause_start, closed, sentence_ends
from lvlm_saliency.guard.vocabulary import Vocabulary, open_vocabulary, plural
from lvlm_saliency.guard.words import mentions

WORDS = Vocabulary.of(
    {"dog": ["puppy"], "hot dog": [], "person": ["man"], "knife": [], "glass": [], "wine glass": [], "orange": []}
)


def found(text, **more):
    return [m.name for m in mentions(text, WORDS, **more) if m.complete]


def test_whole_words_in_every_form():
    assert found("A Dog, two dogs, PUPPIES and a dogma.") == ["dog", "dog", "dog"]
    assert found("Men with knives; three people.") == ["person", "knife", "person"]
    assert found("gla gl puppys scissor.") == []


def test_the_longest_name_wins():
    assert found("A hot dog and wine glasses. A hot-dog.") == ["hot dog", "wine glass", "hot dog"]
    assert found("Orange juice beside an orange.") == ["orange"]
    assert found("A baby dog sleeps.") == ["dog"]


def test_a_word_is_complete_when_the_next_one_cannot_change_it():
    assert found("a dog") == []  # it may go on as dogma
    assert found("a dog,") == ["dog"]
    assert found("a wine ") == []
    assert found("a glass of") == ["glass"]
    assert found("a dog ho") == []  # it may become a dog house
    assert found("a dog hop") == ["dog"]
    assert found("a dog", final=True) == ["dog"]


def test_what_is_denied_or_left_open():
    no, maybe, plain = mentions("There is no dog here. Possibly a man is there. A dog.", WORDS, final=True)
    assert [(m.negated, m.hedged) for m in (no, maybe, plain)] == [(True, False), (False, True), (False, False)]


@given(st.text(alphabet="dogsht .,\n-", max_size=40))
def test_mentions_stand_apart_and_are_words(text):
    last = 0
    for mention in mentions(text, WORDS, final=True):
        assert last <= mention.start < mention.end
        last = mention.end
        before, behind = text[: mention.start][-1:], text[mention.end :][:1]
        assert not before.isalpha()
        assert not behind.isalpha()


def test_plurals():
    assert [plural(word) for word in ("bus", "city", "box", "woman", "snowman", "sheep", "wine glass", "toy")] == [
        "buses", "cities", "boxes", "women", "snowmen", "sheep", "wine glasses", "toys",
    ]  # fmt: skip


def test_a_file_of_names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("# what we look for\nsofa, couch\n\nfire hydrant, hydrant # red\n")
    words = open_vocabulary(str(path))
    assert words.canonical == ("fire hydrant", "sofa")
    assert [m.name for m in mentions("Two couches and hydrants.", words)] == ["sofa", "fire hydrant"]
    path.write_text("sofa, couch\nbench, couch\n")
    with pytest.raises(InputError, match="stands for two objects"):
        open_vocabulary(str(path))


def test_the_vocabularies_that_ship():
    assert len(open_vocabulary("scenes").canonical) == 22
    nouns = open_vocabulary("nouns")
    assert {"person", "traffic light", "laptop"} <= set(nouns.canonical)
    assert not {"image", "picture", "scene", "photo", "view", "background", "side", "top"} & set(nouns.surfaces)


def test_sentences_end_where_the_next_one_begins():
    text = 'Dr. Smith has 3.5 dogs. They run! "Yes." He said. And'
    parts = [text[a:b].strip() for a, b in zip([0, *sentence_ends(text)], sentence_ends(text), strict=False)]
    assert parts == ["Dr. Smith has 3.5 dogs.", "They run!", '"Yes."', "He said."]
    assert sentence_ends("A dog.") == []  # it may go on: "A dog.5"
    assert sentence_ends("A dog.", final=True) == [6]
    assert sentence_ends("A dog.\nA cat") == [7]
    assert sentence_ends("", final=True) == [0]


def test_clauses():
    text = "There is a dog, and a cat with a hat."
    assert text[clause_start(text, 0, text.index("hat")) :] == "with a hat."
    assert text[clause_start(text, 0, text.index("dog")) :] == text
    assert [closed(text) for text in ("A dog. ", "", "A dog")] == [True, True, False]
