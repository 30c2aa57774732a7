"""The controls alter what they say and nothing else; the verdicts follow planted intervals; the study runs."""

from __future__ import annotations

import json
import math

import pytest
import torch

from lvlm_saliency.attention.state import RowContext
from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.locore import LocoRE
from lvlm_saliency.interventions.registry import methods
from lvlm_saliency.interventions.sgrs.rejection import Proposal
from lvlm_saliency.studies.ablation.chance import ChanceSGRS
from lvlm_saliency.studies.ablation.controls import (
    ObjectSGRS,
    ScatteredLocoRE,
    ShuffledSGRS,
    TurnedSGRS,
    _ShuffledGate,
    _TurnedGate,
    _WordGate,
)
from lvlm_saliency.studies.ablation.findings import collapse, compared
from lvlm_saliency.studies.ablation.study import Ablation
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.page import CANNOT_TELL, FAILS, HOLDS
from lvlm_saliency.studies.settings import StudySettings

SCORES = [0.1, 0.2, 0.3, 0.4, 0.5]


def test_shuffled_scores_are_a_permutation_that_depends_on_the_sample_and_not_on_its_batch():
    together = _ShuffledGate(ShuffledSGRS(seed=3), [0], [7, 8])
    alone = _ShuffledGate(ShuffledSGRS(seed=3), [0], [8])
    seen = [together.altered(1, step, SCORES) for step in range(20)]
    assert all(sorted(one) == SCORES for one in seen)
    assert seen == [alone.altered(0, step, SCORES) for step in range(20)]
    assert len(set(map(tuple, seen))) > 10
    assert seen != [together.altered(0, step, SCORES) for step in range(20)]


@pytest.mark.parametrize(("score", "refused"), [(0.5, False), (0.9, False), (1.1, True)])
def test_the_turned_gate_refuses_what_lies_above_the_mean_over_alpha(score, refused):
    gate = _TurnedGate(TurnedSGRS(alpha=0.5, seed=0, order="greedy"), [0], [0])
    gate.history[0].extend([-0.5, -0.5])  # mean S 0.5, so tau' is 1
    taken = gate._settle(0, 2, Proposal([10, 11], [0.7, 0.3]), gate.altered(0, 2, [score, 0.2]), 0)
    assert (taken.token_id == 11) == refused


def test_only_object_words_are_refused():
    gate = _WordGate(ObjectSGRS(seed=0, order="greedy", token_ids=(11,)), [0], [0])
    gate.history[0].extend([1.0, 1.0])
    free = gate._settle(0, 2, Proposal([10, 12], [0.7, 0.3]), [0.1, 0.9], 0)
    assert (free.token_id, free.score, gate.history[0][-1]) == (10, 0.1, 0.1)
    gate.history[0][-1] = 1.0
    assert gate._settle(0, 3, Proposal([11, 12], [0.7, 0.3]), [0.1, 0.9], 0).token_id == 12


def _place(queries: range, keys: int, prompt: int) -> RowContext:
    """Rows `queries` of a sequence of `keys` positions."""
    return RowContext(0, queries.start, len(queries), prompt, keys, 0, torch.device("cpu"))


def test_the_random_window_boosts_as_many_and_never_the_prompt_and_rows_recomputed_are_the_same():
    method, plain = ScatteredLocoRE(window=3, seed=1), LocoRE(window=3)
    whole = method.edit_rows(_place(range(4, 20), 20, 5)).bias[0, 0]
    usual = plain.edit_rows(_place(range(4, 20), 20, 5)).bias[0, 0]
    assert torch.equal((whole > 0).sum(1), (usual > 0).sum(1))
    assert whole.max() == pytest.approx(math.log(1.15))
    assert not whole[:, :5].any()
    assert not whole.triu(diagonal=4).any()
    assert not torch.equal(whole, usual)
    assert torch.equal(method.edit_rows(_place(range(19, 20), 20, 5)).bias[0, 0, 0], whole[-1])


@pytest.mark.parametrize("control", [ChanceSGRS, ShuffledSGRS, TurnedSGRS, ObjectSGRS, ScatteredLocoRE])
def test_controls_are_no_methods_of_the_command_line(control):
    assert control.name not in methods()


@pytest.mark.parametrize(
    ("bounds", "said", "claim"),
    [
        ([-0.05, -0.01], HOLDS, "SGRS hallucinates less than chance: CHAIR_i −3.00 points [−5.00, −1.00] (n = 9)."),
        ([0.01, 0.05], FAILS, "SGRS hallucinates more, not less, than chance: CHAIR_i +3.00 points [+1.00, +5.00]"),
        ([-0.02, 0.02], CANNOT_TELL, "No difference between SGRS and chance is shown: CHAIR_i +0.00 points"),
    ],
)
def test_verdicts_follow_the_interval(bounds, said, claim):
    found = compared("SGRS", "chance", {"difference": sum(bounds) / 2, "interval": bounds}, "n = 9")
    assert found.verdict == said
    assert found.text.startswith(claim)
    assert ("can show one of about 2.0 points" in found.text) == (said == CANNOT_TELL)


def test_the_interpretation_that_collapses_is_named():
    calm = {"difference": 0.0, "interval": [-0.01, 0.01]}
    worse = {"difference": 0.2, "interval": [0.1, 0.3]}
    found = collapse({"probability": calm, "logit": worse}, "n = 9")
    assert found.verdict == HOLDS
    assert "space=logit" in found.text
    assert collapse({"probability": calm}, "n = 9").verdict == CANNOT_TELL


@pytest.mark.slow
def test_the_study_from_end_to_end(tmp_path, scenes):
    lab = Lab(StudySettings(out=tmp_path, n=2, max_new_tokens=24, resamples=50), model=scenes[0], processor=scenes[1])
    page = Ablation(pictures=2, alphas="0.6", betas="0", groups="grid/controls").run(lab)
    page.write(tmp_path / "ablation")
    assert len(page.findings) == 10
    assert not any("?" in finding.text for finding in page.findings)
    assert (tmp_path / "ablation" / "grid-as-written.png").exists()
    rows = {(row["candidates"], row["decoding"]): row for row in page.data["ablation"]}
    assert rows["top-p 0.9", "shuffled"]["refused_per_token"] >= 0
    assert rows["as written", "SGRS"]["system"] == rows["as written", "α 0.6, β 0"]["system"]
    mine, chance = (rows["as written", name]["refused_per_token"] for name in ("SGRS", "by chance"))
    assert f"per token {mine:.3f} refusals against {chance:.3f} by chance" in page.findings[2].text
    files = (tmp_path / "kept" / "gate").rglob("*.jsonl")
    kept = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
    counted = {
        sum(len(step["rejected"]) for row in texts for step in row["steps"]) / sum(len(row["steps"]) for row in texts)
        for texts in kept
    }
    assert counted == {rows[how, "SGRS"]["refused_per_token"] for how in ("as written", "top-p 0.9")}


@pytest.mark.parametrize(
    "settings", [{"alphas": "x"}, {"betas": "-1"}, {"groups": "all"}, {"pictures": 1}, {"top_p": 1}, {"window": 0}]
)
def test_bad_settings_are_told(settings):
    with pytest.raises(SettingError):
        Ablation(**settings)
