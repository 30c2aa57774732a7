"""Prompts as text: a user's words in the model's chat template, with a placeholder for every picture and video.

Templates differ in what they accept. Most take a list of parts (pictures, videos and text); some, mainly those stored
with the tokenizer alone, take the words as one string. Both are tried, and the result is checked: it must contain the
words, and a placeholder for each picture and video.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from jinja2.exceptions import TemplateError

from lvlm_saliency.errors import PromptError
from lvlm_saliency.model.thinking import answered_at_once

PLACEHOLDER = "<image>"  # understood in any prompt, whatever the family's own placeholder is
VIDEO_PLACEHOLDER = "<video>"
FAULTS = (
    *(TemplateError, TypeError, ValueError, LookupError, AttributeError),
    *(ArithmeticError, RuntimeError, MemoryError),
)
"""What a checkpoint's chat template, which is a program of its own, may raise."""


class Shown(Enum):
    """What stands in a message where no text does; the values are those of chat templates."""

    PICTURE = "image"
    VIDEO = "video"


Part = str | None | Shown
"""A stretch of a message: text, or `Shown`; None stands for a picture."""


@dataclass(frozen=True)
class _Own:
    """A family's own placeholders."""

    picture: str
    video: str

    @classmethod
    def of(cls, processor: Any) -> _Own:
        names = ((name, getattr(processor, name, None)) for name in ("image_token", "video_token"))
        found = {name: token for name, token in names if token}
        return cls(found.get("image_token", PLACEHOLDER), found.get("video_token", VIDEO_PLACEHOLDER))

    def __getitem__(self, part: Shown | None) -> str:
        return self.video if part is Shown.VIDEO else self.picture

    def split(self, prompt: str, videos: bool) -> list[str | Shown]:
        """Text and placeholders by turns, beginning and ending with a text. Without `videos` theirs are plain text."""
        marks = {PLACEHOLDER: Shown.PICTURE, self.picture: Shown.PICTURE}
        marks |= {VIDEO_PLACEHOLDER: Shown.VIDEO, self.video: Shown.VIDEO} if videos else {}
        longest = sorted(marks, key=len, reverse=True)
        return [marks.get(piece, piece) for piece in re.split(f"({'|'.join(map(re.escape, longest))})", prompt)]


def prompt_text(processor: Any, tokenizer: Any, prompt: str, pictures: int, chat: str, videos: int = 0) -> str:
    """The prompt in the chat template, or as it stands where there is none or chat is "never".

    Raises:
        PromptError: placeholders that do not match the pictures or videos, no template where chat is "always", or a
            template that refuses the prompt, or loses its words, its pictures or its videos.
    """
    own = _Own.of(processor)
    parts = own.split(prompt, bool(videos))
    template = _template(processor, tokenizer)
    if chat == "always" and not template:
        raise PromptError("this processor has no chat template: use chat='auto' or 'never'")
    first: list[str | Shown] = []
    kinds = ((Shown.PICTURE, PLACEHOLDER, "image", pictures, "pictures"),
             (Shown.VIDEO, VIDEO_PLACEHOLDER, "video", videos, "videos"))  # fmt: skip
    for kind, mark, singular, count, plural in kinds:
        placed = parts.count(kind)
        if placed != count and (placed or (chat == "never" and count)):
            raise PromptError(
                f"the prompt has {placed} {singular} placeholders for {count} {plural}: write {mark} once for each"
            )
        first += [] if placed else [kind] * count
    plain = "".join(f"{own[kind]}\n" for kind in first if isinstance(kind, Shown))
    plain += "".join(own[part] if isinstance(part, Shown) else part for part in parts)
    if chat == "never" or not template:
        return plain
    content = [_part(part) for part in [*first, *parts] if isinstance(part, Shown) or part.strip()]
    words = [part for part in parts if isinstance(part, str)]
    counts = pictures, videos
    return _first_that_holds(processor, tokenizer, [("user", content)], [("user", plain)], words, counts)


def question_text(processor: Any, tokenizer: Any, question: str, pictures: int) -> str:
    """As `prompt_text`, for a question whose answer is read from the very next token: no thinking is left open.

    Raises:
        PromptError: as `prompt_text`.
    """
    return answered_at_once(processor, prompt_text(processor, tokenizer, question, pictures, "auto"))


