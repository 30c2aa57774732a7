"""Every token of a video shows the frames and the place that its layout says: proven by painting one frame."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import PromptError, SettingError
from lvlm_saliency.model.regions import token_regions
from zoo.family import in_float32, picture
from zoo.paint import PAINT, REACH, STRONGEST, noise, touched
from zoo.videos import FILMED, MORE_FILMED, SLOW, built, fresh, video
from zoo.vision import decoder_input, see_patches_alone

TELLING = ("qwen3_vl", "glm46v", "smolvlm", "internvl")
"""Families whose processors write text between the frames."""


@functools.cache
def patchwise(name):
    model, processor = fresh(name)
    return see_patches_alone(model), processor


def films_of(name, width, height, frames=5):
    """A video of noise, large enough that a cell has many pixels."""
    return ls.Video.of([noise(width, height, seed) for seed in range(frames)], rate=2.0)


@pytest.mark.parametrize(("width", "height"), [(420, 260), pytest.param(200, 330, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [*FILMED, *SLOW])
def test_paint_in_a_frame_changes_the_tokens_that_show_it_there(name, width, height):
    model, processor = patchwise(name)
    film = films_of(name, width, height)
    before, layout = run(model, processor, film)
    together = 2 if len(layout.steps) == 3 else 1
    assert [step.frames for step in layout.steps] == [
        tuple(range(first, min(first + together, 5))) for first in range(0, 5, together)
    ]
    random = np.random.default_rng(7)
    side = min(width, height) // 15
    for frame in (0, 1, 3, 4):
        x, y = int(random.integers(width - side)), int(random.integers(height - side))
        paint = x, y, x + side, y + side
        painted = [sheet.copy() for sheet in film.frames]
        painted[frame].paste(PAINT, paint)
        change = (run(model, processor, ls.Video.of(painted, rate=2.0))[0] - before).abs().amax(-1).numpy()
        changed = set(np.flatnonzero(change > 1e-4).tolist())
        (tile,) = layout.step_of(frame).layout.tiles
        assert changed
        assert changed <= touched(tile, paint, REACH.get(name, 1 / 3))
        if inside := touched(tile, paint, -0.1):
            assert inside <= changed
            strongest = tile.positions.ravel()[change[tile.positions].argmax()]
            assert strongest in touched(tile, paint, STRONGEST.get(name, 0.15))


def run(model, processor, film):
    """What enters the language model, and the layout."""
    inputs = in_float32(ls.build_inputs(processor, None, "What happens?", model, videos=film))
    return decoder_input(model, inputs)[0], ls.video_layouts(processor, inputs, [[film]], model)[0][0]


@pytest.mark.parametrize("name", [*FILMED, *SLOW])
def test_a_batch_of_videos(name):
    """Left-padded, with one or two videos to a sample: the layouts hold each sample's features, each once, and say
    when they were shown; text that the processor wrote between frames is text."""
    model, processor = built(name)
    films = [[video(0, 3)], [video(1, 3), video(2, 3)]]
    prompts = ["What happens?", "Which of the two is longer, and why do you think so?"]
    inputs = ls.build_inputs(processor, None, prompts, model, videos=films)
    regions = token_regions(model, inputs)
    assert regions.padding.any()
    for helper in (model, None) if name not in ("internvl", "smolvlm", "llava_onevision") else (model,):
        layouts = ls.video_layouts(processor, inputs, films, helper)
        assert [len(own) for own in layouts] == [1, 2]
        for row, sample in enumerate(layouts):
            positions = np.concatenate([layout.positions for layout in sample])
            assert positions.tolist() == torch.nonzero(regions.image[row])[:, 0].tolist()
            for layout, film in zip(sample, films[row], strict=True):
                assert sorted(frame for step in layout.steps for frame in step.frames) == [0, 1, 2]
                assert [time for step in layout.steps for time in step.times] == film.times == [0.0, 1.5, 3.0]
                assert len({position for position, _, _ in layout.cells()}) == len(layout.positions) - len(layout.extra)
                for _, _, (left, top, right, bottom) in layout.cells():
                    assert 0 <= left < right <= film.size[0]
                    assert 0 <= top < bottom <= film.size[1]


@pytest.mark.parametrize("name", [name for name in (*FILMED, *MORE_FILMED) if name in TELLING])
def test_times_between_frames_belong_to_the_prompt(name):
    model, processor = built(name)
    film = ls.Video.of([picture(seed, (70, 44)) for seed in range(4)], times=[0.0, 21.0, 42.5, 84.0])
    inputs = ls.build_inputs(processor, None, "What happens?", model, videos=film)
    image = token_regions(model, inputs).image[0]
    told = processor.tokenizer.decode(inputs["input_ids"][0][~image])
    wanted = {
        "qwen3_vl": ["<10.5 seconds>", "<63.2 seconds>"],
        "glm46v": ["0.0 seconds", "42.5 seconds"],
        "smolvlm": ["from 00:00:", "from 00:21:", "from 00:42:", "from 01:24:", "from a 0:02:05"],
        "internvl": ["Frame1: ", "Frame4: "],
    }
    assert all(text in told for text in wanted[name]), told


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen3_vl", "internvl", "llava_onevision", "gemma4", "glm4v"])
def test_a_picture_beside_a_video(name):
    """Both lie where they lie alone, whichever comes first, and each has its own tokens."""
    model, processor = built(name)
    film, image = video(0, 3), picture(3)
    inputs = ls.build_inputs(processor, None, "Now?", model, videos=film)
    (alone,) = ls.video_layouts(processor, inputs, [[film]], model)[0]
    for prompt in ("<image> and <video>: which is it?", "<video> and <image>: which is it?"):
        inputs = ls.build_inputs(processor, image, prompt, model, videos=film)
        (layout,) = ls.video_layouts(processor, inputs, [[film]], model)[0]
        (still,) = ls.image_layouts(processor, inputs, [[image]], model, videos=[[film]])[0]
        both = np.sort(np.concatenate([layout.positions, still.positions]))
        assert both.tolist() == torch.nonzero(token_regions(model, inputs).image[0])[:, 0].tolist()
        assert (layout.positions[0] < still.positions[0]) == prompt.startswith("<video>")
        assert [step.layout.tiles[0].positions.shape for step in layout.steps] == [
            step.layout.tiles[0].positions.shape for step in alone.steps
        ]


def test_heat_of_a_frame_and_how_it_divides():
    model, processor = built("qwen2_vl")
    film = video(0, 5)
    inputs = ls.build_inputs(processor, None, "What happens?", model, videos=film)
    (layout,) = ls.video_layouts(processor, inputs, [[film]], model)[0]
    values = np.zeros(inputs["input_ids"].shape[1])
    position, step, box = list(layout.cells())[-1]
    values[position] = 2.0
    assert step.frames == (4,)
    lit = np.argwhere(layout.heatmap(values, 4) == 2.0) + 0.5
    assert len(lit)
    assert (lit >= (box[1], box[0])).all()
    assert (lit <= (box[3], box[2])).all()
    assert not layout.heatmap(values, 3).any()
    assert np.array_equal(layout.heatmap(values, 2), layout.heatmap(values, 3))  # one grid shows both
    assert layout.shares(values).tolist() == [0, 0, 1]
    assert layout.shares(values * 0).tolist() == [0, 0, 0]
    assert layout.moved(3).positions.tolist() == (layout.positions - 3).tolist()
    with pytest.raises(SettingError, match="no frame 5; the video has 5"):
        layout.heatmap(values, 5)


def test_a_video_in_a_conversation():
    model, processor = built("qwen3_vl")
    film = video(0, 3)
    turns = [
        ls.Message("user", [film, "What happens?"]),
        ls.Message("assistant", ["A dog runs."]),
        ls.Message("user", ["Which colour is it?"]),
    ]
    query = ls.Query(messages=turns)
    assert query.films == [film]
    assert not query.pictures
    inputs = ls.Chat(model, processor).encode([query])
    (layout,) = ls.video_layouts(processor, inputs, [query.films], model)[0]
    assert len(layout.steps) == 2
    assert "A dog runs." in processor.tokenizer.decode(inputs["input_ids"][0])
    with pytest.raises(PromptError, match="<video>"):
        ls.Query(messages=[ls.Message("user", [film, "What is <video>?"])]).text(processor)


# As published: what the video processor and the vision tower say, tokens of a frame, and the share of it that is seen.
PUBLISHED = {
    "LlavaOnevisionProcessor": ({"size": {"height": 384, "width": 384}}, {"num_image_tokens": 729}, 196, 378 / 384),
    "InternVLProcessor": ({"size": {"height": 448, "width": 448}}, {"image_seq_length": 256}, 256, 1.0),
    "SmolVLMProcessor": ({"max_image_size": {"longest_edge": 384}}, {"image_seq_len": 81}, 81, 378 / 384),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_frames_in_full_size(name):
    """The rules on the numbers of published checkpoints: patches of 14 pixels leave a margin of 384 unseen."""
    film, own, tokens, seen = PUBLISHED[name]
    count, mark, start = 3, 7, 5
    text = {index: f"Frame{index}: " for index in (1, 2, 3)}  # what stands before each frame, by its first id
    ids = []
    for frame in range(1, count + 1):
        ids += [10 + frame, start] if name == "InternVLProcessor" else [] if "Onevision" in name else [start]
        ids += [mark] * tokens
    ids += [mark] if "Onevision" in name else [start]
    tokenizer = SimpleNamespace(decode=lambda ids: text.get(ids[-1] - 10, "") if ids else "")
    parts = {"video_processor": SimpleNamespace(**film), "tokenizer": tokenizer, "image_token_id": mark, **own}
    processor = type(name, (), {**parts, "video_token_id": mark})()
    vision = SimpleNamespace(patch_size=14)
    model = SimpleNamespace(config=SimpleNamespace(model_type="", vision_config=vision))
    frames = ls.Video.of([picture(frame, (1280, 720)) for frame in range(count)], rate=1.0)
    (layout,) = ls.video_layouts(processor, {"input_ids": [ids]}, [[frames]], model)[0]
    assert len(layout.steps) == count
    for step in layout.steps:
        (tile,) = step.layout.tiles
        assert tile.positions.size == tokens
        assert tile.box == pytest.approx((0, 0, 1280 * seen, 720 * seen))
    assert layout.positions.tolist() == [at for at, token in enumerate(ids) if token == mark]
