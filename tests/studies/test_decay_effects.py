"""What `decay` concludes from arms whose hallucinations were planted."""

from __future__ import annotations

import numpy as np
import pytest

from lvlm_saliency.studies.decay import page as decay_page
from lvlm_saliency.studies.decay.arms import Arm
from lvlm_saliency.studies.decay.effects import Effects
from lvlm_saliency.studies.decay.weakening import Strength
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS


class FakeBenchmark:
    """Captions are lists of words: "x" is hallucinated, "o" is there."""

    def score(self, texts):
        entries = [
            {
                "image_id": str(index),
                "node_words": [w for w in text.split() if w in "xo"],
                "hallucinated": [{"word": w} for w in text.split() if w == "x"],
                "recalled": ["o"] if "o" in text else [],
                "truth_objects": 1,
                "tokens": len(text.split()),
                "CHAIR_s": int("x" in text),
            }
            for index, text in texts.items()
        ]
        return {"captions": {"benchmark": "chair", "variant": "made up", "per_caption": entries}}


def made(chances, lengths, control, seed=0, pictures=400):
    """Effects of arms that hallucinate with these chances, longer by so many words at their end."""
    random = np.random.default_rng(seed)
    luck = random.random(pictures)

    def arm(factor, chance, extra, share, elsewhere=False):
        rows = {
            i: {
                "text": " ".join(["o", "w", "x" if luck[i] < chance else "w", *["w"] * extra]),
                "image": str(i),
                "held": 1,
                "taken": share,
                "wanted": share,
                "attended": 1.0,
            }
            for i in range(pictures)
        }
        return Arm(Strength(factor, elsewhere), rows, FakeBenchmark())

    factors = (0.8, 0.6, 0.4, 0.2)
    treated = [arm(r, c, n, 1 - r) for r, c, n in zip(factors, chances, lengths, strict=True)]
    others = [arm(r, c, 0, 1 - r, True) for r, c in zip((0.6, 0.2), control, strict=True)]
    return Effects(arm(1.0, 0.2, 0, 0.0), treated, others, 300, 0)


def verdicts(effects):
    return [finding.verdict for finding in decay_page.findings(effects)]


def test_a_planted_rise_is_found():
    effects = made((0.25, 0.3, 0.35, 0.4), (0, 0, 0, 0), (0.2, 0.2))
    assert verdicts(effects) == [HOLDS, HOLDS, HOLDS]
    trend = effects.trend("CHAIR_s")
    rates = [effects.level(arm, "CHAIR_s").value for arm in (effects.base, *effects.treated)]
    assert trend.value == pytest.approx(0.8 * np.polyfit([0, 0.2, 0.4, 0.6, 0.8], rates, 1)[0])
    assert 0.1 < trend.low < trend.value < trend.high < 0.3
    there, elsewhere, more = effects.per_attention("CHAIR_s")
    assert there.value == pytest.approx(0.002, abs=0.0007)
    assert elsewhere.value == 0
    assert more.low > 0


def test_no_rise_is_none():
    effects = made((0.2, 0.2, 0.2, 0.2), (0, 0, 0, 0), (0.2, 0.2))
    assert verdicts(effects) == [FAILS, FAILS, FAILS]
    assert effects.difference(effects.treated[-1], "CHAIR_s").value == 0


def test_a_rise_that_comes_as_much_elsewhere_is_nothing_special():
    assert verdicts(made((0.25, 0.3, 0.35, 0.4), (0, 0, 0, 0), (0.3, 0.4)))[::2] == [HOLDS, FAILS]


def test_a_rise_in_what_was_added_is_a_matter_of_length():
    effects = made((0.2, 0.2, 0.2, 0.2), (0, 0, 0, 0), (0.2, 0.2))
    for arm in effects.treated:
        for row in arm.rows.values():
            row["text"] += " w w x"
    found = verdicts(effects)
    assert found[:2] == [HOLDS, FAILS]
    assert found[2] in (FAILS, CANNOT_TELL)
