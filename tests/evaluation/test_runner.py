"""Runs: the same whatever the batches, the shards and the interruptions."""

from __future__ import annotations

import json

import pytest
import torch

from lvlm_saliency import LocoRE
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation import evaluate
from lvlm_saliency.evaluation.decoding import Decoder

from .conftest import Notes, lines

METHODS = ["locore:beta=1", "sgrs", "sgrs:alpha=0.9,order=greedy+locore"]


def test_batch_size_and_shards_do_not_change_any_answer(settings, double):
    shared = {"benchmarks": ["scenes-caption:n=5", "scenes-pope:n=1"], "methods": METHODS, "max_new_tokens": 5}
    whole = settings("whole", batch_size=5, **shared)
    scores = evaluate(whole, model=double[0], processor=double[1])
    parts = settings("parts", **shared)
    assert (
        evaluate(settings("parts", shard="2/2", batch_size=7, **shared), model=double[0], processor=double[1]) is None
    )
    merged = evaluate(settings("parts", shard="1/2", batch_size=2, **shared), model=double[0], processor=double[1])
    assert lines(whole.out) == lines(parts.out)
    assert scores == merged
    assert (whole.out / "scores.json").read_bytes() == (parts.out / "scores.json").read_bytes()
    assert len(lines(whole.out)) == 2 * 5


def test_a_shard_does_its_own_items_only(settings, tiny):
    chosen = settings(shard="2/3")
    assert evaluate(chosen, model=tiny[0], processor=tiny[1]) is None
    rows = [json.loads(row) for row in lines(chosen.out)["scenes-caption/greedy"]]
    assert [row["index"] for row in rows] == [1, 4]
    assert not (chosen.out / "scores.json").exists()


def test_prompts_of_different_length_share_a_batch(settings, double):
    shared = {"benchmarks": ["scenes-pope"], "methods": [], "n": 1, "max_new_tokens": 4}
    alone = settings("alone", batch_size=1, **shared)
    together = settings("together", batch_size=18, **shared)
    for chosen in (alone, together):
        evaluate(chosen, model=double[0], processor=double[1])
    prompts = {
        len(json.loads(row)["prompt"]) for row in (alone.out / "inputs/scenes-pope.jsonl").read_text().splitlines()
    }
    assert len(prompts) > 1
    assert lines(alone.out) == lines(together.out)


def test_a_tokenizer_that_pads_on_the_right_is_asked_for_left_padding(settings, tiny):
    from zoo import FAMILIES

    model, processor = FAMILIES["llava"].fresh()
    processor.tokenizer.padding_side = "right"
    picture = FAMILIES["llava"].pictures()[0][0]
    inputs = Decoder(model, processor, settings()).inputs(
        [picture, picture], ["A dog?", "Is there a dog in the image?"]
    )
    assert inputs["attention_mask"][0, 0] == 0
    assert inputs["attention_mask"][:, -1].tolist() == [1, 1]
    assert processor.tokenizer.padding_side == "right"


def test_baselines_always_run_and_greedy_is_plain_generate(settings, tiny):
    model, processor = tiny
    chosen = settings(methods=[], n=2)
    evaluate(chosen, model=model, processor=processor)
    found = lines(chosen.out)
    assert set(found) == {"scenes-caption/greedy", "scenes-caption/sample"}

    benchmark = open_benchmark("scenes-caption", n=2)
    item = benchmark.items[1]
    inputs = Decoder(model, processor, chosen).inputs([benchmark.picture(item)], [item.prompt])
    expected = model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert json.loads(found["scenes-caption/greedy"][1])["token_ids"] == expected.tolist()


def test_sampling_is_a_function_of_the_seed(settings, tiny):
    texts = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        chosen = settings(name, methods=[], seed=seed, n=2)
        evaluate(chosen, model=tiny[0], processor=tiny[1])
        texts[name] = lines(chosen.out)["scenes-caption/sample"]
    assert texts["a"] == texts["b"] != texts["c"]


def test_the_same_command_again_does_nothing_twice(settings, tiny, monkeypatch):
    chosen = settings()
    first = evaluate(chosen, model=tiny[0], processor=tiny[1])
    before = {file: file.read_bytes() for file in chosen.out.glob("items/*/*")}
    monkeypatch.setattr(Decoder, "decode", None)  # would fail if it were called
    assert evaluate(settings(), model=tiny[0], processor=tiny[1]) == first
    assert before == {file: file.read_bytes() for file in chosen.out.glob("items/*/*")}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 3}, "seed = 0"),
        ({"max_new_tokens": 9}, "max_new_tokens = 8"),
        ({"methods": ["locore:beta=2"]}, "locore"),
        ({"n": 5}, "n = 6"),
        ({"temperature": 0.5}, "temperature"),
        ({"benchmarks": ["scenes-pope"]}, "scenes-caption"),
    ],
)
def test_runs_of_different_settings_do_not_mix(settings, tiny, changes, named):
    evaluate(settings(shard="1/6", methods=["locore"]), model=tiny[0], processor=tiny[1])
    with pytest.raises(SettingError, match=named):
        evaluate(settings(**{"methods": ["locore"], **changes}), model=tiny[0], processor=tiny[1])


