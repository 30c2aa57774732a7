"""Prompts as text: a user's words in the model's chat template, with a placeholder for every picture.

Templates differ in what they accept. Most take a list of parts (pictures and text); some, mainly those stored with the
tokenizer alone, take the words as one string. Both are tried, and the result is checked: it must contain the words, and
a placeholder for each picture.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import Any

from jinja2.exceptions import TemplateError

from lvlm_saliency.errors import PromptError
from lvlm_saliency.model.thinking import answered_at_once

PLACEHOLDER = "<image>"  # understood in any prompt, whatever the family's own placeholder is


def prompt_text(processor: Any, tokenizer: Any, prompt: str, pictures: int, chat: str) -> str:
    """The prompt in the chat template, or as it stands where there is none or chat is "never".

    Raises:
        PromptError: placeholders that do not match the pictures, no template where chat is "always", or a template that
            refuses the prompt, or loses its words or its pictures.
    """
    own = getattr(processor, "image_token", None) or PLACEHOLDER
    pieces = prompt.replace(own, PLACEHOLDER).split(PLACEHOLDER)
    placed = len(pieces) - 1
    template = _template(processor, tokenizer)
    if chat == "always" and not template:
        raise PromptError("this processor has no chat template: use chat='auto' or 'never'")
    if placed != pictures and (placed or (chat == "never" and pictures)):
        raise PromptError(
            f"the prompt has {placed} image placeholders for {pictures} pictures: write {PLACEHOLDER} once for each"
        )
    plain = own.join(pieces) if placed else f"{own}\n" * pictures + prompt
    if chat == "never" or not template:
        return plain
    content: list[dict[str, str]] = [] if placed else [{"type": "image"}] * pictures
    for number, piece in enumerate(pieces):
        content += [{"type": "image"}] if number else []
        content += [{"type": "text", "text": piece}] if piece.strip() else []
    return _first_that_holds(processor, tokenizer, [("user", content)], [("user", plain)], pieces, pictures)


def question_text(processor: Any, tokenizer: Any, question: str, pictures: int) -> str:
    """As `prompt_text`, for a question whose answer is read from the very next token: no thinking is left open.

    Raises:
        PromptError: as `prompt_text`.
    """
    return answered_at_once(processor, prompt_text(processor, tokenizer, question, pictures, "auto"))


Part = str | None
"""A stretch of a message: text, or None for a picture."""


def conversation_text(processor: Any, tokenizer: Any, turns: Sequence[tuple[str, Sequence[Part]]]) -> str:
    """A conversation in the chat template, ready for the assistant's next turn.

    Args:
        turns: (role, parts) of every message, in order; roles are "system", "user" and "assistant".

    Raises:
        PromptError: no turn of a user, an empty one, a text that holds a special token or a placeholder for a picture
            (it would be read as one), no template, or one that refuses the conversation or loses a part of it.
    """
    own = getattr(processor, "image_token", None) or PLACEHOLDER
    texts = [part for _, parts in turns for part in parts if part is not None]
    if not any(role == "user" for role, _ in turns):
        raise PromptError("the conversation has no message of a user: say what the model should do")
    if not any(part is None or part.strip() for part in turns[-1][1]):
        raise PromptError("the last message is empty: say what the model should do")
    special = {own, PLACEHOLDER, *tokenizer.all_special_tokens}
    for text in texts:
        if found := next((token for token in sorted(special) if token and token in text), None):
            raise PromptError(f"a message holds {found!r}, which the model does not read as text: write it without it")
    if not _template(processor, tokenizer):
        if len(turns) > 1:
            raise PromptError("this model has no chat template, so it takes one message and no conversation")
        return "".join(f"{own}\n" if part is None else part for part in turns[0][1])
    parts, plain = [], []
    for role, given in turns:
        parts.append((role, [{"type": "image"} if part is None else {"type": "text", "text": part} for part in given]))
        plain.append((role, "".join(f"{own}\n" if part is None else part for part in given)))
    pictures = sum(part is None for _, given in turns for part in given)
    return _first_that_holds(processor, tokenizer, parts, plain, texts, pictures)


def _template(processor: Any, tokenizer: Any) -> Any:
    template = getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict):  # several by name, of which one is for plain conversation
        return template.get("default") or next(iter(template.values()), None)
    return template


def _first_that_holds(
    processor: Any, tokenizer: Any, parts: list, plain: list, pieces: Sequence[str], pictures: int
) -> str:
    """The rendered conversation, from lists of parts or from strings, whichever loses nothing.

    Raises:
        PromptError: neither does.
    """
    own = getattr(processor, "image_token", None) or PLACEHOLDER
    parts_first = hasattr(processor, "image_processor")
    faults = []
    for turns in (parts, plain) if parts_first else (plain, parts):
        try:
            text = _rendered(processor, tokenizer, _template(processor, tokenizer), turns)
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            faults.append(" ".join(str(error).split()))
            continue
        fault = _fault(processor, text, pieces, pictures, own)
        if fault is None:
            return text
        faults.append(fault)
    raise PromptError(
        f"the chat template does not take this prompt ({faults[0]}): "
        f"use chat='never' and write the whole prompt yourself, with {own} for each picture"
    )


def _rendered(processor: Any, tokenizer: Any, template: Any, turns: Sequence[tuple[str, Any]]) -> str:
    settings = {"add_generation_prompt": True, "tokenize": False}
    messages = [{"role": role, "content": content} for role, content in turns]
    strings = all(isinstance(content, str) for _, content in turns)
    if strings or not hasattr(processor, "image_processor"):
        return tokenizer.apply_chat_template(messages, chat_template=template, **settings)
    # Some checkpoints keep the template with their tokenizer only, where the processor does not look.
    own_template = {} if getattr(processor, "chat_template", None) else {"chat_template": template}
    return processor.apply_chat_template(messages, **own_template, **settings)


_MARKS = ("boi_token", "image_placeholder", "fake_image_token", "start_image_token")
"""Names under which processors keep what a template writes where the processor then puts the image tokens."""


def _fault(processor: Any, text: str, pieces: Sequence[str], pictures: int, own: str) -> str | None:
    """What is wrong with a rendered prompt; None where nothing is."""
    words = " ".join(pieces)
    if any(mark in text and mark not in words for mark in ("{'type'", '{"type"')):
        return "it writes the list of parts out instead of reading it"
    written = text.casefold()
    if not all(word in written for word in re.findall(r"\w+", words.casefold())):
        return "it leaves words of the prompt out"
    marks = {own, PLACEHOLDER, *(getattr(processor, name, None) for name in _MARKS)}
    if not any(text.count(mark) - words.count(mark) >= pictures for mark in marks if isinstance(mark, str) and mark):
        return "it leaves the pictures out"
    return None


def answer_ids(tokenizer: Any, text: str, ends: Collection[int] = ()) -> list[int]:
    """Token ids of an answer that the caller gives.

    Args:
        ends: ids that end a text; the last token may be one.

    Raises:
        PromptError: an empty text, words that the tokenizer does not have (the model cannot have written them, and the
            rows would be those of another text), or a special token in the midst of it.
    """
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not text.strip() or not ids:
        raise PromptError("the text to explain is empty; leave --text out to let the model write one")
    lost = _lost_words(tokenizer, text, ids)
    if lost:
        named = ", ".join(map(repr, lost[:5])) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
        raise PromptError(
            f"the model's tokenizer does not have {named}, so the model cannot have written this text: "
            "use other words, or another model"
        )
    body = ids[:-1] if ids[-1] in ends else ids
    special = set(tokenizer.all_special_ids)
    for token in body:
        if token in special:
            raise PromptError(f"{tokenizer.decode([token])!r} is a special token, not text: write the text without it")
    return ids


def _lost_words(tokenizer: Any, text: str, ids: Sequence[int]) -> list[str]:
    """The words of `text` that are lost when its ids are decoded; letter case and the form of accents are ignored."""

    def plain(words: str) -> str:
        return unicodedata.normalize("NFKC", words).casefold()

    unknown = tokenizer.unk_token_id
    if unknown is not None and unknown in ids:
        words = [word for word in text.split() if unknown in tokenizer(word, add_special_tokens=False)["input_ids"]]
        return list(dict.fromkeys(words)) or [tokenizer.unk_token]
    known = plain(tokenizer.decode(ids))
    return list(dict.fromkeys(word for word in re.findall(r"\w+", text) if plain(word) not in known))
