"""Pictures by their address: which addresses are asked, and what an answer may be."""

from __future__ import annotations

import base64
import socket
import threading

import pytest

from lvlm_saliency.serve.faults import Fault
from lvlm_saliency.serve.pictures import open_picture, public_address

from .conftest import data_url


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.8",
        "169.254.169.254",
        "::1",
        "fd00::1",
        "0.0.0.0",
        "::ffff:127.0.0.1",
        "224.0.0.1",
        "100.64.0.1",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "fec0::1",
    ],
)
def test_addresses_inside_the_network_are_never_asked(address, monkeypatch):
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443)), (0, 0, 0, "", (address, 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(Fault, match="inside the network"):
        public_address("pictures.example", 443, "x")


def test_fetching_pins_the_checked_address_and_follows_redirects_within_allowed_hosts(monkeypatch, pictures):
    """Against a server on this machine, with the check of addresses replaced and everything else as it is."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    from lvlm_saliency.serve import pictures as module

    picture = base64.b64decode(data_url(pictures[0]).partition(",")[2])
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.headers["Host"], self.path))
            places = {"/there": "/picture?x=1", "/out": "http://internal.example/secret", "/loop": "/loop"}
            if self.path in places:
                self.send_response(302)
                self.send_header("Location", places[self.path])
                self.end_headers()
                return
            self.send_response(200 if self.path.startswith("/picture") else 404)
            self.end_headers()
            self.wfile.write(picture)

        def log_message(self, *_):
            """Nothing."""

    site = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    asked = []
    monkeypatch.setattr(module, "public_address", lambda host, port, param: asked.append(host) or "127.0.0.1")

    def fetched(path, **limits):
        url = f"http://pictures.example:{site.server_port}{path}"
        return open_picture(url, "p", hosts=["Pictures.example"], **{"max_pixels": 10**6, "max_bytes": 10**6, **limits})

    assert fetched("/there").size == pictures[0].size
    assert [path for _, path in seen] == ["/there", "/picture?x=1"]
    assert asked == ["pictures.example"] * 2, "every redirect is looked at again"
    assert seen[0][0].startswith("pictures.example")
    for path, words in (
        ("/out", "does not fetch from that host"),
        ("/loop", "redirects more"),
        ("/none", "status 404"),
    ):
        with pytest.raises(Fault, match=words):
            fetched(path)
    with pytest.raises(Fault, match="longer than"):
        fetched("/picture", max_bytes=10)
    monkeypatch.setattr(module, "SECONDS_IN_ALL", -1.0)
    with pytest.raises(Fault, match="does not answer"):
        fetched("/picture")
    site.shutdown()
    site.server_close()
