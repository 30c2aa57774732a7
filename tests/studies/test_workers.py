"""A study whose workers hold the model: the process that was started holds none, and the results are the same."""

from __future__ import annotations

import pickle

import pytest

from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.evaluation.decoding import Decoder
from lvlm_saliency.evaluation.runner import Silent
from lvlm_saliency.interventions.sgrs import SGRS
from lvlm_saliency.model import load
from lvlm_saliency.risk.model import architecture
from lvlm_saliency.studies import gate_records
from lvlm_saliency.studies.decay import arms
from lvlm_saliency.studies.decay.weakening import Strength
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.self_check import self_check
from lvlm_saliency.studies.settings import StudySettings

GATE = SGRS(seed=0, execution="stepwise")


class OneWorker:
    """A pool of one worker in this process, which is sent pickles as Ray's are."""

    def __init__(self, decoder):
        self.decoder = decoder

    def share(self, value):
        return value

    def one(self, function, *arguments, label):
        return function(self.decoder, *pickle.loads(pickle.dumps(arguments)))

    def run(self, jobs):
        for job in reversed(jobs):  # in an order of its own
            function, arguments = pickle.loads(pickle.dumps((job.function, job.arguments)))
            yield job, function(self.decoder, *arguments)


def settings(out):
    return StudySettings(out=out, n=4, max_new_tokens=12, batch_size=3, resamples=0)


def everything(lab):
    """What needs a model, in all studies but those that name it themselves."""
    benchmark, kept = open_benchmark("scenes-caption", n=4), lab.kept
    texts, table = lab.texts(), lab.tokens()
    gated = gate_records.write(lab.reader, benchmark, GATE, 0.9, kept / "gate", lab.listener, "gate", lab.pool)
    arm = arms.write(lab.reader, benchmark, Strength(0.5), kept / "decay", lab.listener, "arm", lab.pool)
    odds = self_check(lab.reader, texts, kept / "asked.jsonl", listener=lab.listener, pool=lab.pool)
    told = (lab.fingerprint, lab.setup()["weights"], architecture(lab.structure), GATE.target_layers(lab.structure))
    arrays = {name: getattr(table, name).tolist() for name in ("token_id", "span", "logprob", "saliency")}
    return texts, arrays, gated, arm.rows, odds, told


def test_a_study_over_workers_holds_no_model_here(scenes, tmp_path, monkeypatch):
    plain = Lab(settings(tmp_path / "plain"), model=scenes[0], processor=scenes[1])
    wanted = everything(plain)
    pool = OneWorker(Decoder(*scenes, plain.decoder.settings))

    def refuse(*_, **__):
        raise AssertionError("the model was loaded in this process")

    monkeypatch.setattr(load, "load_model", refuse)
    lab = Lab(settings(tmp_path / "spread"), pool=pool)
    lab.load()
    found = everything(lab)
    assert str(found) == str(wanted)
    assert {weight.device.type for weight in lab.structure.parameters()} == {"meta"}
    with pytest.raises(AssertionError, match="was loaded"):
        _ = lab.model


@pytest.mark.slow
def test_the_same_with_workers_of_ray(scenes, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    from lvlm_saliency.evaluation.engines import decoder_pool
    from lvlm_saliency.workers import Workers

    asked = settings(tmp_path / "spread")
    wanted = everything(Lab(settings(tmp_path / "plain"), model=scenes[0], processor=scenes[1]))
    monkeypatch.setattr(load, "load_model", None)
    with decoder_pool(Workers(count=2), asked.run(asked.out, ["scenes-caption"], []), Silent()) as pool:
        assert str(everything(Lab(asked, pool=pool))) == str(wanted)
