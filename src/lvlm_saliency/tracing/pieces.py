"""A text as pieces, one per token: the text that each token adds, and the pieces that a span of characters covers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Protocol

from lvlm_saliency.errors import InputError


def token_texts(tokenizer: Any, ids: list[int]) -> list[str]:
    """The text that each token adds when the ids are decoded together, so that the pieces join to the decoded whole.

    A token that completes no character yet (byte-level tokenizers) adds the empty string; the character belongs to the
    token that completes it.
    """
    # A few tokens of context are enough: decoding depends on no more, and decoding whole texts would cost T^2.
    return [token_text(tokenizer, ids[max(0, end - 16) : end]) for end in range(1, len(ids) + 1)]


def token_text(tokenizer: Any, ids: list[int]) -> str:
    """The text that the last id adds to that of the ids before it; see `token_texts`."""
    before: str = tokenizer.decode(ids[:-1], skip_special_tokens=False) if len(ids) > 1 else ""
    text: str = tokenizer.decode(ids, skip_special_tokens=False)
    # An incomplete character belongs to the token that completes it; a token may end one and begin another.
    before, text = before.rstrip("\ufffd"), text.rstrip("\ufffd")
    return text[len(before) :] if text.startswith(before) else text


class Stretch(Protocol):
    """Characters `[start, end)` of a text."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


def overlapping(pieces: Sequence[str], spans: Sequence[Stretch]) -> list[list[int]]:
    """For every span the numbers of the pieces, of which the text is made, that share a character with it."""
    bounds, end = [], 0
    for piece in pieces:
        bounds.append((end, end := end + len(piece)))
    return [
        [t for t, (start, stop) in enumerate(bounds) if start < span.end and stop > span.start and start < stop]
        for span in spans
    ]


def text_pieces(tokenizer: Any, token_ids: Sequence[int]) -> list[str]:
    """The text of each token; special tokens are empty."""
    special = set(tokenizer.all_special_ids)
    pieces = token_texts(tokenizer, list(token_ids))
    return ["" if token in special else piece for token, piece in zip(token_ids, pieces, strict=True)]


def tokenised(tokenizer: Any, text: str) -> tuple[list[int], list[str]]:
    """The ids of a text that is given as text, and the text of each, which join to it character by character.

    What a tokenizer leaves out or changes (blanks, above all) goes with the token after it. A token that completes no
    character yet has the empty text, as in `text_pieces`.

    Raises:
        InputError: a tokenizer that does not say where its tokens stand gives another text back.
    """
    if tokenizer.is_fast:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = list(encoded["input_ids"]), encoded["offset_mapping"]
        # Tokens may share a character; the last of them has it.
        ends = [min(end, start) for (_, end), (start, _) in pairwise(offsets)]
        bounds = [0, *accumulate(ends, max), *([len(text)] if ids else [])]
        return ids, [text[start:end] for start, end in pairwise(bounds)]
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    pieces = text_pieces(tokenizer, ids)
    if (joined := "".join(pieces)).lstrip() != text.lstrip() or not pieces:
        raise InputError(f"the model's tokenizer gives a text back as {joined!r}, not as {text!r}: write it as it does")
    pieces[0] = text[: len(text) - len(joined) + len(pieces[0])]
    return ids, pieces
