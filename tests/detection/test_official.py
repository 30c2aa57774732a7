"""Every score that a released function computes, against what that function gave on the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

import lvlm_saliency as ls
from detection.made import lens, reference, text
from lvlm_saliency.detection.ads import dispersion, rectangle
from lvlm_saliency.detection.base import Depth
from lvlm_saliency.detection.lens_cosine import grounding
from lvlm_saliency.detection.mention import Mention
from lvlm_saliency.detection.reading import Reading

CLOSE = {"rel": 1e-4, "abs": 2e-6}


def stepwise(steps, image) -> Reading:
    """A text from rows by step, `[steps][layers][heads][keys of that step]`."""
    keys, layers = len(steps[0][0][0]), len(steps[0])
    width = keys + len(steps)
    laid = np.zeros((layers, len(steps[0][0]), len(steps), width))
    for step, listed in enumerate(steps):
        rows = np.array(listed)
        laid[:, :, step, : rows.shape[-1]] = rows
    return Reading(
        ids=np.arange(width),
        prompt=keys,
        image=image,
        depth=Depth.of(layers),
        rows=np.arange(len(steps)),
        attention=dict(enumerate(laid)),
    )


def test_svar():
    given = reference("svar")
    reading = stepwise(given["last_query_rows"], np.arange(*given["vision_span"]))
    # The official range is of 32 layers; here there are 20: layer l of 20 is asked for as l x 32 / 20.
    svar = ls.detector("svar", first=5 * 32 / 20, last=18 * 32 / 20)
    for found in given["results"].values():
        at = found["step"]
        assert -svar.score(reading, Mention(at, at + 1)) == pytest.approx(found["SVAR_5_18"], **CLOSE)


def test_lookback():
    given = reference("lookback")
    reading = stepwise(given["last_rows_step_layer_head_key"], np.arange(given["context_length"]))
    expected = np.array(given["lookback_ratio_layer_head_step"])
    for step in range(expected.shape[-1]):
        assert ls.detector("lookback").ratios(reading, step) == pytest.approx(expected[..., step], rel=1e-4)
        risk = ls.detector("lookback").score(reading, Mention(step, step + 1))
        assert risk == pytest.approx(-expected[..., step].mean(), rel=1e-4)


def test_ads():
    given = reference("ads")
    maps = np.array(given["attention_layers_heads_patches"]).mean(axis=1)
    tiles = [np.arange(36).reshape(6, 6)]
    for case in given["cases"]:
        chosen = case["kwargs"]
        if chosen.get("connectivity", 8) != 8 or set(chosen) - {"top_patch_pct", "min_blob_area", "connectivity"}:
            continue
        options = {"share": chosen.get("top_patch_pct", 0.1), "area": chosen.get("min_blob_area", 3)}
        found = [dispersion(row, tiles, **options) for row in maps]
        assert found == pytest.approx(case["per_layer"], **CLOSE)
    for case in given["single_maps"]:
        height, width = case["grid"]
        tile = np.arange(height * width).reshape(height, width)
        found = dispersion(np.array(case["map"]), [tile])
        assert found == pytest.approx(case["ads_8conn_top10pct_area3"], abs=1e-5), case["name"]
    for count, expected in given["find_hw"].items():
        assert rectangle(int(count)) == tuple(expected)


def test_cgc():
    given = reference("cgc")
    words, patches = np.array(given["token_hidden"]), np.array(given["patch_hidden"])
    layers = len(words)
    reading = text(prompt=patches.shape[1] + 2, image=slice(1, 41), depth=layers)
    reading.text = {layer + 1: np.tile(words[layer], (5, 1)) for layer in range(layers)}
    reading.image_states = {layer + 1: patches[layer] for layer in range(layers)}
    checked = 0
    for case in given["cases"]:
        chosen = case["kwargs"]
        names = {"top_k_patches": "count", "top_k_pct": "share"}
        if set(chosen) - set(names):
            continue
        found = ls.detector("cgc", **{names[name]: value for name, value in chosen.items()})
        by_layer = found.by_layer(reading, 0, range(layers))
        assert list(by_layer.values()) == pytest.approx(case["per_layer"], **CLOSE)
        assert -found.score(reading, Mention(0, 1)) == pytest.approx(case["score"], **CLOSE)
        checked += 1
    assert checked >= 3


def test_internal_confidence():
    given = reference("internal_confidence")
    states, head = np.array(given["hidden_states_layers_tokens_dim_incl_embeddings"]), np.array(given["lm_head_weight"])
    start, count = given["image_start"], given["num_image"]
    for name, ids in given["class_token_ids_after_dropping_bos"].items():
        reading = text(prompt=7, count=len(ids), image=slice(start, start + count), depth=len(states) - 1)
        reading.ids[7:] = ids
        reading.image_lens = {
            (index, 1.0): lens(states[index, start : start + count] @ head.T, ids) for index in range(len(states))
        }
        risk = ls.detector("internal-confidence").score(reading, Mention(0, len(ids)))
        assert -risk == pytest.approx(given["confidence"][name], **CLOSE)


@pytest.mark.parametrize("mode", ["official_code", "paper"])
def test_glsim(mode):
    given = reference("glsim")
    head = np.array(given["lm_head_weight"])
    first, last = given["image_span_inclusive"]
    prefill = {int(i): np.array(rows) for i, rows in given["prefill_hidden_layers_31_32"].items()}
    steps = given["step_hidden_layers_31_32"]
    for expected in given["scores"].values():
        token = given["answer_ids"].index(expected["first_token"])
        reading = text(prompt=9, count=5, image=slice(first, last + 1), depth=32)
        reading.ids[9:] = given["answer_ids"]
        reading.image_states = {32: prefill[32][first : last + 1]}
        rows = {i: [prefill[i][-1], *(np.array(step[str(i)] if isinstance(step, dict) else step[i - 31]).ravel()
                                      for step in steps)] for i in (31, 32)}  # fmt: skip
        reading.rows = np.arange(len(rows[31]))
        reading.text = {i: np.array(some) for i, some in rows.items()}
        reading.image_lens = {(32, 1.0): lens(prefill[32][first : last + 1] @ head.T, given["answer_ids"])}
        glsim = ls.detector("glsim", count=3 * 576 / 5, mode=mode)
        parts = glsim.parts(reading, token)
        assert parts["local"] == pytest.approx(expected["local_31_32"], **CLOSE)
        order = "global_31_32" if mode == "official_code" else "global_32_31"
        assert parts["global"] == pytest.approx(expected[order], **CLOSE)
        if mode == "official_code":
            assert -glsim.score(reading, Mention(token, token + 1)) == pytest.approx(expected["glsim"], **CLOSE)


def test_rauq():
    given = reference("rauq")
    weights = np.array(given["attention_layer_head_q_k_over_generated_tokens"])  # [layers, heads, T, T]
    layers, heads, count, _ = weights.shape
    reading = text(prompt=6, count=count, depth=layers)
    reading.logprob, reading.entropy = np.array(given["log_likelihoods"]), np.array(given["entropy"])
    for layer in range(layers):
        chain = np.zeros((heads, 2, count + 1))
        chain[:, 0, 1:count] = weights[layer][:, np.arange(1, count), np.arange(count - 1)]
        reading.chain[layer] = chain
    for settings, expected in (
        ({"alpha": 0.2}, given["score_alpha_0.2"]),
        ({"alpha": 0.5}, given["score_alpha_0.5_instruct"]),
        ({"alpha": 0.8, "mode": "entropy", "vocabulary": given["vocab"]}, given["score_entropy_alpha_0.8"]),
    ):
        assert ls.detector("rauq", **settings).sequence(reading) == pytest.approx(expected[0], **CLOSE)


def test_overthinking():
    given = reference("overthinking")
    reading = text(depth=5)
    reading.text_top = np.tile(given["top1_per_layer"], (5, 1))
    reading.text_entropy = np.tile(given["entropies_per_layer"], (5, 1))
    found = ls.detector("overthinking").score(reading, Mention(1, 2))
    assert found == pytest.approx(given["overthinking_score"], **CLOSE)


def test_grounding_cosine():
    given = reference("svgate")
    for name, direction in given["object_directions"].items():
        found = grounding(np.array(given["patches_normed"]), np.array(direction), 10)
        found -= given["calibration"].get(name, given["calibration"]["mean"])
        assert found == pytest.approx(given["gc"][name], **CLOSE)
