"""`Query`: a prompt or a conversation, with its pictures and videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lvlm_saliency.errors import PromptError
from lvlm_saliency.model.inputs import check_sees
from lvlm_saliency.model.templates import Part, Shown, conversation_text, prompt_text
from lvlm_saliency.model.video import Video
from lvlm_saliency.short import shown

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Message:
    """One turn of a conversation: texts, pictures and videos in the order in which they are to be read."""

    role: Literal["system", "user", "assistant"]
    content: Sequence[str | Image | Video]


@dataclass(frozen=True)
class Query:
    """A question about pictures or videos.

    Attributes:
        prompt: the user's words. Write "<image>" where a picture belongs and "<video>" where a video does; without them
            the pictures come first, then the videos.
        images: the pictures, in order.
        videos: the videos, in order, as `open_video` or `Video.of` made them.
        messages: a conversation in place of a prompt; its pictures and videos stand in its messages.
        chat: "auto" uses the processor's chat template when it has one, "always" insists on it, "never" takes the
            prompt as it stands. A conversation always goes through the template.
    """

    prompt: str = ""
    images: Sequence[Image] = ()
    messages: Sequence[Message] = ()
    chat: Literal["auto", "always", "never"] = "auto"
    videos: Sequence[Video] = ()

    def __post_init__(self) -> None:
        if self.messages and (self.prompt or self.images or self.videos):
            raise PromptError("a query holds a prompt with its pictures, or messages with theirs: give one of the two")
        if not self.messages and not self.prompt.strip():
            raise PromptError("the prompt is empty: say what the model should do with the picture")

    def __repr__(self) -> str:
        return shown(
            self,
            prompt=repr(self.question[:60]),
            pictures=len(self.pictures),
            videos=len(self.films) or None,
            messages=len(self.messages) or None,
        )

    @property
    def pictures(self) -> list[Image]:
        """Every picture, in the order in which the model sees them."""
        if not self.messages:
            return list(self.images)
        shown = [part for message in self.messages for part in message.content if not isinstance(part, str)]
        return [part for part in shown if not isinstance(part, Video)]

    @property
    def films(self) -> list[Video]:
        """Every video, in the order in which the model sees them."""
        if not self.messages:
            return list(self.videos)
        return [part for message in self.messages for part in message.content if isinstance(part, Video)]

    @property
    def question(self) -> str:
        """The prompt, or the words of the user's last message."""
        if not self.messages:
            return self.prompt
        last = next((message for message in reversed(self.messages) if message.role == "user"), self.messages[-1])
        return " ".join(part for part in last.content if isinstance(part, str))

    def text(self, processor: Any) -> str:
        """The prompt as text for the processor, with a placeholder for every picture and video.

        Raises:
            PromptError: the processor's template refuses it, or pictures are given to a text model.
            UnsupportedModelError: videos for a model that takes none, or whose videos are not supported.
        """
        check_sees(processor, [self.pictures], [self.films])
        tokenizer = getattr(processor, "tokenizer", processor)
        if not self.messages:
            return prompt_text(processor, tokenizer, self.prompt, len(self.images), self.chat, len(self.videos))
        turns = [(message.role, [_part(part) for part in message.content]) for message in self.messages]
        return conversation_text(processor, tokenizer, turns)


def _part(part: str | Image | Video) -> Part:
    """A stretch of a message, as templates know it."""
    return part if isinstance(part, str) else Shown.VIDEO if isinstance(part, Video) else Shown.PICTURE
