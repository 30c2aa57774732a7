"""A text in progress: whatever its tokens are, settling it comes to an end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lvlm_saliency.guard.draft import Draft
from lvlm_saliency.guard.vocabulary import Vocabulary


class Pieces:
    """A tokenizer whose tokens are texts."""

    all_special_ids = (0,)
    texts = ("", "?", "\n", " a", "dog", ". ", " \n ", "B", "!")

    def decode(self, ids, **_):
        return "".join(self.texts[token] for token in ids)

    def convert_ids_to_tokens(self, ids):
        return [self.texts[token] for token in ids]


@given(st.lists(st.integers(0, len(Pieces.texts) - 1), max_size=12))
def test_a_final_text_is_settled_to_its_last_token(tokens):
    draft = Draft(Pieces(), Vocabulary({"dog": ["dog"]}))
    for token in tokens:
        draft.append(token)
    seen = []
    while (end := draft.sentence_end(final=True)) is not None:
        draft.settle(end)
        assert draft.start not in seen  # it moves on, or the guard would judge one sentence for ever
        seen.append(draft.start)
        if draft.start >= len(draft):
            break
    assert draft.start >= len(draft) or draft.text[draft.begin :] == ""


def test_the_end_of_a_text_is_not_shown():
    draft = Draft(Pieces(), Vocabulary({"dog": ["dog"]}))
    for token in (3, 4, 5, 0, 0):
        draft.append(token)
    assert [draft.last_shown(length) for length in range(6)] == [0, 1, 2, 3, 3, 3]
