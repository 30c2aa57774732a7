"""`decay`: what is weakened, by how much, and what the control takes instead."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from lvlm_saliency import hf
from lvlm_saliency.attention.session import session
from lvlm_saliency.attention.state import Capture
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.cli import main
from lvlm_saliency.decoding.loop import generate
from lvlm_saliency.errors import InputError
from lvlm_saliency.evaluation.decoding import Decoder
from lvlm_saliency.evaluation.runner import Silent
from lvlm_saliency.studies.decay.arms import write
from lvlm_saliency.studies.decay.effects import taken
from lvlm_saliency.studies.decay.study import Decay
from lvlm_saliency.studies.decay.weakening import Strength, Weakening, Written
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.labels import labeller
from lvlm_saliency.studies.settings import StudySettings
from lvlm_saliency.studies.texts import Span

PICTURES = 4


@pytest.fixture(scope="module")
def lab(scenes, tmp_path_factory):
    return Lab(
        StudySettings(out=tmp_path_factory.mktemp("lab"), n=PICTURES, max_new_tokens=32),
        model=scenes[0],
        processor=scenes[1],
    )


@pytest.fixture(scope="module")
def arm(lab, tmp_path_factory):
    benchmark = open_benchmark("scenes-caption", n=PICTURES)
    folder = tmp_path_factory.mktemp("arms")
    return lambda factor, elsewhere=False, decoder=None, folder=folder, **more: write(
        decoder or lab.decoder, benchmark, Strength(factor, elsewhere, **more), folder, Silent(), "arm"
    )


def ids(arm):
    return [tuple(row["token_ids"]) for row in arm.rows.values()]


def test_r_of_one_is_greedy_bit_for_bit(lab, arm):
    assert ids(arm(1.0)) == [text.token_ids for text in lab.texts()]
    assert arm(1.0).total("taken") == 0


def test_the_treatment_takes_what_it_says_and_changes_the_text(arm):
    weak = arm(0.1)
    assert weak.total("held") > 0
    assert weak.total("taken") == weak.total("wanted") > 0
    assert 0 < taken(weak) < 1
    assert weak.changed(arm(1.0)) > 0
    assert taken(arm(0.1)) > taken(arm(0.6)) > 0


def test_the_control_takes_as_much_where_it_can(arm):
    control = arm(0.6, elsewhere=True, partners=50)
    assert 0.8 < control.total("taken") / control.total("wanted") <= 1 + 1e-6
    few = arm(0.6, elsewhere=True, partners=1)
    assert few.total("taken") / few.total("wanted") < control.total("taken") / control.total("wanted")


def test_batches_do_not_matter(lab, arm, tmp_path):
    two = Decoder(lab.model, lab.processor, replace(lab.decoder.settings, batch_size=2))
    for elsewhere in (False, True):
        together, apart = arm(0.4, elsewhere), arm(0.4, elsewhere, decoder=two, folder=tmp_path)
        assert ids(together) == ids(apart)
        for one, other in zip(together.rows.values(), apart.rows.values(), strict=True):
            assert one["taken"] == pytest.approx(other["taken"], rel=1e-3)


def test_a_killed_arm_goes_on(arm, tmp_path):
    whole = arm(0.4)
    assert ids(arm(0.4, folder=tmp_path)) == ids(whole)
    (file,) = tmp_path.glob("*.jsonl")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2]) + lines[2][:20])  # torn in the midst of a line
    resumed = arm(0.4, folder=tmp_path)
    assert ids(resumed) == ids(whole)
    assert file.read_text().count("\n") == PICTURES


def test_rows_of_attention_are_those_of_the_factor(lab):
    """At a step, attention to the held tokens is r times what it was before renormalisation, nothing else moves."""
    text = lab.texts()[0]
    inputs = lab.decoder.inputs([text.picture()], [text.prompt])
    prompt = inputs["input_ids"].shape[1]
    model, factor, held = lab.model, 0.25, [3, 5]

    def rows(weakened):
        weakening = Weakening(Strength(factor), lab.decoder.tokenizer, [lambda text: []], [0], prompt, set())
        whole = torch.cat([inputs["input_ids"], torch.tensor([text.token_ids[:9]])], dim=1)
        with torch.no_grad(), session(model, [weakening]) as state:
            state.prompt_length = prompt
            cache = model(**{**inputs, "input_ids": whole[:, :-1], "attention_mask": torch.ones_like(whole[:, :-1])})
            weakening.samples[0].ids = list(text.token_ids[:9])
            weakening.places = weakening._mask([held]) if weakened else None
            state.capture = Capture(graph=False, layers=frozenset([0]))
            told = {"attention_mask": torch.ones_like(whole), hf.CACHE: hf.cache_of(cache)}
            model(input_ids=whole[:, -1:], **told)
        return state.capture.weights[0][0, :, 0].numpy(), weakening.taken

    (before, _), (after, noted) = rows(False), rows(True)
    expected = before.copy()
    expected[:, [prompt + t for t in held]] *= factor
    amount = (before - expected).sum()
    np.testing.assert_allclose(after, expected / expected.sum(axis=-1, keepdims=True), rtol=1e-4, atol=1e-7)
    assert noted[0, 0].item() >= amount * 0.999  # this layer's part of all layers


def test_nothing_is_weakened_in_an_answer_of_one_token(lab):
    """POPE's answers: no output stands before the first token, so the rows are left exactly alone."""
    benchmark = open_benchmark("scenes-pope", n=2)
    items = benchmark.items[:4]
    inputs = lab.decoder.inputs([benchmark.picture(item) for item in items], [item.prompt for item in items])
    always = lambda text: [Span(0, 1, False, "x", True)] if text else []  # noqa: E731
    made = [
        Weakening(
            Strength(r, confidence=0.0),
            lab.decoder.tokenizer,
            [always] * 4,
            range(4),
            inputs["input_ids"].shape[1],
            lab.decoder.ends,
        )
        for r in (1.0, 0.01)
    ]
    logits = [
        generate(
            lab.model,
            inputs,
            [one],
            max_new_tokens=1,
            do_sample=False,
            output_logits=True,
        ).logits[0]
        for one in made
    ]
    assert torch.equal(*logits)


