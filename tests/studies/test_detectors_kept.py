"""What a comparison of detectors keeps for the next run, and when it is read again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lvlm_saliency.errors import InputError
from lvlm_saliency.risk.model import SHIPPED, RiskModel
from lvlm_saliency.studies.detect.published import fits
from lvlm_saliency.studies.detect.published.gather import _joined
from lvlm_saliency.studies.detect.published.kept import Batch, Fits, key_of
from lvlm_saliency.studies.detect.published.rows import settings_of

from .detector_words import ROWS, row, words


def test_rows_are_kept_one_by_one(tmp_path):
    """Another detector does not throw away what was captured for the others."""
    svar, probe = key_of(row("svar")), key_of(row("probe"))
    assert len({svar, probe, key_of(row("svar", where="A")), key_of(row("svar", first=4))}) == 4
    batch = Batch(tmp_path, 8, 3)
    assert batch.read() == {}
    batch.add({svar: np.array([0.1, np.nan, 0.3])})
    batch.add({probe: np.ones((3, 4), np.float32)})
    Batch(tmp_path, 0, 2).add({svar: np.zeros(2)})
    found = batch.read()
    assert set(found) == {svar, probe}
    np.testing.assert_array_equal(found[svar], [0.1, np.nan, 0.3])
    with pytest.raises(InputError, match="damaged"):
        Batch(tmp_path, 8, 5).read()  # other texts than it was made of


def test_a_batch_without_words_does_not_stop_the_others():
    found = _joined([np.zeros((0, 0), np.float32), np.ones((2, 3), np.float32)])
    assert found.shape == (2, 3)
    assert _joined([np.zeros((0, 0))]).shape == (0, 0)


def test_what_was_fitted_is_read_again_and_only_for_the_same_words(tmp_path):
    one = words(3)
    ways = {"greedy": one}
    folds = fits.Folds.of(ways, 0)

    def fitted(store, some=ways, seed=0):
        return fits.cross_fitted(ROWS[4], some, ["greedy"], folds, seed, store)["greedy"]

    plain = fitted(Fits(None))
    store = Fits(tmp_path)
    np.testing.assert_array_equal(fitted(store), plain)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    np.testing.assert_array_equal(fitted(store), plain)
    assert file.stat().st_mtime_ns == written
    other = replace(one, y=~one.y)
    assert not np.array_equal(fitted(store, {"greedy": other}), plain)
    moved = replace(one, features={"probe": one.features["probe"] + 1e-3 * np.arange(8)})
    fitted(store, {"greedy": moved})
    fitted(store, seed=1)
    assert len(list(tmp_path.iterdir())) == 4
    file.write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged"):
        fitted(store)


def test_what_was_kept_of_one_risk_model_is_not_read_as_anothers(tmp_path):
    ships = RiskModel.load(SHIPPED)
    other = replace(ships, offset=ships.offset + 1)
    other.save(tmp_path / "other.safetensors")
    rows = [row("risk"), row("risk", model=ships), row("risk", model=other)]
    rows += [row("risk", model=tmp_path / "other.safetensors"), row("svar")]
    first, same, unlike, from_file, none = (settings_of(one) for one in rows)
    assert first == same != unlike == from_file
    assert "model" not in none
