"""Does `separation` find what was planted, and nothing where nothing is? Without a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.stats import clusters as stats
from lvlm_saliency.studies import nested
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS
from lvlm_saliency.studies.separation.bins import LEAST, binned, spearman, standardised_difference
from lvlm_saliency.studies.separation.findings import falling
from lvlm_saliency.studies.separation.study import Separation
from lvlm_saliency.studies.separation.words import words
from lvlm_saliency.studies.verdicts import absent, directional

from .made import table


def verdicts(made, **settings):
    page = Separation(**settings).page(made, {}, resamples=60, seed=0)
    return [finding.verdict for finding in page.findings[:6]], page


def test_a_planted_effect_is_found():
    found, page = verdicts(table(np.random.default_rng(0), effect=1.5))
    assert found[:4] == [HOLDS] * 4  # overall, at equal position, over the previous token, from bin to bin
    assert found[4] == HOLDS or found[4] == CANNOT_TELL  # attention was left alone
    assert found[5] == HOLDS
    row = next(r for r in page.data["scores"] if r["score"] == "saliency: output" and r["mentions"] == "first mentions")
    assert row["difference_in_sd"] == pytest.approx(1.5, abs=0.25)
    assert row["auroc_low"] < 0.856 < row["auroc_high"]  # Phi(1.5 / sqrt 2)


def test_the_opposite_effect_is_told_as_such():
    found, page = verdicts(table(np.random.default_rng(1), effect=-1.5))
    assert found[:4] == [FAILS] * 4
    assert found[5] == FAILS
    assert "higher, not lower" in page.findings[0].text


def test_where_nothing_differs_nothing_is_found():
    found, page = verdicts(table(np.random.default_rng(2), pictures=120))
    assert HOLDS not in found[:4]
    assert found[5] == FAILS  # it adds nothing
    gains = [row for row in page.data["nested"] if row["added"] == "saliency: output"]
    assert all(row["robust_p"] > 0.01 and row["p"] > 0.01 for row in gains)


def test_attention_that_separates_refutes_the_claim_about_it():
    found, page = verdicts(table(np.random.default_rng(3), effect=1.5, measure="attention"))
    assert found[4] == FAILS
    assert "lower attention" in page.findings[4].text
    assert HOLDS not in found[:2]


def test_position_alone_is_seen_through():
    found, page = verdicts(table(np.random.default_rng(4), pictures=120, words=5, wrong=0.3, effect=1.0, late=True))
    assert found[0] == HOLDS  # late words are wrong, and late words score low
    assert found[1] != HOLDS  # among words of one position there is nothing
    areas = {row["held_equal"]: row for row in page.data["controls"] if row["score"] == "saliency: output"}
    assert areas["nothing"]["auroc"] > 0.6
    assert areas["same position"]["auroc_low"] < 0.5 < areas["same position"]["auroc_high"]
    assert areas["like frequency"]["auroc"] == pytest.approx(areas["nothing"]["auroc"])  # one token writes all words


def test_too_few_words_are_no_study():
    with pytest.raises(InputError, match=r"hold 15 correct and 0 hallucinated first mentions: .*\(--n\)"):
        Separation().page(table(np.random.default_rng(0), pictures=3, wrong=0.0), {}, resamples=40, seed=0)


def test_every_bin_and_word_is_in_the_data():
    made = table(np.random.default_rng(5), pictures=40)
    page = Separation(bins=7).page(made, {}, resamples=40, seed=0)
    first = made.mentions(first=True)
    assert len(page.data["words"]) == len(first) == 200
    assert sum(row["hallucinated"] for row in page.data["words"]) == first.hallucinated.sum()
    for kind in ("7 of equal width", "deciles", "quartiles"):
        rows = [row for row in page.data["bins"] if (row["score"], row["bins"]) == ("entropy", kind)]
        assert sum(row["n"] for row in rows) == 200
        assert all(row["rate_low"] <= row["rate"] <= row["rate_high"] for row in rows)


def test_the_same_seed_gives_the_same_page():
    made = table(np.random.default_rng(6), pictures=30)
    one, other = (Separation().page(made, {}, resamples=40, seed=7).data for _ in range(2))
    assert str(one) == str(other)


@pytest.mark.parametrize("settings", [{"bins": 1}, {"bins": 2.5}, {"token": "middle"}])
def test_settings_out_of_range(settings):
    with pytest.raises(SettingError, match="separation"):
        Separation(**settings)


def test_a_word_of_several_tokens():
    made = table(np.random.default_rng(8), pictures=3)
    longer = made.span.copy()
    behind = np.flatnonzero(made.opens)[:-1] + 1
    longer[behind] = made.span[behind - 1]  # each word now has a second token, but the last of all
    inside = np.diff(np.r_[made.text, -1]) == 0
    longer = np.where(longer >= 0, longer, -1)
    longer[behind[~inside[behind - 1]]] = -1  # a text's last word is its last token
    made = replace(made, span=longer)
    first, last, mean = (words(made, token) for token in ("first", "last", "mean"))
    assert len(first) == len(last) == len(mean) == 15
    rows = np.flatnonzero(made.opens)
    several = np.array([row + 1 < len(made) and longer[row + 1] >= 0 for row in rows])
    assert several.sum() == 12
    np.testing.assert_array_equal(last.logprob, made.logprob[rows + several])
    np.testing.assert_allclose(mean.logprob, (made.logprob[rows] + made.logprob[rows + several]) / 2)
    np.testing.assert_allclose(mean.saliency, (made.saliency[rows] + made.saliency[rows + several]) / 2)
    np.testing.assert_array_equal(mean.hallucinated, first.hallucinated)
    np.testing.assert_array_equal(mean.position, first.position)


def estimate(low, high):
    return stats.Estimate((low + high) / 2, low, high, 9)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.51, 0.7, HOLDS), (0.3, 0.49, FAILS), (0.47, 0.54, FAILS), (0.45, 0.7, CANNOT_TELL), (np.nan, 0.9, CANNOT_TELL)],
)
def test_directional(low, high, verdict):
    assert directional(estimate(low, high)) == verdict


@pytest.mark.parametrize(
    ("intervals", "verdict"),
    [
        ([(0.46, 0.54), (0.51, 0.54)], HOLDS),
        ([(0.46, 0.54), (0.51, 0.60)], FAILS),
        ([(0.30, 0.40)], FAILS),
        ([(0.46, 0.54), (0.40, 0.60)], CANNOT_TELL),
        ([], CANNOT_TELL),
    ],
)
def test_absent(intervals, verdict):
    assert absent([estimate(*one) for one in intervals]) == verdict


def test_bins_of_a_falling_rate():
    random = np.random.default_rng(0)
    score = random.random(2000)
    y = random.random(2000) < 0.9 * (1 - score)
    found = binned(score, y, stats.Resampler(np.arange(2000), 200), 10, equal_width=True)
    assert [one.n for one in found.bins] == np.bincount(stats.equal_width(score, 10)).tolist()
    assert found.spearman.value < -0.95
    assert found.spearman.high < -0.8
    assert spearman(score, y, stats.Resampler(np.arange(2000), 100)).high < -0.4


def test_a_bin_of_a_few_words_is_neither_ranked_nor_told():
    """Two words far above the rest, both correct: what is said of the highest bin is of one that holds enough words."""
    random = np.random.default_rng(0)
    score = np.append(random.random(2000), [1.9, 2.0])
    y = np.append(random.random(2000) < 0.9 * score[:2000], [False, False])
    found = binned(score, y, stats.Resampler(np.arange(2002), 200), 10, equal_width=True)
    finding = falling(found, 10)
    ranked = [one for one in found.bins if one.n >= LEAST]
    assert len(ranked) < len(found.bins)
    assert finding.verdict == FAILS
    assert f"over {len(ranked)} bins of at least {LEAST} words" in finding.text
    assert f"{ranked[-1].rate.value:.0%} in the highest" in finding.text


def test_a_bin_without_errors_still_has_an_interval():
    score = np.repeat([0.0, 1.0], 15)
    y = score == 0
    lowest, highest = binned(score, y, stats.Resampler(np.arange(30), 100), 2, equal_width=True).bins
    assert (lowest.rate.low, lowest.rate.high) == (pytest.approx(0.796, abs=0.01), 1)
    assert (highest.rate.low, highest.rate.high) == (0, pytest.approx(0.204, abs=0.01))


def test_standardised_difference_is_cohens():
    random = np.random.default_rng(0)
    score, y = random.normal(size=60), random.random(60) < 0.4
    one, other = score[~y], score[y]
    pooled = np.sqrt(((len(one) - 1) * one.var(ddof=1) + (len(other) - 1) * other.var(ddof=1)) / 58)
    found = standardised_difference(score, y, stats.Resampler(np.arange(60), 50))
    assert found.value == pytest.approx((one.mean() - other.mean()) / pooled)


def compared(random, effect, shared=0.0, pictures=150, words_each=5):
    """Nested models of labels that depend on x by `effect`, and on what each picture shares by `shared`."""
    groups = np.repeat(np.arange(pictures), words_each)
    x = random.normal(size=(len(groups), 1)) if not shared else random.normal(size=(pictures, 1))[groups]
    base = random.normal(size=(len(groups), 1))
    odds = base[:, 0] + effect * x[:, 0] + shared * random.normal(size=pictures)[groups]
    y = random.random(len(groups)) < 1 / (1 + np.exp(-odds))
    return nested.Words(y, stats.Resampler(groups, 100)).compare(("base", "x"), base, x)


def test_a_feature_that_matters_adds():
    found = compared(np.random.default_rng(0), effect=-1.0)
    assert found.sign == -1
    assert found.p < 1e-6
    assert found.robust_p < 1e-6
    assert found.gain.low > 0
    assert found.area_gain.low > 0


def test_the_plain_test_is_fooled_by_clusters_and_the_robust_one_is_not():
    random = np.random.default_rng(1)
    found = [compared(random, effect=0.0, shared=4.0, pictures=60, words_each=10) for _ in range(24)]
    assert sum(one.p < 0.05 for one in found) >= 9  # words of a picture go together, and so does the feature
    assert sum(one.robust_p < 0.05 for one in found) <= 5
    assert sum(one.gain.low > 0 for one in found) <= 4
