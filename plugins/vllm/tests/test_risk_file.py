"""Risk files that lvlm_saliency writes, read by the plug-in's own small reader."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lvlm_saliency_vllm.grounding import CHOSEN, GROUPS, feature_names
from lvlm_saliency_vllm.risk import CausalRisk, RiskFileError
from test_grounding import random_text, read, traced

ls = pytest.importorskip("lvlm_saliency")


def model(kind: str, groups=CHOSEN, layers=(1, 4)):
    """A risk model with random arrays, as lvlm_saliency has it."""
    from lvlm_saliency.risk.model import RiskModel

    random = np.random.default_rng(3)
    names = [name for group in groups for name in feature_names(group, layers)]
    width = len(names)
    if kind == "logistic":
        arrays = {"weight": random.normal(size=width) * 0.1, "bias": np.array([0.3])}
    else:
        arrays = {
            "start": np.array([0, 3], dtype=np.int32),
            "left": np.array([1, -1, -1, 4, -1, 6, -1, -1], dtype=np.int32),
            "right": np.array([2, -1, -1, 5, -1, 7, -1, -1], dtype=np.int32),
            "feature": np.array([0, -2, -2, width - 1, -2, 4, -2, -2], dtype=np.int32),
            "threshold": random.normal(size=8) * 0.3,
            "leaf": random.normal(size=8),
            "root": np.array([-0.4]),
        }
    return RiskModel(
        groups=tuple(groups),
        layers=tuple(layers),
        features=tuple(names),
        fill=random.normal(size=width),
        mean=random.normal(size=width),
        scale=random.random(width) + 0.5,
        kind=kind,
        arrays=arrays,
        slope=0.8,
        offset=-0.2,
        objects=np.array([2, 5], dtype=np.int64),
        about={"model": "random"},
    )


@pytest.mark.parametrize("groups", [CHOSEN, GROUPS])
@pytest.mark.parametrize("kind", ["logistic", "trees"])
def test_the_same_risk_as_the_package_gives(tmp_path, kind, groups):
    written = model(kind, groups)
    written.save(tmp_path / "risk.safetensors")
    risk = CausalRisk.load(tmp_path / "risk.safetensors")
    found = read(*random_text(count=12))
    want = written.probability(found.features(groups, (1, 4)))
    assert risk.waits == (groups is GROUPS)
    np.testing.assert_allclose(risk(found), want, rtol=1e-8)
    assert np.ptp(want) > 0.01  # a constant would prove nothing
    assert risk.names_object(found).tolist() == [t % 5 == 2 for t in range(12)]


def test_the_shipped_causal_risk_is_what_the_package_makes_of_a_trace():
    from lvlm_saliency.guard.setup import SHIPPED
    from lvlm_saliency.risk.model import RiskModel

    risk, text = CausalRisk.load(SHIPPED), random_text(count=20, layers=6)
    want = RiskModel.load(SHIPPED).predict(traced(*text, layers=range(6)))[0].numpy()
    np.testing.assert_allclose(risk(read(*text, layers=range(6))), want, rtol=1e-3, atol=1e-9)
    assert risk.waits


def test_files_that_cannot_be_used_are_refused(tmp_path):
    from lvlm_saliency.risk.model import SHIPPED

    path = tmp_path / "risk.safetensors"
    with pytest.raises(RiskFileError, match="cannot be read"):
        CausalRisk.load(path)
    with pytest.raises(RiskFileError, match="fit a causal risk model"):
        CausalRisk.load(SHIPPED)  # it looks six tokens ahead, and wants a backward pass
    good = model("logistic")
    dataclasses.replace(good, features=("x", *good.features[1:])).save(path)
    with pytest.raises(RiskFileError, match="features are not those of this version"):
        CausalRisk.load(path)
    dataclasses.replace(good, scale=np.zeros_like(good.scale)).save(path)
    with pytest.raises(RiskFileError, match="a scale that is not above 0"):
        CausalRisk.load(path)
    dataclasses.replace(good, mean=good.mean * np.nan).save(path)
    with pytest.raises(RiskFileError, match="mean holds NaN"):
        CausalRisk.load(path)
    trees = model("trees")
    loop = {**trees.arrays, "left": np.array([0, -1, -1, 4, -1, 6, -1, -1], dtype=np.int32)}
    dataclasses.replace(trees, arrays=loop).save(path)
    with pytest.raises(RiskFileError, match="points nowhere"):
        CausalRisk.load(path)


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / "risk.safetensors"
    model("logistic").save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(RiskFileError, match="SHA-256"):
        CausalRisk.load(path)
