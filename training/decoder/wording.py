"""How a conversation becomes the pieces of a real tokenizer, behind the chat template of `build`."""

from __future__ import annotations

from transformers import LlavaProcessor

from training.build import IMAGE_TOKENS
from training.packing import WORD, word_weights


class Pieces:
    """A `training.packing.Wording`: the same ids as the processor's, prompt and answer tokenized apart."""

    def __init__(self, processor: LlavaProcessor) -> None:
        self._tokenizer = processor.tokenizer
        turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "{}"}]}]
        whole = processor.apply_chat_template(turn, add_generation_prompt=True)
        before, self._ask = whole.split(processor.image_token)
        self.prefix = [*self._ids(before), *[self._tokenizer.image_token_id] * IMAGE_TOKENS]
        self.pad = self._tokenizer.pad_token_id

    def ask(self, prompt: str) -> list[int]:
        return self._ids(self._ask.format(prompt))

    def say(self, answer: str) -> list[int]:
        return [*self._ids(answer), self._tokenizer.eos_token_id]

    def weigh(self, answer: str, decided: float, placed: float) -> list[float]:
        """Every piece of a word has the word's weight; what belongs to no word has weight 1."""
        words = list(WORD.finditer(answer))
        weights = word_weights([word.group() for word in words], decided, placed)
        of_character = [1.0] * len(answer)
        for word, weight in zip(words, weights, strict=True):
            of_character[word.start() : word.end()] = [weight] * len(word.group())
        offsets = self._tokenizer(answer, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return [*(of_character[end - 1] for _, end in offsets), 1.0]

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]