def test_another_model_does_not_go_on_with_a_run(settings, tiny):
    from zoo import FAMILIES

    evaluate(settings(shard="1/6"), model=tiny[0], processor=tiny[1])
    other, _ = FAMILIES["llava"].fresh()
    with torch.no_grad():
        other.get_output_embeddings().weight[0] += 1
    with pytest.raises(SettingError, match=r"model\.weights"):
        evaluate(settings(), model=other, processor=tiny[1])


def test_a_folder_that_holds_something_else_is_left_alone(settings, tiny):
    chosen = settings()
    chosen.out.mkdir()
    (chosen.out / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        evaluate(chosen, model=tiny[0], processor=tiny[1])


def test_two_processes_of_one_shard_are_kept_apart(settings, tiny):
    from lvlm_saliency.files import json_lines as store

    chosen = settings()
    with (
        store.locked(chosen.out / ".lock.1-of-1"),
        pytest.raises(InputError, match="--shard"),
    ):
        evaluate(chosen, model=tiny[0], processor=tiny[1])


def test_methods_are_given_as_text_mapping_or_object(settings, tiny):
    chosen = settings(methods=["locore:beta=1", {"locore": {"beta": 1.0}}, LocoRE(beta=1)], n=1)
    scores = evaluate(chosen, model=tiny[0], processor=tiny[1])
    labels = list(scores["benchmarks"]["scenes-caption"]["answers"])
    assert labels == ["greedy", "sample", "locore:beta=1"]


def test_every_registered_method_can_be_evaluated(settings, tiny):
    from lvlm_saliency import methods

    chosen, notes = settings(methods="all", n=2, max_new_tokens=3), Notes()
    scores = evaluate(chosen, model=tiny[0], processor=tiny[1], listener=notes)
    assert not notes.notes
    assert "left_out" not in json.loads((chosen.out / "config.json").read_text())
    answers = scores["benchmarks"]["scenes-caption"]["answers"]
    assert set(answers) == {"greedy", *methods()}
    assert all(shape["answers"] == 2 for shape in answers.values())


@pytest.fixture
def memvr_without_layers(monkeypatch):
    """MemVR meets a model that has nothing for it."""
    from lvlm_saliency.interventions.memvr import MemVR

    def refuse(self, model):
        raise SettingError("memvr: the layers of this model have no plain feed-forward block (up_proj) to add to")

    monkeypatch.setattr(MemVR, "check_model", refuse)


def test_all_goes_without_what_cannot_serve_the_model(settings, tiny, memvr_without_layers):
    from lvlm_saliency import methods

    chosen, notes = settings(methods=["all", "locore:beta=1"], n=1, max_new_tokens=2), Notes()
    scores = evaluate(chosen, model=tiny[0], processor=tiny[1], listener=notes)
    answers = scores["benchmarks"]["scenes-caption"]["answers"]
    assert set(answers) == {"greedy", *methods(), "locore:beta=1"} - {"memvr"}
    assert [note for note in notes.notes if note.startswith("memvr is left out: ")] == notes.notes
    held = json.loads((chosen.out / "config.json").read_text())
    assert list(held["left_out"]) == ["memvr"]
    assert "memvr" not in held["systems"]
    assert "| left out: memvr | memvr: the layers" in (chosen.out / "summary.md").read_text()


def test_what_is_named_stops_the_run_where_it_cannot_serve_the_model(settings, tiny, memvr_without_layers):
    for given in (["memvr"], ["all", "memvr"], ["memvr", "all"], ["all", "memvr+locore"]):
        with pytest.raises(SettingError, match="no plain feed-forward block"):
            evaluate(settings(methods=given), model=tiny[0], processor=tiny[1])
    assert not settings().out.exists()


def test_passes_per_token_do_not_grow_with_the_batch(settings, double):
    from lvlm_saliency.evaluation.cost import summed
    from lvlm_saliency.evaluation.folder import RunFolder
    from lvlm_saliency.evaluation.systems import system

    for name in ("opera:candidates=2,n_beams=2", "beam:n_beams=2"):
        passes = []
        for size in (1, 3):
            chosen = settings(f"{name[:4]}{size}", methods=[name], n=3, batch_size=size, max_new_tokens=4)
            evaluate(chosen, model=double[0], processor=double[1])
            rows = RunFolder(chosen.out).rows("cost", "scenes-caption", system(name, 0))
            passes.append(summed(rows)["forwards_per_token"])
        assert 1 <= passes[1] <= passes[0]
