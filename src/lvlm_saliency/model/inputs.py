"""Model inputs, built from pictures, videos and a prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from PIL import Image
from transformers import BatchFeature

from lvlm_saliency.errors import InputError, PromptError, UnsupportedModelError
from lvlm_saliency.model import families
from lvlm_saliency.model.input_checks import check_inputs
from lvlm_saliency.model.templates import prompt_text, question_text
from lvlm_saliency.model.video import Video


def build_inputs(
    processor: Any,
    images: Image.Image | Sequence[Any] | None,
    prompt: str | Sequence[str],
    model: Any = None,
    chat: Literal["auto", "always", "never"] = "auto",
    videos: Video | Sequence[Any] | None = None,
) -> BatchFeature:
    """Model inputs from pictures, videos and a prompt, or a batch of them from several prompts.

    Args:
        processor: the model's processor, or the tokenizer of a text model.
        images: one picture, several, or none; for a list of prompts a list with one such entry per prompt, or None.
        prompt: the user's words, or those of every sample. One "<image>" (or the family's own placeholder) per picture
            says where it belongs; without any, the pictures come first.
        model: when given, the prompt is checked against its context length and the tensors are put on its device;
            pictures are brought to the model's precision where its vision tower would fail on another.
        chat: "auto" uses the processor's chat template when it has one; "always" insists on it; "never" takes the
            prompt as it stands, placeholders included.
        videos: as `images`, of what `open_video` returned; "<video>" (or the family's own placeholder) stands for one.
            They come after the pictures where the prompt places neither.

    Returns:
        What the processor returns, as tensors, left-padded: `input_ids` int64 `[batch, n0]`, `attention_mask`,
        `pixel_values` and so on.

    Raises:
        PromptError: an empty prompt, placeholders that do not match what is shown, or a prompt too long for the model.
        InputError: not one entry of pictures or videos per prompt.
        UnsupportedModelError: the model takes no videos, or it is not known how.
    """
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    alone = isinstance(prompt, str)
    pictures = _per_prompt(images, len(prompts), alone, Image.Image, "pictures")
    films = _per_prompt(videos, len(prompts), alone, Video, "videos")
    if not all(text.strip() for text in prompts):
        raise PromptError("the prompt is empty: say what the model should do with the picture")
    tokenizer = getattr(processor, "tokenizer", processor)
    check_sees(processor, pictures, films)
    texts = [
        prompt_text(processor, tokenizer, text, len(own), chat, len(films[number]))
        for number, (text, own) in enumerate(zip(prompts, pictures, strict=True))
    ]
    return encoded(processor, pictures, texts, model, videos=films)


def question_inputs(processor: Any, pictures: Sequence[Image.Image], question: str, model: Any = None) -> BatchFeature:
    """As `build_inputs`, of a question whose answer is read from the very next token: a thinking that the template
    opens is closed again.

    Raises:
        PromptError: as `build_inputs`.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    check_sees(processor, [pictures])
    return encoded(processor, [pictures], [question_text(processor, tokenizer, question, len(pictures))], model)


def _per_prompt(given: Any, prompts: int, alone: bool, kind: type, name: str) -> list[list[Any]]:
    """What is shown with each prompt; `alone`: the one prompt was given as it is, not in a list."""
    if alone:
        given = [given]
    elif given is None:
        given = [None] * prompts
    elif isinstance(given, kind) or len(given) != prompts:
        count = 1 if isinstance(given, kind) else len(given)
        raise InputError(f"{count} entries of {name} for {prompts} prompts: give one per prompt")
    return [[own] if isinstance(own, kind) else list(own or ()) for own in given]


def check_sees(
    processor: Any, pictures: Sequence[Sequence[Image.Image]], videos: Sequence[Sequence[Video]] = ()
) -> None:
    """Raise where a model is given what it cannot see.

    Raises:
        PromptError: a text model is given pictures or videos.
        UnsupportedModelError: a model of pictures is given videos, or one whose videos are not supported.
    """
    if not any(pictures) and not any(videos):
        return
    kind = "pictures" if any(pictures) else "videos"
    if not hasattr(processor, "image_processor"):
        raise PromptError(f"this is a text model, which takes no {kind}: leave them out or choose another model")
    if not any(videos):
        return
    name = type(processor).__name__
    family = families.of_processor(name)
    told = family.name if family is not None else name
    frames = "give frames of it as pictures"
    if getattr(processor, "video_processor", None) is None:
        raise UnsupportedModelError(f"{told} takes pictures and no videos: {frames}")
    if family is None or not family.film:
        raise UnsupportedModelError(
            f"videos of {told} are not supported: it is not known here which of its tokens show which frame; {frames}"
        )
    one_at_a_time = "pixel_values" in processor.video_processor.model_input_names
    if one_at_a_time and any(pictures):
        raise UnsupportedModelError(f"{told} takes pictures or videos, not both in one batch: {frames}")


def encoded(
    processor: Any,
    pictures: Sequence[Sequence[Image.Image]],
    texts: Sequence[str],
    model: Any = None,
    max_new_tokens: int = 0,
    videos: Sequence[Sequence[Video]] = (),
) -> BatchFeature:
    """Inputs of a batch, left-padded, from the pictures and videos of each sample and its whole prompt.


    Args:
        texts: whole prompts, as `prompt_text` or `conversation_text` made them, with a placeholder for every picture
            and video.
        model: when given, the inputs are checked for it, with room for `max_new_tokens`, and put on its device.

    Raises:
        PromptError: the processor or the model cannot take them; the message says why.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    # A template writes the start token itself; the tokenizer must not write a second one.
    start = tokenizer.bos_token
    begun = [bool(start and text.startswith(start)) for text in texts]
    if any(begun) != all(begun):
        raise PromptError(f"some prompts begin with {start!r} and some do not: give them one by one")
    settings: dict[str, Any] = {"return_tensors": "pt", "add_special_tokens": not begun[0]}
    if len(texts) > 1:
        settings["padding"] = True
    films = [video for own in videos for video in own]
    if any(pictures):
        settings["images"] = [list(own) for own in pictures]
    if films:  # their frames are chosen already
        settings |= {"videos": [video.pixels() for video in films], "do_sample_frames": False}
        settings["video_metadata"] = [video.metadata() for video in films]
    try:
        with left_padding(tokenizer):
            inputs = processor(text=list(texts), **settings)
            if not any(pictures) and not films:
                inputs = BatchFeature(dict(inputs))
    except (ValueError, TypeError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        count = sum(map(len, pictures))
        which = "this prompt" if len(texts) == 1 else f"these {len(texts)} prompts"
        told = f"{count} pictures" + (f" and {len(films)} videos" if films else "")
        raise PromptError(f"the processor refuses {which} with {told}: {error}") from error
    if model is not None:
        check_inputs(model, inputs, max_new_tokens, same_device=False)
        inputs = _in_the_models_precision(inputs, model).to(model.device)
    return inputs


def _in_the_models_precision(inputs: BatchFeature, model: Any) -> BatchFeature:
    """Pictures in the model's precision where its vision tower would fail on another: those that the processor made in
    half precision (Llama 4: always bfloat16), and those of families that say so. Other towers bring them to their own.
    """
    family = families.find(model.config.model_type)
    cast: tuple[torch.dtype, ...] = (torch.bfloat16, torch.float16)
    if family is not None and family.own_precision:
        cast += (torch.float32,)
    pictures = [name for name in inputs if name.startswith(("pixel_values", "image_pixel_values"))]
    for name in pictures:
        if isinstance(inputs[name], torch.Tensor) and inputs[name].dtype in cast:
            inputs[name] = inputs[name].to(model.dtype)
    return inputs


@contextmanager
def left_padding(tokenizer: Any) -> Iterator[None]:
    """Prompts that are padded inside this block are padded on the left, so that answers follow them."""
    side = tokenizer.padding_side
    tokenizer.padding_side = "left"
    try:
        yield
    finally:
        tokenizer.padding_side = side
