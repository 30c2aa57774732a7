"""Splits a text into thinking and answer.

The tokenizer's own response template gives the marks around the thinking; where it has none, the table here gives them
for model families that are known to think. A prompt may itself open the thinking, or close it before the text begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

THINKING, ANSWER, MARK = "thinking", "answer", "mark"


@dataclass(frozen=True)
class Marks:
    """The marks of a model that thinks.

    Attributes:
        open: the mark that begins the thinking.
        close: the marks that may end it; the first that occurs does.
        turn: the text with which the model's own turn begins in the prompt, where it is known.
        more: further marks, around the answer.
    """

    open: str
    close: tuple[str, ...]
    turn: str = ""
    more: tuple[str, ...] = ()


TABLE = (
    # Gemma 4
    Marks("<|channel>thought", ("<channel|>",), "<|turn>model\n"),
    # MiniMax M3
    Marks("<mm:think>", ("</mm:think>",)),
    # Mistral
    Marks("[THINK]", ("[/THINK]",)),
    # Muse: a turn to itself, then one to the user
    Marks("<|start|>assistant to=self<|message|>", ("<|eom|>",), more=("<|start|>assistant to=user<|message|>",)),
    # Kimi: a section of tool calls ends the thinking too
    Marks("<think>", ("</think>", "<|tool_calls_section_begin|>"), "<|im_assistant|>"),
    # ERNIE 4.5 VL
    Marks("<think>", ("</think>",), more=("<response>", "</response>")),
    # Qwen3-VL Thinking, Qwen3.5, MiniCPM-V, LFM2.5
    Marks("<think>", ("</think>",), "<|im_start|>assistant\n"),
    # GLM-V, Step, EXAONE 4
    Marks("<think>", ("</think>",)),
)
"""Families by their marks; the first of which a tokenizer knows all. Sources: transformers' and vLLM's parsers of
responses, and the chat templates of the models (each checkpoint's own)."""
_FIELDS = ("reasoning_content", "thinking", "reasoning")


def marks_of(processor: Any) -> Marks | None:
    """The marks of a processor's or tokenizer's model; None where it is not known to think."""
    tokenizer = getattr(processor, "tokenizer", processor)
    template = getattr(tokenizer, "response_template", None)
    if isinstance(template, Mapping):
        return _of_template(template)
    written = [getattr(source, "chat_template", None) for source in (processor, tokenizer)]
    text = "\n".join(str(part) for part in written if part)
    vocabulary = tokenizer.get_added_vocab() if hasattr(tokenizer, "get_added_vocab") else {}
    for marks in TABLE:
        if all(mark in vocabulary or mark in text for mark in (marks.open, *marks.close, *marks.more)) and (
            not marks.turn or marks.turn in text or marks.turn.strip() in vocabulary
        ):
            return marks
    return None


def _of_template(template: Mapping[str, Any]) -> Marks | None:
    """From the fields of transformers' `response_template`; patterns are not followed, plain marks are."""
    fields = template.get("fields")
    for name in _FIELDS:
        field = fields.get(name) if isinstance(fields, Mapping) else None
        if isinstance(field, Mapping) and isinstance(field.get("open"), str) and isinstance(field.get("close"), str):
            turn = template.get("start_anchor")
            return Marks(field["open"], (field["close"],), turn if isinstance(turn, str) else "")
    return None


Part = tuple[str, int, int]
"""A part of a text: its kind, its first token, and one past its last."""


def parts_of(marks: Marks, prompt: str, tokens: Sequence[str]) -> list[Part]:
    """The parts of a text, in order, as (kind, first token, one past the last); kinds are "thinking", "answer" and
    "mark". Together they are all tokens.

    Args:
        prompt: as the model read it, special tokens included.
        tokens: the text of each generated token, special tokens included; joined they are the whole text.
    """
    text = "".join(tokens)
    kinds = _kinds(marks, text, _opened(marks, prompt, text))
    parts: list[Part] = []
    begin = 0
    for number, token in enumerate(tokens):
        end = begin + len(token)
        inside = kinds[begin:end] or (kinds[begin : begin + 1] or kinds[-1:])  # a token that completes no character
        kind = MARK if MARK in inside else (inside[0] if inside else ANSWER)
        if parts and parts[-1][0] == kind:
            parts[-1] = kind, parts[-1][1], number + 1
        else:
            parts.append((kind, number, number + 1))
        begin = end
    return parts


def parts_of_ids(marks: Marks, tokenizer: Any, prompt: Sequence[int], tokens: Sequence[str]) -> list[Part]:
    """`parts_of` with the prompt as token ids, padding left out."""
    return parts_of(marks, tokenizer.decode(list(prompt), skip_special_tokens=False), tokens)


def answers_of(parts: Sequence[Part]) -> list[tuple[int, int]]:
    """Where a text answers, as (first token, one past the last): mostly once, after its thinking."""
    return [(first, end) for kind, first, end in parts if kind == ANSWER]


def prompt_opens(marks: Marks, prompt: str) -> bool:
    """Whether what is written behind this prompt begins inside the thinking."""
    if marks.turn and marks.turn in prompt:
        turn = prompt[prompt.rindex(marks.turn) :]
        return turn.rfind(marks.open) > max(turn.rfind(mark) for mark in marks.close)
    # earlier turns may hold marks too: only what the prompt ends with is the model's own
    return prompt.rstrip().endswith(marks.open)


def answered_at_once(processor: Any, prompt: str) -> str:
    """The prompt of a question whose answer is read from the next token: a thinking that the template opens is closed
    again, as templates that can switch it off write it."""
    marks = marks_of(processor)
    if marks is None or not prompt_opens(marks, prompt):
        return prompt
    return prompt + ("" if prompt.endswith("\n") else "\n") + f"\n{marks.close[0]}\n\n"


class Ear:
    """Hears a text as it is written, and says which of its tokens are no answer. It cannot know of a thinking that
    nothing opened before its closing mark comes."""

    def __init__(self, marks: Marks, prompt: str):
        self.marks, self.first = marks, prompt_opens(marks, prompt)
        self.kept = max(map(len, (marks.open, *marks.close, *marks.more))) - 1  # so much may begin a mark
        self.heard: list[tuple[str, bool, int]] = []  # behind each token: what may begin a mark, thinking; its length

    @property
    def thinking(self) -> bool:
        """Whether the next token is thinking, unless it closes it."""
        return self.heard[-1][1] if self.heard else self.first

    def hear(self, token: str) -> int:
        """The next token's text, special tokens included. Returns how many of the last tokens, this one counted, are
        now known to be thinking or a mark: 0 for a token of the answer, more than 1 where a mark took several."""
        rest, thinking = self.heard[-1][:2] if self.heard else ("", self.first)
        before, text, aside = len(rest), rest + token, int(thinking)
        while found := _next_mark(self.marks, text, thinking):
            place, mark = found
            aside = max(aside, 1 + self._tokens(before - place))
            thinking, place = mark == self.marks.open, place + len(mark)
            text, before = text[place:], max(0, before - place)
        self.heard.append((text[-self.kept :] if self.kept else "", thinking, len(token)))
        return aside

    def _tokens(self, characters: int) -> int:
        """How many of the tokens heard last hold so many characters."""
        count = 0
        while characters > 0 and count < len(self.heard):
            count += 1
            characters -= self.heard[-count][2]
        return count

    def forget(self, length: int) -> None:
        """The text was rolled back to its first `length` tokens."""
        del self.heard[length:]


def _next_mark(marks: Marks, text: str, thinking: bool, start: int = 0) -> tuple[int, str] | None:
    """Where the next mark that counts stands, and which it is."""
    ends = marks.close if thinking else (marks.open, *marks.close, *marks.more)
    return min(((text.find(mark, start), mark) for mark in ends if text.find(mark, start) >= 0), default=None)


def _opened(marks: Marks, prompt: str, text: str) -> bool:
    """Whether the text begins inside the thinking."""
    if prompt_opens(marks, prompt):
        return True
    closes = [text.find(mark) for mark in marks.close if mark in text]
    if not closes or marks.open in text[: min(closes)]:
        return False
    # A mark that closes what was never opened: nothing before it means no thinking, else the prompt opened it unseen.
    return bool(text[: min(closes)].strip())


def _kinds(marks: Marks, text: str, thinking: bool) -> list[str]:
    """The kind of every character."""
    kinds: list[str] = []
    while len(kinds) < len(text):
        at = len(kinds)
        found = _next_mark(marks, text, thinking, at)
        stop = len(text) if found is None else found[0]
        kinds += [THINKING if thinking else ANSWER] * (stop - at)
        if found is not None:
            kinds += [MARK] * len(found[1])
            thinking = found[1] == marks.open
    return kinds
