"""A tiny model on disk, and the scenes model, for studies of a few pictures."""

from __future__ import annotations

import pytest

from zoo import FAMILIES


@pytest.fixture(scope="session")
def tiny():
    """(model, processor) of a tiny LLaVA, shared: leave them as they are."""
    return FAMILIES["llava"].build()


@pytest.fixture(scope="session")
def scenes():
    """(model, processor) of the shipped model, shared."""
    from lvlm_saliency.model.load import load_model

    return load_model("scenes", device="cpu")
