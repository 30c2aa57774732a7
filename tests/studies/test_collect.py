"""Tables of tokens: batches neither matter nor get lost, and a padded text is traced as it is alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lvlm_saliency.errors import SettingError
from lvlm_saliency.evaluation.decoding import Decoder
from lvlm_saliency.evaluation.runner import Silent
from lvlm_saliency.studies.collect import collect, traced_batch
from lvlm_saliency.studies.lab import Lab
from lvlm_saliency.studies.settings import StudySettings
from lvlm_saliency.studies.tokens import ARRAYS, layer_groups


@pytest.fixture(scope="module")
def lab(scenes, tmp_path_factory):
    return Lab(
        StudySettings(out=tmp_path_factory.mktemp("lab"), n=7, max_new_tokens=56), model=scenes[0], processor=scenes[1]
    )


@pytest.fixture(scope="module")
def texts(lab):
    found = lab.texts()
    assert len({len(text.token_ids) for text in found}) > 2
    return found


class Counting(Silent):
    def __init__(self, stop_after=None):
        self.traced, self.begun, self.stop_after = 0, None, stop_after

    def begin(self, label, total, done):
        self.begun = (total, done)

    def advance(self, label, count):
        self.traced += count
        if self.stop_after is not None and self.traced >= self.stop_after:
            raise KeyboardInterrupt


def with_batches(lab, size):
    return Decoder(lab.model, lab.processor, replace(lab.decoder.settings, batch_size=size))


def same(one, other):
    for name in ARRAYS:
        a, b = getattr(one, name), getattr(other, name)
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5, equal_nan=True, err_msg=name)


def test_batches_do_not_matter(lab, texts, tmp_path):
    tables = [collect(with_batches(lab, n), texts, tmp_path / str(n), listener=Silent()) for n in (1, 3, 32)]
    assert len(tables[0]) == sum(len(text.token_ids) for text in texts)
    for other in tables[1:]:
        same(tables[0], other)


def test_a_text_alone_is_traced_as_in_a_batch(lab, texts):
    shortest = min(texts, key=lambda text: len(text.token_ids))
    _, together = traced_batch(lab.decoder, texts)
    _, alone = traced_batch(lab.decoder, [shortest])
    row, length = texts.index(shortest), len(shortest.token_ids)
    for region in ("output", "previous", "image", "prompt"):
        np.testing.assert_allclose(
            together.scores(region)[row, :length], alone.scores(region)[0, :length], rtol=2e-3, atol=2e-5
        )
    np.testing.assert_allclose(together.logprobs[row, :length], alone.logprobs[0, :length], atol=1e-4)


def test_a_killed_collection_goes_on(lab, texts, tmp_path):
    decoder = with_batches(lab, 2)
    whole = collect(decoder, texts, tmp_path / "whole", listener=Silent())
    with pytest.raises(KeyboardInterrupt):
        collect(decoder, texts, tmp_path / "cut", listener=Counting(stop_after=4))
    again = Counting()
    resumed = collect(decoder, texts, tmp_path / "cut", listener=again)
    assert again.begun == (7, 4)
    assert again.traced == 3
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(whole, name), getattr(resumed, name))


def test_a_lost_batch_is_made_again_and_no_other(lab, texts, tmp_path):
    decoder = with_batches(lab, 3)
    whole = collect(decoder, texts, tmp_path, listener=Silent())
    files = sorted(tmp_path.glob("*.npz"))
    assert len(files) == 3
    files[1].unlink()
    again = Counting()
    resumed = collect(decoder, texts, tmp_path, listener=again)
    assert (again.begun, again.traced) == ((7, 4), 3)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(whole, name), getattr(resumed, name))
    assert not list(tmp_path.glob(".*"))


def test_further_features_travel_along(lab, texts, tmp_path):
    def extra(decoder, inputs, found):
        return {"twice": 2 * found.logprobs.numpy(), "wide": np.ones((*found.logprobs.shape, 3))}

    table = collect(lab.decoder, texts, tmp_path, extra=extra, layers=[1, 4], listener=Silent())
    assert table.layers == [1, 4]
    np.testing.assert_array_equal(table.extra["twice"], 2 * table.logprob)
    assert table.mentions().extra["wide"].shape == (len(table.mentions()), 3)


def test_what_the_table_says_of_its_tokens(lab, texts, tmp_path):
    table = collect(lab.decoder, texts, tmp_path, listener=Silent())
    words = table.mentions()
    assert len(words) == sum(len(text.spans) for text in texts)
    assert len(table.mentions(first=True)) == sum(span.first for text in texts for span in text.spans)
    for at in range(len(words)):
        text = texts[words.text[at]]
        span = text.spans[words.span[at]]
        assert (words.hallucinated[at], words.name[at], words.first[at]) == (span.hallucinated, span.name, span.first)
        assert text.pieces[words.position[at]].strip().lower() == text.text[span.start : span.end].lower()
    assert np.isnan(table.score("output")[table.position == 0]).all()
    assert np.isfinite(table.score("image")).all()
    np.testing.assert_allclose(table.score("image", layers=[2]), table.saliency[:, 2, 2])
    with pytest.raises(SettingError, match="unknown 'outptu'; did you mean 'output'"):
        table.score("outptu")
    with pytest.raises(SettingError, match=r"layers \[9\] were not traced"):
        table.score(layers=[9])


def test_layer_groups():
    assert layer_groups([0, 1, 2, 3, 4, 5, 6]) == {"0-2": [0, 1, 2], "3-4": [3, 4], "5-6": [5, 6]}
    assert layer_groups([4, 7]) == {"4": [4], "7": [7]}