def _part(part: Part) -> dict[str, str]:
    """A stretch of a message as templates take it."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": (part or Shown.PICTURE).value}


def conversation_text(processor: Any, tokenizer: Any, turns: Sequence[tuple[str, Sequence[Part]]]) -> str:
    """A conversation in the chat template, ready for the assistant's next turn.

    Args:
        turns: (role, parts) of every message, in order; roles are "system", "user" and "assistant".

    Raises:
        PromptError: no turn of a user, an empty one, a text that holds a special token or a placeholder for a picture
            (it would be read as one), no template, or one that refuses the conversation or loses a part of it.
    """
    own = _Own.of(processor)
    texts = [part for _, parts in turns for part in parts if isinstance(part, str)]
    shown = [part for _, parts in turns for part in parts if not isinstance(part, str)]
    if not any(role == "user" for role, _ in turns):
        raise PromptError("the conversation has no message of a user: say what the model should do")
    if not any(not isinstance(part, str) or part.strip() for part in turns[-1][1]):
        raise PromptError("the last message is empty: say what the model should do")
    special = {own.picture, PLACEHOLDER, *tokenizer.all_special_tokens}
    special |= {own.video, VIDEO_PLACEHOLDER} if Shown.VIDEO in shown else set()
    for text in texts:
        if found := next((token for token in sorted(special) if token and token in text), None):
            raise PromptError(f"a message holds {found!r}, which the model does not read as text: write it without it")
    if not _template(processor, tokenizer):
        if len(turns) > 1:
            raise PromptError("this model has no chat template, so it takes one message and no conversation")
        return "".join(part if isinstance(part, str) else f"{own[part]}\n" for part in turns[0][1])
    parts, plain = [], []
    for role, given in turns:
        parts.append((role, [_part(part) for part in given]))
        plain.append((role, "".join(part if isinstance(part, str) else f"{own[part]}\n" for part in given)))
    videos = shown.count(Shown.VIDEO)
    return _first_that_holds(processor, tokenizer, parts, plain, texts, (len(shown) - videos, videos))


def _template(processor: Any, tokenizer: Any) -> Any:
    template = getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict):  # several by name, of which one is for plain conversation
        return template.get("default") or next(iter(template.values()), None)
    return template


def _first_that_holds(
    processor: Any, tokenizer: Any, parts: list[Any], plain: list[Any], pieces: Sequence[str], counts: tuple[int, int]
) -> str:
    """The rendered conversation, from lists of parts or from strings, whichever loses nothing. `counts`: of pictures
    and videos.

    Raises:
        PromptError: neither does.
    """
    own = _Own.of(processor)
    parts_first = hasattr(processor, "image_processor")
    faults = []
    for turns in (parts, plain) if parts_first else (plain, parts):
        try:
            text = _rendered(processor, tokenizer, _template(processor, tokenizer), turns)
        except FAULTS as error:
            faults.append(" ".join(str(error).split()) or type(error).__name__)
            continue
        fault = _fault(processor, text, pieces, counts, own)
        if fault is None:
            return text
        faults.append(fault)
    raise PromptError(
        f"the chat template does not take this prompt ({faults[0]}): "
        f"use chat='never' and write the whole prompt yourself, with {own.picture} for each picture"
        + (f" and {own.video} for each video" if counts[1] else "")
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


def _fault(processor: Any, text: str, pieces: Sequence[str], counts: tuple[int, int], own: _Own) -> str | None:
    """What is wrong with a rendered prompt; None where nothing is."""
    words = " ".join(pieces)
    if any(mark in text and mark not in words for mark in ("{'type'", '{"type"')):
        return "it writes the list of parts out instead of reading it"
    written = text.casefold()
    if not all(word in written for word in re.findall(r"\w+", words.casefold())):
        return "it leaves words of the prompt out"
    marks = {own.picture, PLACEHOLDER, *(getattr(processor, name, None) for name in _MARKS)}
    if not any(text.count(mark) - words.count(mark) >= counts[0] for mark in marks if isinstance(mark, str) and mark):
        return "it leaves the pictures out"
    filmed = max(text.count(mark) - words.count(mark) for mark in (own.video, VIDEO_PLACEHOLDER))
    if counts[1] and filmed < counts[1]:
        return "it leaves the videos out"
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
