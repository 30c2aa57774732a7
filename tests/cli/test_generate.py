"""`generate` on the shipped model: streams, composes, compares, explains what was rejected."""

from __future__ import annotations

import json

import lvlm_saliency as ls

SHORT = ("--max-new-tokens", 8)


def ask(run, picture, *more):
    return run("generate", "--image", picture, "--prompt", "Describe the image.", *SHORT, *more)


def test_greedy_text_is_the_models_own(run, picture):
    result = ask(run, picture)
    model, processor = ls.load_model("scenes")
    inputs = ls.build_inputs(processor, [ls.open_image(picture)], "Describe the image.", model=model)
    sequences = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    text = processor.decode(sequences[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert result.status == 0
    assert result.out.split() == text.split()
    assert result.err == "[cut]: the limit on new tokens ended it; --max-new-tokens gives it more than 8\n"


def test_streamed_text_equals_the_json_text(run, picture):
    more = ("--method", "locore", "--method", "sgrs", "--seed", 3)
    streamed = ask(run, picture, *more).out.split()
    found = json.loads(ask(run, picture, *more, "--json").out)
    assert streamed == found["runs"][0]["text"].split()
    assert [method["name"] for method in found["runs"][0]["methods"]] == ["locore", "sgrs"]
    assert found["runs"][0]["methods"][1]["seed"] is None
    assert found["seed"] == 3


def test_compare_shows_greedy_sampled_and_every_method(run, picture):
    result = ask(run, picture, "--compare")
    assert result.status == 0
    rows = [line.split()[0] for line in result.out.splitlines() if line[:1].strip()]
    assert rows[-5:] == ["greedy", "sampled", "locore", "sgrs", "sgrs+locore"]
    assert "forward passes" in result.out


def test_compare_runs_the_given_methods_one_by_one(run, picture):
    found = json.loads(ask(run, picture, "--compare", "--method", "sgrs:alpha=0.9", "--method", "locore", "--json").out)
    assert [answer["name"] for answer in found["runs"]] == ["greedy", "sampled", "sgrs:alpha=0.9", "locore"]
    for answer in found["runs"]:
        assert answer["cost"]["forwards"] > 0
        assert len(answer["steps"]) == len(answer["tokens"]) <= 8


def test_explain_lists_what_was_rejected_and_why(run, picture):
    strict = ask(run, picture, "--method", "sgrs:alpha=1.3,seed=1", "--explain")
    assert strict.status == 0
    assert "rejected draws" in strict.out
    assert "threshold" in strict.out
    mild = ask(run, picture, "--method", "sgrs:alpha=0,seed=1", "--explain")
    assert "rejected: nothing" in mild.out


def test_explained_json_holds_the_trace(run, picture):
    found = json.loads(ask(run, picture, "--explain", "--json").out)
    assert len(found["runs"][0]["trace"]["scores"]["output"]) == len(found["runs"][0]["tokens"])


def test_sampling_depends_on_the_seed_only(run, picture):
    texts = [ask(run, picture, "--temperature", 1.5, "--seed", seed).out for seed in (1, 1, 2, 3, 4)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


def test_methods_that_cannot_act_together(run, picture):
    result = ask(run, picture, "--method", "sgrs", "--method", "sample")
    assert result.status == 2
    assert "choose one" in result.error
