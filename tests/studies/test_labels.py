"""Labelled texts: tokens and spans, CHAIR's labels, and a user's file with everything that can be wrong with it."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import InputError
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.label_files import read_labelled
from lvlm_saliency.studies.labels import labelled
from lvlm_saliency.studies.settings import StudySettings
from lvlm_saliency.studies.texts import Span, first_mentions
from lvlm_saliency.tracing.pieces import overlapping, text_pieces, tokenised
from zoo.tokenizer import build_tokenizer

TOKENIZER = build_tokenizer(image_token="<image>")


@given(st.text(max_size=40))
def test_tokens_join_to_the_text(text):
    ids, pieces = tokenised(TOKENIZER, text)
    assert "".join(pieces) == text
    assert len(ids) == len(pieces)
    assume(not set(ids) & set(TOKENIZER.all_special_ids))  # such a text is refused: hypothesis does find "<image>"
    if text.isprintable():
        assert pieces == text_pieces(TOKENIZER, ids)


def test_a_character_of_several_tokens_belongs_to_the_last():
    _, pieces = tokenised(TOKENIZER, "a 🐱 cat")
    at = next(number for number, piece in enumerate(pieces) if "🐱" in piece)
    assert pieces[at].strip() == "🐱"
    assert pieces[at - 1] == ""
    assert "".join(pieces) == "a 🐱 cat"


def test_a_tokenizer_without_places_must_give_the_text_back():
    class Slow:
        is_fast, all_special_ids = False, ()

        def __call__(self, text, add_special_tokens):
            return {"input_ids": [1, 2]}

        def decode(self, ids, skip_special_tokens):
            return "".join({1: "a", 2: " cat"}[i] for i in ids)

    assert tokenised(Slow(), " a cat") == ([1, 2], [" a", " cat"])
    with pytest.raises(InputError, match="gives a text back as 'a cat'"):
        tokenised(Slow(), "A cat")


def test_spans_of_tokens():
    spans = [Span(1, 4, False, "", True), Span(4, 6, False, "", True), Span(6, 7, False, "", True)]
    assert overlapping(["ab", "", "c", "def"], spans) == [[0, 2, 3], [3], []]


@given(st.lists(st.sampled_from("abc")))
def test_first_mentions(names):
    assert [name for name, first in zip(names, first_mentions(names), strict=True) if first] == list(
        dict.fromkeys(names)
    )


def test_what_the_scenes_model_writes_is_tokenised_back_to_itself(scenes, tmp_path):
    lab = Lab(StudySettings(out=tmp_path, n=4), model=scenes[0], processor=scenes[1])
    for text in lab.texts():
        assert "".join(text.pieces) == text.text
        ids, pieces = tokenised(lab.decoder.tokenizer, text.text)
        assert (*ids, *text.token_ids[len(ids) :]) == text.token_ids
        assert pieces == list(text.pieces[: len(ids)])
        for span, tokens in zip(text.spans, text.span_tokens(), strict=True):
            assert "".join(text.pieces[t] for t in tokens).strip() == text.text[span.start : span.end]


def test_labels_from_chair(tmp_path):
    (tmp_path / "synonyms.txt").write_text("person, man, woman\ndog, puppy\nwine glass\n")
    (tmp_path / "coco_objects.json").write_text(json.dumps({"42": ["dog"]}))
    benchmark = open_benchmark("chair", images=tmp_path, data=tmp_path)
    ids = TOKENIZER("A Puppy, two wine glasses and a dog", add_special_tokens=False)["input_ids"]
    (text,) = labelled(benchmark, {0: {"token_ids": [*ids, TOKENIZER.eos_token_id]}}, TOKENIZER)
    assert [(text.text[s.start : s.end], s.hallucinated, s.name, s.first) for s in text.spans] == [
        ("Puppy", False, "dog", True),
        ("wine glasses", True, "wine glass", True),
        ("dog", False, "dog", False),
    ]
    ids = TOKENIZER("a wine glass by a man", add_special_tokens=False)["input_ids"]
    (text,) = labelled(benchmark, {0: {"token_ids": ids}}, TOKENIZER)
    assert [(text.text[s.start : s.end], s.hallucinated, s.name) for s in text.spans] == [
        ("wine glass", True, "wine glass"),
        ("man", True, "person"),
    ]
    assert labelled(benchmark, {0: {"error": "broken"}}, TOKENIZER) == []


def test_what_a_model_writes_on_coco_pictures_is_labelled(tiny, tmp_path):
    (tmp_path / "synonyms.txt").write_text("dog\ncat, a\n")
    (tmp_path / "coco_objects.json").write_text(json.dumps({"42": ["dog"]}))
    Image.new("RGB", (40, 40), "green").save(tmp_path / "COCO_val2014_000000000042.jpg")
    chosen = StudySettings(out=tmp_path / "o", labels="chair", images=tmp_path, data=tmp_path, n=1, max_new_tokens=4)
    (text,) = Lab(chosen, model=tiny[0], processor=tiny[1]).texts()
    assert text.image == "COCO_val2014_000000000042.jpg"
    assert "".join(text.pieces) == text.text
    assert text.picture().size == (40, 40)


def test_answers_without_labels_are_refused_before_anything_is_loaded(tmp_path):
    with pytest.raises(InputError, match="scenes-pope: no labelled words in its answers; give --labels scenes-caption"):
        Lab(StudySettings(out=tmp_path, labels="scenes-pope"))


LINE = {"image": "a.png", "prompt": "Describe it.", "text": "A cat, a dog and a Cat."}
SPANS = [
    {"start": 9, "end": 12, "hallucinated": True},
    {"start": 2, "end": 5, "hallucinated": False},
    {"start": 19, "end": 22, "hallucinated": False, "name": "CAT"},
]


@pytest.fixture
def write(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)

    def written(*rows):
        path = tmp_path / "labelled.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return written


def test_a_users_file(write):
    path = write({**LINE, "spans": SPANS}, "", {**LINE, "text": " Nothing", "spans": []})
    one, other = read_labelled(path, None, TOKENIZER)
    assert one.spans == (
        Span(2, 5, False, "cat", True),
        Span(9, 12, True, "dog", True),
        Span(19, 22, False, "cat", False),
    )
    assert one.picture().size == (9, 9)
    assert other.text == "".join(other.pieces) == " Nothing"
    assert other.spans == ()


def test_n_counts_pictures(write):
    rows = [{**LINE, "image": name, "spans": []} for name in ("b.png", "a.png", "b.png", "a.png")]
    assert [text.image for text in read_labelled(write(*rows), None, TOKENIZER, n=1)] == ["b.png", "b.png"]
    assert len(read_labelled(write(*rows), None, TOKENIZER)) == 4


def bad(**span):
    return {**LINE, "spans": [{"start": 2, "end": 5, "hallucinated": True, **span}]}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{broken", "labelled.jsonl:2: not JSON"),
        ("[1]", "labelled.jsonl:2: expected a JSON object"),
        ({**LINE, "text": " ", "spans": []}, "labelled.jsonl:2: 'text' must be text that is not empty"),
        ({"image": "a.png", "text": "A", "spans": []}, "labelled.jsonl:2: 'prompt' must be"),
        ({**LINE, "image": "c.png", "spans": []}, "labelled.jsonl:2: no picture 'c.png' in .*--images"),
        (LINE, "labelled.jsonl:2: 'spans' must be a list"),
        (bad(end=99), "labelled.jsonl:2: span 1: 2 to 99 holds no word of the text, which has 23 characters"),
        (bad(start=-1), "span 1: -1 to 5 holds no word"),
        (bad(start=5), "span 1: 5 to 5 holds no word"),
        (bad(start=6, end=7), "span 1: 6 to 7 holds no word"),
        (bad(start="2"), "span 1: start and end must be whole numbers"),
        (bad(start=True), "span 1: start and end must be whole numbers"),
        (bad(hallucinated=1), "span 1 needs start, end, and hallucinated as true or false"),
        (bad(name=""), "span 1: name must be text"),
        ({**LINE, "spans": [*SPANS, {**SPANS[0], "start": 7}]}, r"two spans overlap at character 9 \('dog'\)"),
    ],
)
def test_a_line_that_cannot_be_used(write, row, message):
    with pytest.raises(InputError, match=message):
        read_labelled(write({**LINE, "spans": SPANS}, row), None, TOKENIZER)


def test_a_special_token_is_no_text(write):
    row = {**LINE, "text": "A cat <image>.", "spans": []}
    with pytest.raises(InputError, match=r"labelled.jsonl:1: '<image>' is a special token, not text: write the text"):
        read_labelled(write(row), None, TOKENIZER)


def test_words_that_the_model_cannot_write(write):
    class Words:
        is_fast, unk_token_id = True, 0

        def __call__(self, text, **_):
            return {"input_ids": [3, 0], "offset_mapping": [(0, 1), (1, 5)]}

    with pytest.raises(
        InputError, match=r"labelled.jsonl:1: the model's tokenizer does not know 'cat, a dog and a Cat.'"
    ):
        read_labelled(write({**LINE, "spans": SPANS}), None, Words())


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_labelled(tmp_path / "missing.jsonl", None, TOKENIZER)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="empty"):
        read_labelled(tmp_path / "empty.jsonl", None, TOKENIZER)
