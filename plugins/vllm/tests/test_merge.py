"""The merge by log-sum-exps against the definition, on random paged keys. torch alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlm_saliency_vllm import merge

cases = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "groups": st.sampled_from([1, 2]),
        "per_group": st.sampled_from([1, 3]),
        "prompt": st.integers(1, 40),
        "output": st.integers(0, 30),
        "rows": st.integers(1, 4),
        "window": st.integers(1, 12),
        "beta": st.floats(0.01, 50),
        "softcap": st.sampled_from([0.0, 5.0]),
        "sliding": st.sampled_from([0, 7]),
        "sink": st.booleans(),
    }
)


class Case:
    """Queries of some rows of one request, over keys and values that lie in shuffled pages."""

    def __init__(self, seed, groups, per_group, prompt, output, rows, window, beta, softcap, sliding, sink):
        random = torch.Generator().manual_seed(seed)
        size, dim, heads = 8, 16, groups * per_group
        self.last = prompt + output + rows
        pages = (self.last + size - 1) // size
        self.keys, self.values = (torch.randn(pages + 3, size, groups, dim, generator=random) for _ in range(2))
        self.table = torch.randperm(pages + 3, generator=random)[:pages].int()
        self.q = torch.randn(rows, heads, dim, generator=random)
        self.position = torch.arange(prompt + output, self.last)
        self.prompt, self.window = (torch.full((rows,), number) for number in (prompt, window))
        self.beta, self.scale = beta, dim**-0.5
        self.limits = {"softcap": softcap, "sliding": sliding}
        self.sinks = torch.randn(heads, generator=random) if sink else None
        self.scores = merge.scores_of(
            self.q, self.keys, self.table, self.position, self.last, self.scale, **self.limits
        )

    def defined(self, space: str) -> torch.Tensor:
        """The rows' output with gamma written into whole rows of weights, key by key."""
        keys = torch.stack([self.keys[self.table[j // 8], j % 8] for j in range(self.last)])  # [K, G, D]
        values = torch.stack([self.values[self.table[j // 8], j % 8] for j in range(self.last)])
        share = self.q.shape[1] // keys.shape[1]
        out = torch.zeros_like(self.q)
        for t, place in enumerate(self.position.tolist()):
            for head in range(self.q.shape[1]):
                score = keys[:, head // share] @ self.q[t, head] * self.scale
                if cap := self.limits["softcap"]:
                    score = cap * torch.tanh(score / cap)
                first = max(0, place - self.limits["sliding"] + 1) if self.limits["sliding"] else 0
                gamma = torch.ones(self.last)
                gamma[max(int(self.prompt[t]), place - int(self.window[t])) : place] += self.beta
                score = score * gamma if space == "logit" else score
                seen = score[first : place + 1]
                sink = self.sinks[head : head + 1] if self.sinks is not None else seen.new_zeros(0)
                gamma = gamma[first : place + 1]
                if space == "probability":
                    seen = seen + gamma.log()
                weights = torch.softmax(torch.cat([seen, sink]), 0)[: len(seen)]
                if space == "unnormalised":
                    weights = weights * gamma
                out[t, head] = weights @ values[first : place + 1, head // share]
        return out

    def plain(self) -> torch.Tensor:
        """The rows' ordinary attention."""
        none = torch.zeros(len(self.q), self.last, dtype=torch.bool)
        return merge.values_of(
            merge.edited_weights(self.scores, none, 0.0, "probability", self.sinks), self.values, self.table
        )

    def window_part(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention over the windows alone."""
        blocks = self.table[None].expand(len(self.q), -1)
        widest = int(self.window.max())
        return merge.window_attention(
            self.q,
            self.keys,
            self.values,
            blocks,
            self.position,
            self.prompt,
            self.window,
            widest,
            self.scale,
            **self.limits,
        )


@given(cases, st.sampled_from(["probability", "unnormalised"]))
@settings(max_examples=60)
def test_the_merge_is_the_definition(drawn, space):
    case = Case(**drawn)
    o, lse = case.plain(), merge.log_sum(case.scores, case.sinks)
    beta, renormalised = torch.full((len(o),), case.beta), torch.full((len(o),), space == "probability")
    got = merge.strengthened(o, lse, *case.window_part(), beta, renormalised)
    torch.testing.assert_close(got, case.defined(space), atol=2e-5, rtol=2e-5)


@given(cases, st.sampled_from(["probability", "unnormalised", "logit"]))
@settings(max_examples=40)
def test_edited_weights_are_the_definition(drawn, space):
    case = Case(**{**drawn, "beta": min(drawn["beta"], 3.0)})
    window = merge.in_window(case.position, case.prompt, case.window, case.last)
    weights = merge.edited_weights(case.scores, window, case.beta, space, case.sinks)
    got = merge.values_of(weights, case.values, case.table)
    torch.testing.assert_close(got, case.defined(space), atol=2e-5, rtol=2e-5)


@given(cases)
@settings(max_examples=20)
def test_beta_0_and_empty_windows_change_no_bit(drawn):
    case = Case(**{**drawn, "output": 0})  # the first row has no generated key before it
    o, lse, (o_window, lse_window) = case.plain(), merge.log_sum(case.scores, case.sinks), case.window_part()
    for renormalised in (True, False):
        flags = torch.full((len(o),), renormalised)
        nothing = merge.strengthened(o, lse, o_window, lse_window, torch.zeros(len(o)), flags)
        assert torch.equal(nothing, o)
        some = merge.strengthened(o, lse, o_window, lse_window, torch.full((len(o),), 5.0), flags)
        assert torch.equal(some[0], o[0])
        assert len(o) == 1 or drawn["sliding"] or not torch.equal(some[1:], o[1:])


def test_rows_of_other_settings_in_one_call_do_not_touch_each_other():
    """Rows of several requests with windows and gains of their own, as a batch gives them, are what each is alone."""
    case = Case(3, 2, 2, 20, 15, 4, 9, 2.0, 0.0, 0, False)
    o, lse = case.plain(), merge.log_sum(case.scores)
    case.window = torch.tensor([1, 3, 9, 4])
    beta, renormalised = torch.tensor([0.5, 0.0, 2.0, 7.0]), torch.tensor([True, True, False, True])
    together = merge.strengthened(o, lse, *case.window_part(), beta, renormalised)
    for t in range(4):
        one = slice(t, t + 1)
        part = merge.window_attention(
            case.q[one],
            case.keys,
            case.values,
            case.table[None],
            case.position[one],
            case.prompt[one],
            case.window[one],
            int(case.window[t]),
            case.scale,
        )
        alone = merge.strengthened(o[one], lse[one], *part, beta[one], renormalised[one])
        torch.testing.assert_close(together[one], alone, atol=1e-6, rtol=1e-6)


def test_it_is_what_lvlm_saliency_does_to_rows():
    """The three readings against `ls.LocoRE` on the same queries, keys and values."""
    ls = pytest.importorskip("lvlm_saliency")
    import dataclasses

    from lvlm_saliency.attention.rows import Rows
    from lvlm_saliency.attention.state import RowContext

    case = Case(5, 2, 2, 12, 9, 3, 4, 1.5, 0.0, 0, False)
    place = RowContext(layer=0, past=21, new=3, prompt_length=12, keys=24, offset=0, device=torch.device("cpu"))
    keys, values = (pages[case.table.long()].flatten(0, 1)[:24] for pages in (case.keys, case.values))
    query, key, value = (x.transpose(0, 1)[None] for x in (case.q, keys, values))
    key, value = (x.repeat_interleave(2, 1) for x in (key, value))
    visible = place.key_positions[None] <= place.query_positions[:, None]
    rows = Rows(query, key, value, visible[None, None], case.scale, 21)
    window = merge.in_window(case.position, case.prompt, case.window, case.last)
    for space in ("probability", "unnormalised", "logit"):
        edit = ls.LocoRE(beta=1.5, window=4, space=space).edit_rows(place)
        want = dataclasses.replace(rows, edit=edit).output()[0]
        weights = merge.edited_weights(case.scores, window, 1.5, space)
        torch.testing.assert_close(merge.values_of(weights, case.values, case.table), want, atol=2e-6, rtol=1e-5)
