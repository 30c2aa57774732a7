"""Texts of the tokens of the prompt, and of the candidate tokens of each step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lvlm_saliency.tracing.pieces import token_texts

if TYPE_CHECKING:
    from lvlm_saliency.tracing.result import SaliencyTrace


@dataclass(frozen=True)
class Context:
    """One token before the answer: its position in the sequence, its text and its region ("system" or "prompt")."""

    position: int
    text: str
    region: str


def tokenizer_of(processor: Any) -> Any:
    """The tokenizer inside a processor, or the tokenizer itself."""
    return getattr(processor, "tokenizer", processor)


def candidate_texts(tokenizer: Any, steps: Sequence[Any]) -> dict[int, str]:
    """The text of every token that a step chose, refused or considered."""
    ids = {int(token) for step in steps for token in (step.token_id, *step.candidates, *step.rejected)}
    texts = {token: tokenizer.decode([token]) for token in sorted(ids)}
    return {
        token: bytes_of(str(tokenizer.convert_ids_to_tokens(token))) if "\ufffd" in text else text.strip() or repr(text)
        for token, text in texts.items()
    }


def bytes_of(piece: str) -> str:
    """A token that is not a whole character, as its bytes, `<0xF0><0x9F>`, where it is written in GPT-2's byte
    alphabet; any other token as it is."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
    if re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", piece) or not all(letter in letters for letter in piece):
        return piece
    return "".join(f"<0x{letters[letter]:02X}>" for letter in piece)


def context_of(trace: SaliencyTrace, processor: Any, sample: int = 0) -> list[Context]:
    """The text tokens of the prompt; each stretch between pictures is decoded as a whole."""
    tokenizer = tokenizer_of(processor)
    system = trace.regions.system[sample].tolist()
    prompt = trace.regions.prompt[sample].tolist()
    ids = trace.sequences[sample].tolist()
    result: list[Context] = []
    stretch: list[int] = []
    for position in range(trace.prompt_length + 1):
        if position < trace.prompt_length and (system[position] or prompt[position]):
            stretch.append(position)
        elif stretch:
            texts = token_texts(tokenizer, [ids[at] for at in stretch])
            result += [
                Context(at, text, "system" if system[at] else "prompt") for at, text in zip(stretch, texts, strict=True)
            ]
            stretch = []
    return result
