"""A byte-level BPE tokenizer trained on a few sentences: any text encodes and decodes, without any download."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXT = """
The picture shows a red car next to a small dog on the grass, and a woman with a blue umbrella walks by.
There are two cats on the table; a bowl of fruit stands beside them. Is there a clock on the wall? Yes, there is.
Describe this image in detail. A man is riding a bicycle down the street while a bird sits on a bench.
What colour is the boat? The boat is white, and the water behind it is green. No, there is no chair in the room.
USER: ASSISTANT: user assistant model system You are a helpful assistant. Answer in one word or a short sentence.
""".strip().splitlines()


def build_tokenizer(
    *special: str, bos: str | None = "<s>", eos: str = "</s>", pad: str = "<pad>", vocabulary: int = 400, **named: str
) -> PreTrainedTokenizerFast:
    """Left-padding tokenizer with `special` tokens; `named` ones become attributes (`image_token="<image>"`)."""
    tokens = [token for token in dict.fromkeys([pad, bos, eos, *named.values(), *special]) if token]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        padding_side="left",
        extra_special_tokens=named,
        clean_up_tokenization_spaces=False,
    )
