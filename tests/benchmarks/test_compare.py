"""Two systems, paired; and that no scorer drags torch in."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lvlm_saliency.benchmarks import chair, pope
from lvlm_saliency.benchmarks.compare import compare
from lvlm_saliency.errors import InputError
from lvlm_saliency.stats.bootstrap import Bootstrap


@pytest.fixture
def systems(synonyms):
    truth = {image: ["dog"] for image in range(20)}

    def score(images, every, variant="official"):
        captions = [{"image_id": n, "caption": "A dog on a table." if n % every == 0 else "A dog."} for n in images]
        return chair.score(captions, truth, synonyms, variant)

    return score


def test_the_difference_and_its_interval(systems):
    often, seldom = systems(range(20), 2), systems(reversed(range(20)), 4)
    result = compare(often, seldom)
    figure = result["figures"]["CHAIR_s"]
    assert figure["difference"] == pytest.approx(0.25)
    assert figure["interval"][0] < 0.25 < figure["interval"][1]
    assert result["items"] == 20
    assert result["bootstrap"]["paired"]
    assert compare(often, often)["figures"]["CHAIR_i"] == {"difference": 0.0, "interval": [0.0, 0.0]}


def test_other_images_are_an_error_or_left_out(systems):
    one, other = systems(range(15), 2), systems(range(5, 20), 2)
    with pytest.raises(InputError, match="10 items"):
        compare(one, other)
    result = compare(one, other, errors="skip", bootstrap=Bootstrap(resamples=40))
    assert (result["items"], result["skipped"]) == (10, {"unpaired": 10})
    assert result["figures"]["CHAIR_s"]["difference"] == 0.0


def test_unlike_results_are_not_compared(systems):
    question = [{"question_id": 1, "image": "a", "text": "?", "label": "no"}]
    one = pope.score(question, [{"question_id": 1, "answer": "no"}])
    with pytest.raises(InputError, match="benchmark 'pope' with benchmark 'chair'"):
        compare(one, systems(range(2), 1))
    with pytest.raises(InputError, match="parser 'official' with parser 'vcd'"):
        compare(one, pope.score(question, [{"question_id": 1, "answer": "no"}], "vcd"))


def test_scorers_import_neither_torch_nor_nltk():
    program = (
        "import sys, lvlm_saliency.cli.score; from lvlm_saliency.benchmarks import chair, pope, mme, amber, compare;"
        "sys.exit(sum(name in sys.modules for name in ('torch', 'transformers', 'nltk', 'spacy', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
