"""A LLaVA of the scenes tower and a real language model: built untrained, and written as a folder of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from training.build import IMAGE_TOKENS, PATCH_SIZE

IMAGE = "<image>"
PAD = "<|endoftext|>"  # the checkpoint itself fills up with its end of a turn, which a loss could not tell apart
END = "<|im_end|>"
# The language model's own turns, without its system prompt, which says nothing of pictures.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}<image>\n{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build(decoder: Path, scenes: Path) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """The model in float32 and its processor.

    Args:
        decoder: folder of a Llama with a tokenizer whose turns are `<|im_start|>` and `<|im_end|>`.
        scenes: folder of the shipped scenes model, of which tower and picture processing are taken.
    """
    tokenizer = AutoTokenizer.from_pretrained(
        decoder, extra_special_tokens={"image_token": IMAGE}, pad_token=PAD, padding_side="left"
    )
    language = AutoModelForCausalLM.from_pretrained(decoder, dtype=torch.float32)
    seeing = LlavaForConditionalGeneration.from_pretrained(scenes, dtype=torch.float32)
    language.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    image, end, pad = tokenizer.convert_tokens_to_ids([IMAGE, END, PAD])
    with torch.no_grad():
        # Embedding and head are one matrix: a row of zeros gives the picture's marker the logit 0, far below any word.
        language.get_input_embeddings().weight[image] = 0
    text = language.config
    text.pad_token_id, text.eos_token_id, text.vocab_size = pad, end, len(tokenizer)
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=seeing.config.vision_config,
            text_config=text,
            image_token_index=image,
            image_seq_length=IMAGE_TOKENS,
            vision_feature_layer=seeing.config.vision_feature_layer,
            vision_feature_select_strategy="default",
            projector_hidden_act="gelu",
            tie_word_embeddings=True,
        )
    )
    model.model.vision_tower.load_state_dict(seeing.model.vision_tower.state_dict())
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.tie_weights()
    model.generation_config = GenerationConfig(
        pad_token_id=pad, bos_token_id=tokenizer.bos_token_id, eos_token_id=end, max_new_tokens=128, do_sample=False
    )
    processor = LlavaProcessor(
        image_processor=LlavaProcessor.from_pretrained(scenes).image_processor,
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE,
    )
    return model.eval(), processor


def word_vectors(model: LlavaForConditionalGeneration, processor: LlavaProcessor, words: list[str]) -> Tensor:
    """What the language model reads for each word within a sentence, [words, width]: the mean over its pieces."""
    table = model.get_input_embeddings().weight.detach().float()
    pieces = [processor.tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in words]
    return torch.stack([table[ids].mean(dim=0) for ids in pieces])
