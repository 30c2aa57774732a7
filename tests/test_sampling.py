"""Plain sampling: the distribution that it draws from, and what its draws depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.sampling import Drawing
from zoo import FAMILIES

DRAWS = 4000


def drawn(scores, sample_ids, seed=0, step=0):
    made = Drawing(seed, sample_ids).choose(
        step, None, scores.expand(len(sample_ids), -1), None, [True] * len(sample_ids)
    )
    return np.array([one.token_id for one in made])


def test_tokens_come_as_often_as_they_are_probable():
    scores = torch.tensor([[2.0, 0.0, float("-inf"), 1.0, -3.0]])
    expected = torch.softmax(scores.double(), -1)[0].numpy()
    counts = np.bincount(drawn(scores, range(DRAWS)), minlength=5) / DRAWS
    assert counts[2] == 0
    assert np.abs(counts - expected).max() < 4 * 0.5 / DRAWS**0.5


def test_a_draw_is_a_function_of_seed_sample_and_step():
    scores = torch.zeros(1, 50)
    alone = [drawn(scores, [sample])[0] for sample in range(8)]
    assert drawn(scores, list(range(8))).tolist() == alone
    assert drawn(scores, [5, 2]).tolist() == [alone[5], alone[2]]
    assert drawn(scores, range(8), seed=1).tolist() != alone
    assert drawn(scores, range(8), step=1).tolist() != alone


def test_finished_samples_draw_nothing():
    made = Drawing(0, [0, 1]).choose(0, None, torch.zeros(2, 4), None, [True, False])
    assert made[1] is None


def test_a_text_does_not_depend_on_its_batch():
    family = FAMILIES["llama"]
    model, _ = family.build()
    settings = {"methods": [ls.method("sample", seed=3)], "max_new_tokens": 12, "do_sample": True, "top_k": 0}
    batch = ls.generate(model, family.inputs(3), sample_ids=[0, 1, 2], **settings)
    for sample in range(3):
        inputs = {name: value[sample : sample + 1] for name, value in family.inputs(3).items()}
        alone = ls.generate(model, inputs, sample_ids=[sample], **settings)
        assert [step.token_id for step in alone.steps[0]] == [step.token_id for step in batch.steps[sample]]


def test_top_p_and_temperature_act_as_usual():
    family = FAMILIES["llama"]
    model, _ = family.build()
    settings = {"max_new_tokens": 12, "top_k": 0}
    greedy = ls.generate(model, family.inputs(2), **settings, do_sample=False).sequences
    narrow = ls.generate(
        model, family.inputs(2), methods=[ls.method("sample", seed=1)], do_sample=True, top_p=1e-6, **settings
    )
    assert torch.equal(narrow.sequences, greedy)


@pytest.mark.parametrize("seed", [-1, 0.5, 2**63])
def test_seeds_are_checked(seed):
    with pytest.raises(SettingError, match="seed"):
        ls.method("sample", seed=seed)