def words_labelled(wrong=()):
    """ "cat" and "dog" in a text are labelled."""

    def label(text):
        found = [(text.find(word), word) for word in ("cat", "dog")]
        return [Span(at, at + 3, word in wrong, word, True) for at, word in sorted(found) if at >= 0]

    return label


def written(pieces, wrong=(), probabilities=None, confidence=0.5):
    sample = Written(words_labelled(wrong), 0)
    for number, piece in enumerate(pieces):
        sample.append(number, 0.9 if probabilities is None else probabilities[number], piece, confidence)
    return sample


def test_what_is_held():
    assert written(["A", " cat"]).held == []  # the word may go on
    assert written(["A", " cat", " and", " dog", "."]).held == [1, 3]
    assert written(["A", " cat", " and", " dog", "."], wrong=("dog",)).held == [1]
    assert written(["A", " cat", "."], probabilities=[0.9, 0.4, 0.9]).held == []
    assert written(["A", " c", "at", "."], probabilities=[0.9, 0.6, 0.1, 0.9]).held == [
        1,
        2,
    ]  # its opening token decides


def test_the_controls_tokens_are_other_ones_and_stay():
    sample = written(["A", " cat", " is", " by", " a", " dog", "."])
    chosen = Strength(0.5, True, partners=2, seed=4)
    first = sample.draw_others(chosen)
    assert len(first) == len(set(first)) == 4
    assert not set(first) & {1, 5, 6}  # no names, and not the token that asks
    assert sample.draw_others(chosen) == first
    again = written(["A", " cat", " is", " by", " a", " dog", "."])
    assert again.draw_others(chosen) == first


def test_the_command_from_end_to_end(tmp_path, capsys):
    call = ["study", "decay:factors=0.2,controls=0.2", "--n", "4", "--max-new-tokens", "32", "--resamples", "40"]
    assert main([*call, "--out", str(tmp_path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["decay"]) == 3
    rows = [json.loads(line) for line in (tmp_path / "decay" / "arms.jsonl").read_text().splitlines()]
    told = [(row["factor"], row["elsewhere"], row["n"]) for row in rows]
    assert told == [(1, False, 4), (0.2, False, 4), (0.2, True, 4)]
    assert rows[0]["CHAIR_s_difference"] == 0
    assert "POPE" in (tmp_path / "decay" / "page.md").read_text()


def test_a_model_that_names_nothing(tiny, tmp_path):
    settings = StudySettings(out=tmp_path, model="tiny", n=2, max_new_tokens=5)
    with pytest.raises(InputError, match=r"none of 2 texts names an object .* decay:confidence"):
        Decay().run(Lab(settings, model=tiny[0], processor=tiny[1]))


def test_labels_are_of_the_texts_own_picture(lab):
    benchmark = open_benchmark("scenes-caption", n=PICTURES)
    label = labeller(benchmark)
    item = benchmark.items[0]
    present = benchmark.by_image[item.image].present
    found = partial(label, item=item)("There is a cup and a kite and a dog.")
    assert [span.hallucinated for span in found] == [span.name not in present for span in found]
