"""Videos that a model does not take, and inputs that do not belong to their videos, are refused in one line."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import InputError, PromptError, UnsupportedModelError
from lvlm_saliency.model.input_checks import check_inputs
from lvlm_saliency.model.regions import token_regions
from zoo import FAMILIES, MORE
from zoo.family import picture
from zoo.videos import FILMED, SLOW, built, video


@pytest.mark.parametrize("name", ["llava", "idefics3", "gemma3", "llava_next"])
def test_models_of_pictures_take_no_videos(name):
    model, processor = FAMILIES[name].build()
    with pytest.raises(UnsupportedModelError, match="takes pictures and no videos: give frames of it as pictures"):
        ls.build_inputs(processor, None, "What happens?", model, videos=video())


def test_text_models_take_no_videos():
    with pytest.raises(PromptError, match="text model, which takes no videos"):
        ls.build_inputs(FAMILIES["llama"].build()[1], None, "What happens?", videos=video())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minicpmv4_6", "ernie4_5_vl_moe"])
def test_families_whose_videos_are_not_known(name):
    model, processor = MORE[name].build()
    with pytest.raises(UnsupportedModelError, match="are not supported: it is not known here which of its tokens"):
        ls.build_inputs(processor, None, "What happens?", model, videos=video())
    with pytest.raises(UnsupportedModelError, match="not known here which tokens"):
        ls.video_layouts(processor, {"input_ids": [[1]]}, [[video()]], model)


def test_smolvlm_takes_pictures_or_videos():
    """Its processor keeps both under one name: one would be lost."""
    model, processor = built("smolvlm")
    with pytest.raises(UnsupportedModelError, match="pictures or videos, not both in one batch"):
        ls.build_inputs(processor, picture(1), "What happens?", model, videos=video())
    with pytest.raises(UnsupportedModelError, match="not both in one batch"):
        ls.Chat(model, processor).encode([ls.Query("a?", [picture(1)]), ls.Query("b?", videos=[video()])])


@pytest.mark.parametrize("name", [*FILMED, *SLOW])
def test_a_part_that_is_missing_is_named(name):
    model, processor = built(name)
    inputs = dict(ls.build_inputs(processor, None, "What happens?", model, videos=video(0, 3)))
    parts = {"video_grid_thw", "mm_token_type_ids", "video_position_ids", "num_frames_per_video", "second_per_grid_ts"}
    for part in parts & set(inputs):
        with pytest.raises(InputError, match=f"the inputs lack {part}"):
            check_inputs(model, {k: v for k, v in inputs.items() if k != part})
    first = int(token_regions(model, inputs).image[0].int().argmax())
    sheets = ("input_ids", "attention_mask", "mm_token_type_ids")  # three of the video's tokens are cut out
    cut = {k: torch.cat([v[:, :first], v[:, first + 3 :]], 1) if k in sheets else v for k, v in inputs.items()}
    with pytest.raises(PromptError, match=r"tokens but its (videos|pictures) make"):
        check_inputs(model, cut)


def test_a_prompt_that_names_pictures_as_frames():
    """InternVL's frames are known by their names, which a prompt may give to pictures: told apart, or refused."""
    model, processor = built("internvl")
    image, film = picture(2, (40, 40)), video(0, 3)
    inputs = ls.build_inputs(processor, image, "Frame1: <image> or <video>?", model, videos=film)
    (layout,) = ls.video_layouts(processor, inputs, [[film]], model)[0]
    (still,) = ls.image_layouts(processor, inputs, [[image]], model, videos=[[film]])[0]
    assert still.positions[-1] < layout.positions[0]
    one = video(0, 1)
    inputs = ls.build_inputs(processor, image, "Frame1: <image> or <video>?", model, videos=one)
    with pytest.raises(InputError, match="itself names pictures as a video's frames"):
        ls.video_layouts(processor, inputs, [[one]], model)


def test_mistakes_are_named():
    model, processor = built("qwen2_vl")
    film = video(0, 4)
    inputs = ls.build_inputs(processor, None, "What happens?", model, videos=film)
    with pytest.raises(InputError, match="a video of 8 frames has 2 grids in the inputs"):
        ls.video_layouts(processor, inputs, [[video(0, 8)]], model)
    with pytest.raises(InputError, match="videos of 2 samples for 1 prompts"):
        ls.video_layouts(processor, inputs, [[film], [film]], model)
    with pytest.raises(InputError, match="no input_ids"):
        ls.video_layouts(processor, {}, [[film]], model)
    with pytest.raises(InputError, match="no video_grid_thw"):
        ls.video_layouts(processor, {"input_ids": inputs["input_ids"]}, [[film]], model)
    with pytest.raises(PromptError, match="1 video placeholders for 2 videos: write <video> once for each"):
        ls.build_inputs(processor, None, "<video> What?", model, videos=[film, film])
    with pytest.raises(InputError, match="1 entries of videos for 2 prompts"):
        ls.build_inputs(processor, None, ["a?", "b?"], model, videos=film)
    processor.chat_template, template = "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}"\
        "{% endfor %}", processor.chat_template  # fmt: skip
    try:
        with pytest.raises(PromptError, match=r"leaves the videos out.*<\|video_pad\|> for each video"):
            ls.build_inputs(processor, None, "What happens?", model, videos=film)
    finally:
        processor.chat_template = template
