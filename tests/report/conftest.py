"""A watched browser for the tests of the page."""

from __future__ import annotations

import pytest

from .browser import browser, complaints, requests

LOCAL = ("file:", "data:", "blob:", "chrome:", "chrome-untrusted:")  # the last two are the browser's own empty tab


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def driver(chromium):
    """Whatever a test does, the page asks for nothing but itself and complains about nothing."""
    requests(chromium), complaints(chromium)
    yield chromium
    assert [address for address in requests(chromium) if not address.startswith(LOCAL)] == []
    assert complaints(chromium) == []
