"""The one line with which a model is refused, whatever its folder or its name."""

from __future__ import annotations

import pytest

from lvlm_saliency.errors import ModelError
from lvlm_saliency.model.load import load_model


def refusal(name, **settings) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(name, **settings)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    assert caught.value.exit_status == 2
    return message
