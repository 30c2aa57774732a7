"""Rows over videos are those of the definition, in every family whose videos are supported."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError
from zoo import FAMILIES, MORE
from zoo.examination import CLOSE, definition, state_of
from zoo.seeing import family_of
from zoo.videos import FILMED, MORE_FILMED, filming, video

from .reference import extended, softmax_in_its_own_precision

pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
ALL = {**FAMILIES, **MORE}
FAST = ("glm4v", "gemma4")
"""Of the families of the slow tests: frames under the token of pictures, and frames that see one another."""
EVERY = [*FILMED, *(name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in MORE_FILMED)]
FINE = ("gemma4", "gemma4_unified")
"""Gemma 4's rows are moved by roundings of float32 by more than `CLOSE`: held against the definition in float64."""
COARSE = ("gemma4_large",)
"""The same with experts, whose product torch has in float32 alone."""


def chat_of(name, dtype=torch.float32):
    family = family_of(name)
    model, processor = family.build() if dtype is torch.float32 else family.fresh()
    return ls.Chat(model.to(dtype), filming(processor), dtype=dtype)


def moved_by_rounding(model, own, n0, given, wanted):
    """How far the definition's rows go when every pixel is moved by the rounding of a float32."""
    noise = 1e-7 * torch.randn(given["pixel_values_videos"].shape, generator=torch.Generator().manual_seed(0))
    rounded = {**given, "pixel_values_videos": given["pixel_values_videos"] * (1 + noise)}
    (moved,) = definition(model, own, n0, **rounded)
    return max(float((moved[layer] - wanted[layer]).abs().max()) for layer in wanted)


@pytest.mark.parametrize("name", EVERY)
def test_rows_are_those_of_the_definition(name):
    chat = chat_of(name, torch.float64 if name in FINE else torch.float32)
    tokens = 2 if name in (*FINE, *COARSE) else 4
    asked = {"max_new_tokens": tokens, "min_new_tokens": tokens}
    (answer,) = chat.ask([ls.Query("What happens?", videos=[video(0, 3)])], **asked)
    before = state_of(chat.model)
    (explained,) = chat.explain([answer])
    assert state_of(chat.model) == before
    batch, trace = answer.batch, explained.trace
    n0 = batch.inputs["input_ids"].shape[1]
    for t in range(trace.rows.shape[2]):
        own, given = batch.sequences[:, : n0 + t + 1], extended(batch.inputs, t)
        with softmax_in_its_own_precision():
            (wanted,) = definition(chat.model, own, n0 + t, **given)
        assert sorted(wanted) == trace.layers
        near = CLOSE
        if name in COARSE:  # a rounding for each of its layers, not for the pixels alone
            near = max(near, len(wanted) * moved_by_rounding(chat.model, own, n0 + t, given, wanted))
        for axis, layer in enumerate(trace.layers):
            row = trace.rows[0, axis, t].double()
            assert float((row[: n0 + t] - wanted[layer]).abs().max()) < near, (layer, t)
            assert not row[n0 + t :].any()
    shown = torch.nonzero(trace.regions.image[0])[:, 0].tolist()
    assert [position for first, end in trace.videos[0] for position in range(first, end)] == shown
    assert torch.equal(trace.scores("video"), trace.scores("image"))


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "internvl", "smolvlm", "glm4v"])
def test_a_padded_batch_has_the_rows_and_places_of_each_alone(name):
    chat = chat_of(name)
    queries = [
        ls.Query("What happens?", videos=[video(0, 3)]),
        ls.Query("Which of the two is longer, and why do you think so?", videos=[video(1, 3), video(2, 3)]),
    ]
    answers = chat.ask(queries, max_new_tokens=3, min_new_tokens=3)
    for answer, together in zip(answers, chat.explain(answers), strict=True):
        brought = chat.given_ids([answer.query], [answer.token_ids])
        (alone,) = chat.explain(brought)
        assert float((together.trace.rows - alone.trace.rows).abs().max()) < 5 * CLOSE
        assert together.trace.videos == alone.trace.videos
        for mine, other in zip(together.films, alone.films, strict=True):
            assert mine.positions.tolist() == other.positions.tolist()
            assert [step.times for step in mine.steps] == [step.times for step in other.steps]


@pytest.mark.parametrize("name", ["qwen3_vl", "internvl", "llava_onevision", "gemma4"])
def test_neutral_methods_change_nothing(name):
    chat = chat_of(name)
    inputs = chat.encode([ls.Query("What happens?", videos=[video(0, 3)])])
    asked = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False, "output_logits": True}
    plain = chat.model.generate(**inputs, **asked, return_dict_in_generate=True)
    for method in (ls.LocoRE(beta=0), ls.SGRS(alpha=0, order="greedy", execution="stepwise")):
        got = ls.generate(chat.model, inputs, [method], **asked)
        assert torch.equal(got.sequences, plain.sequences)
        assert all(torch.equal(a, b) for a, b in zip(got.logits, plain.logits, strict=True))


@pytest.mark.parametrize("method", ["vcd", "memvr", "pai", "icd"])
def test_methods_that_change_the_picture_refuse_videos(method):
    """They would noise or read pictures alone, and leave the video as it is."""
    chat = chat_of("qwen2_vl")
    inputs = chat.encode([ls.Query("What happens?", videos=[video(0, 3)])])
    with pytest.raises(SettingError, match="acts on the picture, and the inputs hold none"):
        ls.generate(chat.model, inputs, [ls.method(method)], max_new_tokens=2)


def test_a_still_video_has_the_pixels_of_its_picture():
    """A picture goes through Qwen's tower as a pair of equal frames."""
    chat = chat_of("qwen2_vl")
    frame = video(0, 1).frames[0]
    pictured = chat.encode([ls.Query("What?", [frame])])["pixel_values"]
    filmed = chat.encode([ls.Query("What?", videos=[ls.Video.of([frame] * 2, rate=2.0)])])["pixel_values_videos"]
    assert pictured.shape == filmed.shape
    assert float((pictured - filmed).abs().max()) < 0.05  # two ways of resizing, where torchvision is there


def test_the_region_is_there_only_where_videos_are():
    chat = chat_of("qwen2_vl")
    answers = chat.given_ids([ls.Query("What?", [video().frames[0]])], [[40, 41]])
    (explained,) = chat.explain(answers)
    assert explained.trace.videos is None
    assert "video" not in explained.trace.to_dict()["scores"]
    with pytest.raises(SettingError, match="no region 'video': explain a query with videos"):
        explained.trace.scores("video")
    both = ls.Query("<image> or <video>?", [video().frames[0]], videos=[video(0, 2)])
    (filmed,) = chat.explain(chat.given_ids([both], [[40, 41]]))
    assert np.isfinite(filmed.scores("video")).all()
    assert filmed.scores("video") != filmed.scores("image")
