"""OPERA's arithmetic and its rules for going back, on numbers made by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlm_saliency.attention.state import RowContext
from lvlm_saliency.interventions.opera import OPERA
from lvlm_saliency.interventions.opera.over_trust import (
    LOWEST,
    NO_COLUMN,
    candidate_ids,
    candidate_log_probs,
    extended,
    full_log_probs,
    penalties,
    shares,
)
from lvlm_saliency.interventions.opera.rollbacks import Ledger


def columns_of(block, sigma=50.0):
    """log phi of every column, grown row by row as the search does."""
    found = torch.zeros(1, 0, dtype=torch.float64)
    for row in range(len(block)):
        found = extended(found, block[row : row + 1, : row + 1].double(), sigma)
    return found


def lower(n, seed=0):
    block = torch.rand(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.2 + 0.01
    return block / block.tril().sum(-1, keepdim=True).clamp_min(1.0)


@given(n=st.integers(1, 40), seed=st.integers(0, 10**6), sigma=st.floats(0.5, 80))
@settings(max_examples=50, deadline=None)
def test_growing_row_by_row_gives_the_products_of_the_definition(n, seed, sigma):
    block = lower(n, seed)
    products = torch.stack([(sigma * block[j:, j]).prod() for j in range(n)])
    torch.testing.assert_close(columns_of(block, sigma)[0].exp(), products, rtol=1e-9, atol=0)


def test_a_strong_column_is_found_and_scored():
    block = lower(14)
    block[3:, 3] = 0.9
    penalty, where = penalties(columns_of(block), torch.zeros(1, dtype=torch.float64), "official_code")
    assert where.item() == 3
    assert penalty.item() == pytest.approx(1e-7 * (50 * 0.9) ** 11, rel=1e-9)
    paper, where = penalties(columns_of(block), torch.zeros(1, dtype=torch.float64), "paper")
    assert where.item() == 3
    assert paper.item() == pytest.approx((50 * 0.9) ** 11, rel=1e-9)


def test_the_rows_above_a_column_do_not_count():
    block = lower(14)
    other = block.clone()
    other[torch.triu_indices(14, 14, 1).unbind()] = 7.0
    other[:3, 3] = 5.0
    assert torch.equal(columns_of(block)[:, 3], columns_of(other)[:, 3])


def test_ten_answer_tokens_are_rewarded_for_the_picture_and_eleven_penalised():
    image = torch.tensor([0.37], dtype=torch.float64)
    block = lower(11)
    reward, _ = penalties(columns_of(block[:10, :10]), image, "official_code")
    penalty, _ = penalties(columns_of(block), image, "official_code")
    assert reward.item() == -0.37
    assert penalty.item() == pytest.approx(1e-7 * float(columns_of(block).exp().max()), rel=1e-9)
    paper, _ = penalties(columns_of(block[:10, :10]), image, "paper")
    assert paper.item() == pytest.approx(float(columns_of(block[:10, :10]).exp().max()), rel=1e-9)


@pytest.mark.parametrize("share", [0.99, 1e-30])
@pytest.mark.parametrize("mode", ["official_code", "paper"])
def test_long_answers_neither_overflow_nor_vanish_into_nan(share, mode):
    block = torch.full((500, 500), share, dtype=torch.float64)
    penalty, _ = penalties(columns_of(block), torch.zeros(1), mode)
    logits = torch.randn(1, 20)
    found = candidate_log_probs(logits, candidate_ids(logits, OPERA(), 1), penalty[:, None] * torch.arange(5))
    assert math.isfinite(penalty.item())
    assert bool(torch.isfinite(found).all())


def context(keys, prompt_length, offset=0):
    return RowContext(0, offset + keys - 1, 1, prompt_length, keys, offset, torch.device("cpu"))


def test_a_row_is_the_largest_head_brought_to_sum_one():
    weights = torch.softmax(torch.randn(3, 4, 1, 12), dim=-1)
    image = torch.zeros(3, 8, dtype=torch.bool)
    image[:, 2:5] = True
    answer, picture = shares(weights, context(12, 8), image)
    row = weights[:, :, 0].max(dim=1).values.double()
    row = row / row.sum(-1, keepdim=True)
    torch.testing.assert_close(row.sum(-1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(answer, row[:, 8:])
    torch.testing.assert_close(picture, row[:, 2:5].sum(-1))


def test_what_a_sliding_window_has_left_behind_has_no_share():
    weights = torch.softmax(torch.randn(2, 4, 1, 6), dim=-1)
    answer, picture = shares(weights, context(6, 5, offset=7), torch.ones(2, 5, dtype=torch.bool))
    assert answer.shape == (2, 8)
    assert bool((answer[:, :2] == 0).all())
    torch.testing.assert_close(answer.sum(-1), torch.ones(2, dtype=torch.float64))
    assert bool((picture == 0).all())


def test_candidates_are_normalised_among_themselves_and_all_else_comes_after():
    logits = torch.randn(3, 30)
    ids = candidate_ids(logits, OPERA(), 1)
    found = candidate_log_probs(logits, ids)
    assert ids.shape == (3, 5)
    torch.testing.assert_close(found.gather(1, ids), torch.log_softmax(logits.topk(5).values, -1))
    rest, raw = found.scatter(1, ids, -1e9), logits.scatter(1, ids, -1e9)
    assert bool((rest <= LOWEST).all())
    assert torch.equal(rest.topk(25).indices, raw.topk(25).indices)
    every = torch.arange(30).expand(3, -1)
    assert torch.equal(candidate_log_probs(logits, every), torch.log_softmax(logits, -1))


def test_the_first_step_offers_a_candidate_for_each_beam():
    logits = torch.randn(1, 30)
    assert candidate_ids(logits, OPERA(candidates=1), 0).shape == (1, 5)
    assert candidate_ids(logits, OPERA(candidates=1), 1).shape == (1, 1)


def ledger(votes, *, threshold=15, limit=5, mode="official_code", beams=2, times=None, latest=0):
    """One with these columns voted for, alike by every beam unless pairs are given."""
    made = Ledger(threshold, limit, mode, beams, latest=latest)
    for vote in votes:
        made.vote(torch.tensor([[v] * 3 for v in (vote if isinstance(vote, tuple) else (vote,) * beams)]))
    made.times.update(times or {})
    return made


@pytest.mark.parametrize(("mode", "needed"), [("official_code", 16), ("paper", 15)])
def test_how_many_votes_it_takes(mode, needed):
    early = [0] * 13
    assert ledger([*early, *[12] * needed], mode=mode).target() == 13
    assert ledger([*early, *[12] * (needed - 1)], mode=mode).target() is None


def test_tokens_that_attention_leaves_out_are_no_summary_tokens():
    """An indexer that chooses keys may leave out every token of the answer: no column is then the largest."""
    penalty, where = penalties(torch.full((2, 14), -math.inf, dtype=torch.float64), torch.zeros(2), "paper")
    assert where.tolist() == [NO_COLUMN] * 2
    assert penalty.tolist() == [0, 0]
    for mode in ("paper", "official_code"):
        assert ledger([NO_COLUMN] * 20, mode=mode).target() is None


def test_one_beam_that_leans_elsewhere_holds_the_search_back():
    early = [0] * 13
    assert ledger([*early, *[(12, 12)] * 16]).target() == 13
    assert ledger([*early, (12, 11), *[(12, 12)] * 15]).target() is None


def test_the_code_leaves_early_summaries_alone():
    assert ledger([0] * 10 + [9] * 20).target() is None
    assert ledger([0] * 10 + [10] * 20).target() == 11
    assert ledger([0] * 10 + [9] * 20, mode="paper").target() == 10


def test_an_exhausted_position_gives_way_to_the_one_before_and_then_to_none():
    votes = [0] * 13 + [12] * 20
    assert ledger(votes, times={13: 4}).target() == 13
    assert ledger(votes, times={13: 5}).target() == 12
    assert ledger(votes, times={13: 5, 12: 5}).target() is None
    assert ledger(votes, limit=0).target() is None


def test_the_paper_never_goes_further_back_than_last_time():
    votes = [0] * 13 + [12] * 20
    assert ledger(votes, mode="paper", latest=13).target() == 13
    assert ledger(votes, mode="paper", latest=14).target() is None
    assert ledger(votes, latest=14).target() == 13


def test_nothing_is_taken_back_that_is_not_decided_yet():
    assert ledger([0] * 11 + [10, 11, 11], threshold=1).target() == 12
    assert ledger([0] * 12 + [12, 12], threshold=1).target() is None


def test_what_was_refused_is_kept_at_its_position_and_forgotten_behind_it():
    made = ledger([0] * 13 + [12] * 20)
    made.roll_back(14, (torch.tensor([0, 1]), torch.tensor([5, 6])))
    assert len(made.votes) == 15
    made.roll_back(13, (torch.tensor([0, 0]), torch.tensor([7, 8])))
    made.roll_back(13, (torch.tensor([1, 0]), torch.tensor([7, 9])))
    assert made.refused == {13: [(0, 7), (0, 8), (1, 7), (0, 9)]}
    assert dict(made.times) == {14: 1, 13: 2}
    logits = made.without_refused(torch.zeros(2, 12), 13)
    assert (logits == -math.inf).nonzero().tolist() == [[0, 7], [0, 8], [0, 9], [1, 7]]
    assert torch.equal(made.without_refused(logits, 14), logits)
    found = full_log_probs(logits)
    assert float(found[0].exp().sum()) == pytest.approx(1)
    assert bool(torch.isfinite(found).all())
    assert float(found[1, 7]) < LOWEST
