"""Risk models on disk: plain arrays, the probabilities of scikit-learn, and one line for every file that is none."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import lvlm_saliency as ls
from lvlm_saliency.errors import InputError, LvlmSaliencyError, SettingError
from lvlm_saliency.model.regions import Regions
from lvlm_saliency.risk.fitting import Data, Logistic, Trees, fit
from lvlm_saliency.risk.model import SHIPPED, RiskModel
from lvlm_saliency.risk.saved import KEY
from lvlm_saliency.risk.signals import FREE, names_of, of_trace


def fabricated(batch=2, layers=(0, 1), count=5, prompt=6, seed=0) -> ls.SaliencyTrace:
    """A trace of numbers without meaning: 3 image tokens, then 3 of the prompt."""
    random = np.random.default_rng(seed)
    width = prompt + count - 1
    rows = np.tril(random.random((batch, len(layers), count, width)), prompt - 1).astype(np.float32)
    image = torch.zeros(batch, prompt + count, dtype=torch.bool)
    image[:, :3] = True
    question, output = torch.zeros_like(image), torch.zeros_like(image)
    question[:, 3:prompt], output[:, prompt:] = True, True
    valid = torch.ones(batch, count, dtype=torch.bool)
    valid[-1, -2:] = False
    logprobs = torch.from_numpy(-random.exponential(1, (batch, count)).astype(np.float32)).masked_fill(
        ~valid, torch.nan
    )
    return ls.SaliencyTrace(
        rows=torch.from_numpy(rows / np.linalg.norm(rows, axis=-1, keepdims=True)),
        attention=torch.from_numpy(rows / rows.sum(-1, keepdims=True)),
        layers=list(layers),
        regions=Regions(system=torch.zeros_like(image), image=image, prompt=question, output=output),
        sequences=torch.from_numpy(random.integers(5, 40, (batch, prompt + count))),
        prompt_length=prompt,
        valid=valid,
        logprobs=logprobs,
        entropy=logprobs.abs() / 2,
    )


def learned(candidate, groups=FREE, layers=(0, 1), **kept) -> RiskModel:
    """A model of noise with a little signal, over the features of a trace of these layers."""
    random = np.random.default_rng(3)
    names = [name for group in groups for name in names_of(group, layers)]
    values = random.normal(size=(400, len(names)))
    values[random.random(values.shape) < 0.05] = np.nan
    y = np.nan_to_num(values[:, 0]) + random.normal(size=400) > 0.8
    data = Data(values, y, np.arange(400) // 4, names)
    given = {"groups": tuple(groups), "layers": tuple(layers), "objects": np.array([7, 9]), **kept}
    return fit(data, [candidate], **given).model


@pytest.fixture(scope="module", params=["logistic", "trees"])
def model(request):
    return learned(Logistic(0.1) if request.param == "logistic" else Trees(20), about={"why": "a test"})


@pytest.mark.parametrize("candidate", [Logistic(0.3), Trees(30, 4)])
def test_probabilities_are_those_of_scikit_learn(candidate):
    random = np.random.default_rng(1)
    values, y = random.normal(size=(300, 6)), random.random(300) < 0.3
    kind, arrays, theirs = candidate.fit(values, y, 0)
    ours = RiskModel((), (), ("",) * 6, *np.array([[0.0] * 6, [0.0] * 6, [1.0] * 6]), kind, arrays, 1.0, 0.0, y[:0])
    new = random.normal(size=(500, 6)) * 3
    assert ours.probability(new) == pytest.approx(theirs.predict_proba(new)[:, 1], abs=1e-9)


def test_what_is_saved_comes_back_to_the_bit(model, tmp_path):
    model.save(tmp_path / "new" / "risk.safetensors")
    again = RiskModel.load(tmp_path / "new" / "risk.safetensors")
    trace = fabricated()
    assert np.array_equal(again.predict(trace).numpy(), model.predict(trace).numpy(), equal_nan=True)
    assert (again.features, again.layers, again.about) == (model.features, model.layers, model.about)
    again.save(tmp_path / "twice.safetensors")
    assert (tmp_path / "twice.safetensors").read_bytes() == (tmp_path / "new" / "risk.safetensors").read_bytes()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["risk.safetensors"]


def test_risk_is_a_probability_of_every_token_and_nothing_past_the_end(model):
    trace = fabricated()
    risk = model.predict(trace)
    assert (risk.dtype, risk.shape) == (torch.float32, trace.valid.shape)
    assert torch.equal(~risk.isnan(), trace.valid)
    assert ((risk[trace.valid] > 0) & (risk[trace.valid] < 1)).all()


def test_a_token_alone_or_in_a_batch_has_the_same_risk(model):
    """Samples do not touch each other."""
    whole = fabricated()
    rows = {
        name: getattr(whole, name)[:1] for name in ("rows", "attention", "sequences", "valid", "logprobs", "entropy")
    }
    regions = Regions(**{name: getattr(whole.regions, name)[:1] for name in ("system", "image", "prompt", "output")})
    alone = replace(whole, **rows, regions=regions)
    assert model.predict(alone)[0].tolist() == pytest.approx(model.predict(whole)[0].tolist())


def test_only_the_layers_of_the_model_are_read():
    model, trace = learned(Logistic(0.1), layers=(1, 3)), fabricated(layers=(0, 1, 2, 3))
    changed = replace(trace, rows=trace.rows.clone(), attention=trace.attention.clone())
    changed.rows[:, [0, 2]] = 0.5
    changed.attention[:, [0, 2]] = 0.5
    assert np.array_equal(model.predict(changed).numpy(), model.predict(trace).numpy(), equal_nan=True)
    changed.rows[:, 1] = 0.5
    assert not np.array_equal(model.predict(changed).numpy(), model.predict(trace).numpy(), equal_nan=True)
    with pytest.raises(InputError, match=r"reads layers \[1, 3\], and the trace lacks \[3\]"):
        model.predict(fabricated(layers=(0, 1, 2)))


def test_a_trace_by_matrix_is_refused(model):
    with pytest.raises(SettingError, match="normalised by row"):
        model.predict(replace(fabricated(), settings={"normalise": "matrix"}))


def test_object_words_are_those_of_the_training_texts(model):
    trace = fabricated()
    trace.sequences[:, trace.prompt_length :] = torch.tensor([7, 8, 9, 7, 9])
    assert model.names_object(trace).tolist() == [[True, False, True, True, True], [True, False, True, False, False]]


def test_features_have_one_name_each():
    trace = fabricated(layers=(0, 2, 5))
    for group, values in of_trace(trace).items():
        names = names_of(group, trace.layers)
        assert values.shape == (2, 5, len(names))
        assert len(set(names)) == len(names)
    assert list(of_trace(trace)) == list(FREE)


def test_features_say_what_their_names_say():
    trace = fabricated()
    found = {
        name: values[..., at]
        for group, block in of_trace(trace).items()
        for at, name in enumerate(names_of(group, trace.layers))
        for values in [block]
    }
    assert found["log p of token -1"][0, 1:] == pytest.approx(trace.logprobs[0, :-1].numpy())
    assert found["entropy of token +2"][0, :-2] == pytest.approx(trace.entropy[0, 2:].numpy())
    assert np.isnan(found["entropy of token +2"][0, -2:]).all()
    assert np.isnan(found["log p of token +1"][1, 2])  # the token behind it lies past the end
    expected = np.log10(trace.scores("image", [1])[0].numpy() + 1e-6)
    assert found["saliency on image, layer 1"][0] == pytest.approx(expected)
    share = trace.attention[0, 0, 2, :3] / trace.attention[0, 0, 2, :3].sum()
    assert found["largest share of attention in it, layer 0"][0, 2] == pytest.approx(float(share.max()))
    entropy = -(share * share.log()).sum() / np.log(3)
    assert found["entropy of attention over the image, layer 0"][0, 2] == pytest.approx(float(entropy))


def test_without_an_image_its_features_are_missing_and_risk_is_not(model):
    trace = fabricated()
    trace.regions.image[:] = False
    assert np.isnan(of_trace(trace)["image saliency"]).all()
    assert np.isnan(of_trace(trace)["attention concentration"]).all()
    assert torch.equal(~model.predict(trace).isnan(), trace.valid)


def changed(metadata, **values):
    return {KEY: json.dumps({**json.loads(metadata[KEY]), **values})}


def damage(path, kind):
    tensors = load_file(path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "missing":
        path.unlink()
    elif kind == "other tensors":
        save_file({"weights": np.zeros(3)}, path)
    elif kind == "format":
        save_file(tensors, path, metadata=changed(metadata, format=99))
    elif kind == "no array":
        save_file({name: values for name, values in tensors.items() if name != "scale"}, path, metadata=metadata)
    elif kind == "short array":
        save_file({**tensors, "mean": tensors["mean"][:-1].copy()}, path, metadata=metadata)
    elif kind == "kind":
        save_file(tensors, path, metadata=changed(metadata, kind="oracle"))
    elif kind == "no json":
        save_file(tensors, path, metadata={KEY: "{"})


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "cannot be read"),
        ("empty", "cannot be read"),
        ("missing", "does not exist"),
        ("other tensors", "no risk model"),
        ("format", "format 99"),
        ("no array", "damaged"),
        ("short array", "damaged"),
        ("kind", "damaged"),
        ("no json", "damaged"),
    ],
)
def test_files_that_are_no_risk_model(model, tmp_path, kind, words):
    path = tmp_path / "risk.safetensors"
    model.save(path)
    damage(path, kind)
    with pytest.raises(LvlmSaliencyError, match=words) as caught:
        RiskModel.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("array", ["left", "right", "feature", "start"])
def test_trees_that_would_run_astray_are_refused(tmp_path, array):
    path = tmp_path / "risk.safetensors"
    learned(Trees(5)).save(path)
    tensors = load_file(path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    inner = np.flatnonzero(tensors["left"] >= 0)
    at = 0 if array == "start" else inner[-1]
    tensors[array][at] = 0 if array in ("left", "right") else 10**6  # a loop, or far away
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(InputError, match="points nowhere"):
        RiskModel.load(path)


def test_the_shipped_model_is_small_plain_and_says_where_it_is_from():
    content = SHIPPED.read_bytes()
    assert len(content) < 100_000
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # arrays behind JSON, nothing else
    assert {one["dtype"] for name, one in header.items() if name != "__metadata__"} <= {"F64", "F32", "I64", "I32"}
    model = RiskModel.load(SHIPPED)
    assert model.groups == FREE
    assert model.about["architecture"]["class"] == "LlavaForConditionalGeneration"
    assert {"trained on", "weights", "held-out AUROC, greedy texts", "classifier"} <= set(model.about)


def test_neither_scikit_learn_nor_transformers_is_imported_to_load_and_predict():
    code = (
        "import sys\nfor name in ('sklearn', 'transformers'): sys.modules[name] = None\n"
        "import lvlm_saliency as ls\nfrom lvlm_saliency.risk.model import SHIPPED\n"
        "model = ls.RiskModel.load(SHIPPED)\n"
        "import numpy as np\nprint(model.probability(np.zeros((2, len(model.features)))).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "(2,)"), done.stderr
