"""Pictures as files hold them, and the one line with which a picture is refused."""

from __future__ import annotations

import io

import pytest

from lvlm_saliency.errors import ImageError, LvlmSaliencyError
from lvlm_saliency.model.images import open_image

RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def refused(source, words, **options):
    with pytest.raises(ImageError, match=words) as caught:
        open_image(source, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert isinstance(caught.value, LvlmSaliencyError)
    assert isinstance(caught.value, ValueError)
    return line
