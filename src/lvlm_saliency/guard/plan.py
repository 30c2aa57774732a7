"""A draft that beam search has found, which a guarded text follows as far as its sentences stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lvlm_saliency.attention.parts import Generation
from lvlm_saliency.decoding.beam_search import beam_search
from lvlm_saliency.decoding.branches import Branch
from lvlm_saliency.decoding.search import task_of
from lvlm_saliency.guard.draft import Draft
from lvlm_saliency.hf import caches
from lvlm_saliency.interventions.beam import Beam
from lvlm_saliency.tracing.logits import finite_logits

if TYPE_CHECKING:
    from lvlm_saliency.guard.strands import Start


class Plan:
    """The draft of one text, and how far the text has come in it.

    A sentence that is rolled back is left out of the draft; the text goes on with the next one.

    Attributes:
        ids: its tokens.
        starts: the tokens with which its sentences begin.
        at: the token that comes next.
        begin: the token with which the present sentence began.
    """

    def __init__(self, ids: list[int], tokenizer: Any, vocabulary: Any):
        self.ids, self.at, self.begin = ids, 0, 0
        draft, self.starts = Draft(tokenizer, vocabulary), [0]
        for token in ids:
            draft.append(token)
        while (end := draft.sentence_end(final=True)) is not None and draft.start < len(ids):
            draft.settle(end)
            self.starts.append(draft.start)

    @property
    def token(self) -> int | None:
        """The token that comes next; None at its end."""
        return self.ids[self.at] if self.at < len(self.ids) else None

    @property
    def more(self) -> bool:
        """Whether a sentence follows the present one."""
        return self._next < len(self.ids)

    @property
    def _next(self) -> int:
        return next((start for start in self.starts if start > self.begin), len(self.ids))

    def leave_out(self) -> None:
        """Go on behind the present sentence."""
        self.at = self._next

    def settle(self, ahead: int) -> None:
        """A sentence is settled, and `ahead` tokens of the next one are written."""
        self.begin = self.at - ahead if self.at < len(self.ids) else self.at


def searched(generation: Generation, start: Start, kwargs: dict[str, Any], beams: int) -> tuple[list[list[int]], int]:
    """The best text of a beam search for every sample, and how many tokens were fed for it. The prompt's cache is
    copied, not changed; `kwargs` are the model's keywords as they were before the prompt pass."""
    branch = Branch.over(
        caches.forkable(start.cache),
        generation.model,
        generation.open_session,
        start.ids,
        kwargs,
        edited=bool(generation.parts.acting),
    )
    task = task_of(Beam(n_beams=beams), generation, branch.fork(branch.origin), finite_logits(start.logits))
    found = beam_search(task)
    return [one.texts[0].tokens.tolist() for one in found], task.drafted
