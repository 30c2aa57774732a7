"""What SGRS did is counted as it happened, draws are judged by the picture, and verdicts follow planted records."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency.benchmarks.base import Item
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.cli import main
from lvlm_saliency.errors import SettingError
from lvlm_saliency.scenes import generate_scenes, write_caption
from lvlm_saliency.studies import gate_records
from lvlm_saliency.studies.behaviour.diversity import distinct, measures, repeated_sentences
from lvlm_saliency.studies.behaviour.first_draws import CORRECT, HALLUCINATED, OTHER, Draws, first_draws
from lvlm_saliency.studies.behaviour.page import of_draws
from lvlm_saliency.studies.behaviour.parts_of_speech import END, OBJECT, REST, by_nltk, closed, tagger
from lvlm_saliency.studies.behaviour.study import Behaviour
from lvlm_saliency.studies.behaviour.tables import longest
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS
from lvlm_saliency.studies.settings import StudySettings
from lvlm_saliency.studies.texts import Span

WORDS = ["</s>", " a", " cat", " dog", " and", "."]


class Tokenizer:
    """Six tokens, a word each."""

    all_special_ids = (0,)

    def decode(self, ids, skip_special_tokens=False):
        return "".join(WORDS[token] for token in ids)


@dataclass
class OnePicture:
    items = (Item(0, "0", "picture", ""), Item(1, "1", "other", ""))


def label(text, item):
    """A cat is in the picture, a dog is not."""
    found, seen = [], set()
    for word, wrong in sorted([("cat", False), ("dog", True)], key=lambda pair: text.find(pair[0])):
        start = text.find(word)
        while start >= 0:
            found.append(Span(start, start + len(word), wrong, word, word not in seen))
            seen.add(word)
            start = text.find(word, start + 1)
    return found


def step(token, rejected=(), *, tested=True, fallback=False, top=None):
    return {"tested": tested, "rejected": list(rejected), "fallback": fallback, "top": top or token}


def planted():
    steps = [
        (1, step(1, tested=False)),
        (3, step(3, [2], top=2)),  # a correct cat refused, a dog written
        (4, step(4)),
        (1, step(1, [1, 4, 5], fallback=True)),  # refused and written all the same
        (2, step(2)),
        (4, step(4)),
        (3, step(3, top=2)),  # a dog named again
        (0, step(0, [5])),
    ]
    return [{"index": 0, "image": "picture", "token_ids": [t for t, _ in steps], "steps": [s for _, s in steps]}]


def test_first_draws_of_a_hand_made_record():
    found = first_draws(planted(), OnePicture(), label, Tokenizer(), closed)
    assert len(found) == 7
    assert found.position.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert found.kind.tolist() == [CORRECT, OTHER, OTHER, CORRECT, OTHER, HALLUCINATED, OTHER]
    assert found.again.tolist() == [False, False, False, False, False, True, False]
    assert found.refused.tolist() == [True, False, True, False, False, False, True]
    assert found.count.tolist() == [1, 0, 3, 0, 0, 0, 1]
    assert found.fallback.tolist() == [False, False, True, False, False, False, False]
    assert found.kept.tolist() == [False, False, True, False, False, False, False]
    assert found.likeliest.tolist() == [True, True, True, True, True, False, False]
    assert found.tag.tolist() == [OBJECT, "conjunction", "article", OBJECT, "conjunction", OBJECT, "punctuation"]
    assert longest(found) == 1


def test_no_steps_make_an_empty_table():
    assert len(first_draws([], OnePicture(), label, Tokenizer())) == 0


def made(refused_wrong: float, refused_right: float, texts: int = 60, fallback: float = 0.0, seed: int = 0) -> Draws:
    """Ten draws a text: two hallucinated, four correct, four other words (a tenth of those refused)."""
    random = np.random.default_rng(seed)
    kind = np.array(([HALLUCINATED] * 2 + [CORRECT] * 4 + [OTHER] * 4) * texts, dtype=object)
    chance = np.select([kind == HALLUCINATED, kind == CORRECT], [refused_wrong, refused_right], 0.1)
    text = np.repeat(np.arange(texts), 10)
    refused = random.random(len(kind)) < chance
    fell = random.random(len(kind)) < fallback
    position = np.tile([3, 4, 3, 4, 3, 4, 5, 6, 7, 8], texts)
    none = np.zeros(len(kind), bool)
    tag = np.full(len(kind), "", dtype=object)
    return Draws(text, text, position, kind, none, tag, refused, refused.astype(int), fell, none, none)


@pytest.mark.parametrize(
    ("wrong", "right", "fallback", "verdicts"),
    [
        (0.9, 0.1, 0.0, [HOLDS, HOLDS, HOLDS]),
        (0.1, 0.7, 0.2, [FAILS, FAILS, FAILS]),
        (0.3, 0.3, 0.01, [CANNOT_TELL, FAILS, CANNOT_TELL]),
    ],
)
def test_verdicts_follow_planted_refusals(wrong, right, fallback, verdicts):
    found = of_draws("top-5", made(wrong, right, fallback=fallback), 400, 0)
    assert [one.verdict for one in found] == verdicts
    assert "n = 120" in found[0].text
    assert ("so many words can show" in found[0].text) == (verdicts[0] == CANNOT_TELL)


def test_where_nothing_is_there_nothing_is_found():
    """Of twenty worlds in which the gate does not tell words apart, about one may be said to."""
    verdicts = [of_draws("", made(0.3, 0.3, seed=seed), 300, 0)[0].verdict for seed in range(20)]
    assert verdicts.count(CANNOT_TELL) >= 16


def test_runs_of_refusals_end_with_their_text():
    nothing = np.zeros(6, bool)
    refused = np.array([True, True, False, True, True, True])
    text, position = np.array([0, 0, 0, 0, 1, 1]), np.array([2, 3, 4, 5, 2, 3])
    draws = Draws(text, text, position, text, nothing, text, refused, text, nothing, nothing, nothing)
    assert longest(draws) == 2


def test_repetition_of_hand_made_texts():
    same = "A cat is here. A cat is here. A cat is here."
    found = measures([same, "One two three four five.", ""])
    assert found["words"].tolist() == [12, 5, 0]
    assert found["distinct-1"][:2].tolist() == [4 / 12, 1]
    assert found["repeated sentences"][:2].tolist() == [pytest.approx(2 / 3), 0]
    assert found["repeated 4-grams"][:2].tolist() == [pytest.approx(1 - 4 / 9), 0]
    assert found["own 4-grams"][:2].tolist() == [1, 1]
    assert np.isnan([found[name][2] for name in found if name != "words"]).all()
    assert measures([same, same])["own 4-grams"].tolist() == [0, 0]
    assert repeated_sentences("The cat!  the CAT? A dog") == pytest.approx(1 / 3)


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.integers(1, 4))
def test_distinct_is_one_without_repetition_and_falls_with_a_copy(tokens, n):
    if len(tokens) < n:
        assert np.isnan(distinct(tokens, n))
        return
    value = distinct(tokens, n)
    assert 0 < value <= 1
    assert (value == 1) == (len({tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}) == len(tokens) - n + 1)
    assert distinct(tokens * 3, n) <= value


def test_every_word_of_the_drawn_worlds_captions_has_a_part_of_speech():
    for scene in generate_scenes(60, 3, "test"):
        for word in write_caption(scene).replace(".", " .").replace(",", " ,").split():
            assert closed("", f" {word}", False) != "other", word
    assert closed("", "", False) == END
    assert closed("", " zebra", False) == "other"


def test_parts_of_speech_elsewhere_are_nltks(monkeypatch):
    from lvlm_saliency.benchmarks import nltk_tools
    from lvlm_saliency.errors import InputError

    monkeypatch.setattr(nltk_tools, "tags", lambda words: [(word, "VBZ") for word in words])
    assert by_nltk("A cat", " runs", False) == "verb"
    assert by_nltk("A cat", "s", False) == REST
    assert by_nltk("A cat", ".", False) == "punctuation"
    assert by_nltk("A", " cat", True) == OBJECT

    def missing(words):
        raise InputError("no NLTK here")

    monkeypatch.setattr(nltk_tools, "tags", missing)

    class Chair:
        name = "chair"

    tag, said = tagger(Chair())
    assert tag is None
    assert "no NLTK here" in said


def test_what_is_kept_equals_the_steps_and_is_not_written_twice(scenes, tmp_path, monkeypatch):
    lab = Lab(StudySettings(out=tmp_path, n=5, max_new_tokens=14, batch_size=2), model=scenes[0], processor=scenes[1])
    benchmark = open_benchmark("scenes-caption", n=5)
    method = Behaviour().method(3)
    rows = gate_records.write(lab.decoder, benchmark, method, 0.9, tmp_path / "kept", lab.listener, "")
    inputs = lab.decoder.inputs([benchmark.picture(i) for i in benchmark.items], [i.prompt for i in benchmark.items])
    shape = {"do_sample": True, "temperature": 1.0, "top_p": 0.9, "top_k": 0, "max_new_tokens": 14}
    out = ls.generate(lab.model, inputs, [method], **shape)
    for row, steps in zip(rows, out.steps, strict=True):
        assert row["token_ids"] == [one.token_id for one in steps]
        assert [one["rejected"] for one in row["steps"]] == [one.rejected for one in steps]
        assert [one["fallback"] for one in row["steps"]] == [one.fallback for one in steps]
        assert [one["candidates"] for one in row["steps"]] == [len(one.candidates) for one in steps]
        assert [one["tested"] for one in row["steps"]] == [one.threshold is not None for one in steps]
    assert sum(len(one["rejected"]) for row in rows for one in row["steps"]) > 0
    (file,) = (tmp_path / "kept").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.index(b"\n", len(whole) // 2) + 9])  # killed in the midst of a line
    calls = []
    decoded = gate_records._decoded
    monkeypatch.setattr(gate_records, "_decoded", lambda *given: calls.append(len(given[-1])) or decoded(*given))
    again = gate_records.write(lab.decoder, benchmark, method, 0.9, tmp_path / "kept", lab.listener, "")
    told = [[(row["token_ids"], [one["rejected"] for one in row["steps"]]) for row in kept] for kept in (again, rows)]
    assert told[0] == told[1]  # S itself differs in its last digits between batches
    assert 0 < sum(calls) < 5
    calls.clear()
    some = open_benchmark("scenes-caption", n=3)  # another study's share of the same pictures
    assert gate_records.write(lab.decoder, some, method, 0.9, tmp_path / "kept", lab.listener, "") == again[:3]
    assert not calls


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pictures": 1}, "pictures must be a whole number"),
        ({"top_p": 1.5}, "top_p must be a number"),
        ({"confident": 2}, "confident must be a number"),
        ({"alpha": -1}, "alpha must be a number"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(SettingError, match=message):
        Behaviour(**settings)


def test_texts_of_a_file_cannot_be_written_anew(tmp_path, scenes):
    lab = Lab(StudySettings(out=tmp_path, labels="mine.jsonl"), model=scenes[0], processor=scenes[1])
    with pytest.raises(SettingError, match="--labels must name a benchmark"):
        Behaviour().run(lab)


def test_the_command(tmp_path, capsys):
    call = ["study", "behaviour:pictures=6", "--n", "24", "--max-new-tokens", "40", "--resamples", "100"]
    assert main([*call, "--out", str(tmp_path)]) == 0
    folder = tmp_path / "behaviour"
    rows = [json.loads(line) for line in (folder / "first_draws.jsonl").read_text().splitlines()]
    assert {row["candidates"] for row in rows} == {"top-5", "top-5 in top-p 0.9"}
    assert all(row["refused"] == (row["count"] > 0) for row in rows)
    assert all(row["position"] >= 2 for row in rows)
    page = (folder / "page.md").read_text()
    refused = sum(row["refused"] for row in rows if row["candidates"] == "top-5")
    assert f"of its {refused:,} refused first draws" in page
    assert (folder / "refusals.png").exists()
    capsys.readouterr()
