"""Builds the untrained model and its processor: a LLaVA architecture of 2.7 million parameters."""

from __future__ import annotations

import re

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from lvlm_saliency.scenes import grammar
from lvlm_saliency.scenes.classes import COLOURS, PLURALS, SCENE_KINDS
from lvlm_saliency.scenes.questions import prompt_words

IMAGE_SIZE, PATCH_SIZE = 64, 8
IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2
MEAN, STD = [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<image>")
TURNS = ("USER:", "ASSISTANT:")
PAD, UNK, BOS, EOS, IMAGE = range(5)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: "
    "{% elif message['role'] == 'assistant' %}ASSISTANT: "
    "{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }} "
    "{% else %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}<image>\n{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }} {% endfor %}"
    "{% endif %}"
    "{% if message['role'] == 'assistant' %}</s>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def vocabulary() -> list[str]:
    """Every word of captions, questions and answers. A word that may begin a sentence is listed in both spellings."""
    patterns = [
        *grammar.OPENINGS,
        *grammar.OPENING_TAILS,
        *grammar.ONE_PLACED,
        *grammar.ONE_ANCHORED,
        *grammar.ONE_LOOSE,
        *grammar.MANY,
        *grammar.PAIRS,
        *grammar.CLOSINGS,
    ]
    begins = [*patterns, *grammar.PLACES.values(), *grammar.RELATIONS, *grammar.NUMBERS.values()]
    texts = [
        *patterns,
        *(text[0].upper() + text[1:] for text in begins if text[:1].isalpha()),
        *prompt_words(),
        *(text.lower() for text in prompt_words()),
        *grammar.PLACES.values(),
        *grammar.RELATIONS,
        *grammar.NUMBERS.values(),
        *grammar.SCENE_ADJECTIVES,
        *SCENE_KINDS,
        *COLOURS,
        *PLURALS,
        *PLURALS.values(),
        "A An a an . , ? : and",
    ]
    words = re.findall(r"[A-Za-z]+|[.,?:]", " ".join(re.sub(r"\{\w+\}", " ", text) for text in texts))
    return [*SPECIAL, *TURNS, *sorted(set(words))]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer. It keeps the capitals of known words and lowers unknown capitals ("a DOG") first."""
    words = vocabulary()
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    lowered = [
        normalizers.Replace(Regex(rf"(?<=[A-Za-z]){capital}|(?<=[a-z,] ){capital}"), capital.lower())
        for capital in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    ]
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), *lowered])
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(behavior="isolated")]
    )
    core.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", BOS)]
    )
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    core.add_tokens([AddedToken(token, special=False, normalized=False) for token in TURNS])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


def build_processor() -> LlavaProcessor:
    """The processor: pictures are resized to 64 x 64 pixels, `<image>` is expanded to 64 tokens."""
    image_processor = CLIPImageProcessorPil(
        do_resize=True,
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        resample=3,
        do_center_crop=False,
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=MEAN,
        image_std=STD,
        do_convert_rgb=True,
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=build_tokenizer(),
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
        image_token="<image>",
    )


def build_model(seed: int) -> LlavaForConditionalGeneration:
    """The untrained model in float32: CLIP tower 5 x 128, two-layer projector, Llama 6 x 160, tied embeddings."""
    torch.manual_seed(seed)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=128,
            intermediate_size=512,
            num_hidden_layers=5,
            num_attention_heads=4,
            image_size=IMAGE_SIZE,
            patch_size=PATCH_SIZE,
            hidden_act="gelu",
        ),
        text_config=LlamaConfig(
            vocab_size=len(vocabulary()),
            hidden_size=160,
            intermediate_size=432,
            num_hidden_layers=6,
            num_attention_heads=5,
            num_key_value_heads=5,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
        ),
        image_token_index=IMAGE,
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS, max_new_tokens=96, do_sample=False
    )
    return model
