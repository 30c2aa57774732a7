"""`tune` as a command: different pictures choose and judge, nothing is done twice, mistakes are one line."""

from __future__ import annotations

import json

import pytest

from lvlm_saliency.cli import main
from lvlm_saliency.evaluation.decoding import Decoder

# --- the whole of it, on the shipped model ---


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The folder of the first test's command."""
    return tmp_path_factory.mktemp("tune")


@pytest.fixture
def command(capsys):
    """`lvlm-saliency tune` with few pictures and settings -> (status, stdout, stderr)."""

    def run(out, *more):
        arguments = ["tune", "--out", out, "--settings", 2, "--budget", 16, "--resamples", 50, "--n", 4]
        capsys.readouterr()
        status = main([str(word) for word in [*arguments, "--max-new-tokens", 16, "--device", "cpu", *more]])
        return status, *capsys.readouterr()

    return run


def test_the_command_chooses_and_judges_on_different_pictures_and_repeats_nothing(command, tuned, monkeypatch, capsys):
    status, out, _ = command(tuned, "--json")
    assert status == 0
    found = json.loads(out)
    preset = tuned / "tune/preset.yaml"
    assert found["preset"] == str(preset)
    assert [one["verdict"] for one in found["verdicts"]]
    pictures = {
        "dev" if "scene-dev-" in file.read_text() else "test": {
            json.loads(line)["image_sha256"] for line in file.read_text().splitlines()
        }
        for file in tuned.glob("kept/runs/*/inputs/*.jsonl")
    }
    assert pictures.keys() == {"dev", "test"}
    assert not pictures["dev"] & pictures["test"]
    page = (tuned / "tune/page.md").read_text()
    assert "--settings 2" in page
    assert "--budget 16" in page
    for name in ("effect.png", "search.png", "settings.csv", "effect.jsonl"):
        assert (tuned / "tune" / name).stat().st_size > 100

    def refuse(*_):
        raise AssertionError("a caption is written a second time")

    monkeypatch.setattr(Decoder, "decode", refuse)
    assert command(tuned, "--json")[:2] == (0, out)


@pytest.mark.slow
def test_a_killed_search_goes_on(command, tmp_path, monkeypatch):
    decode, batches = Decoder.decode, []

    def dies(self, *given):
        batches.append(given)
        if len(batches) == 4:
            raise KeyboardInterrupt
        return decode(self, *given)

    both = ("--methods", "sgrs+locore")
    monkeypatch.setattr(Decoder, "decode", dies)
    assert command(tmp_path, *both)[0] == 130
    again = []
    monkeypatch.setattr(Decoder, "decode", lambda self, *given: again.append(given) or decode(self, *given))
    assert command(tmp_path, *both)[0] == 0
    described = [(spec.described().get("split"), way.label, item.image) for spec, way, items in again for item in items]
    before = [(b.described().get("split"), way.label, item.image) for b, way, items in batches[:3] for item in items]
    assert before
    assert not set(before) & set(described)
    assert len(described) == len(set(described))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--methods", "locor"], "did you mean 'locore'"),
        (["--budget", "3"], "budget=3 is too small"),
        (["--labels", "scenes-caption:split=test"], "leave split out"),
        (["--labels", "scenes-caption:split=dev"], "leave split out"),
        (["--labels", "labelled.jsonl"], "must name a benchmark"),
        (["--recall-margin", "2"], "--recall-margin"),
    ],
)
def test_mistakes_are_one_line(command, tmp_path, more, words):
    status, out, err = command(tmp_path, *more)
    assert (status, out) == (2, "")
    assert words in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: ")


def test_without_out_nothing_is_loaded(capsys):
    assert main(["tune"]) == 2
    assert "--out is missing" in capsys.readouterr().err
