"""Pictures of a request: data URLs, and http addresses of hosts that the server's settings allow.

The host name is resolved once, the IP address is checked, and the connection goes to that address: a second DNS answer
cannot redirect it. Addresses inside the local network are refused, also after a redirect.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

from PIL import Image

from lvlm_saliency.errors import ImageError
from lvlm_saliency.model.images import open_image
from lvlm_saliency.serve.faults import Fault

REDIRECTS = 3
SECONDS, SECONDS_IN_ALL = 10.0, 30.0
"""For a step of a connection, and for all of an answer."""


def open_picture(url: str, param: str, *, hosts: Sequence[str] = (), max_pixels: int, max_bytes: int) -> Image.Image:
    """The picture that a request's `image_url` names.

    Args:
        param: where it stands in the request, for messages.
        hosts: hosts that pictures may be fetched from.

    Raises:
        Fault: neither a data URL nor an address of an allowed host, or not a picture within the limits.
    """
    scheme = url[:12].partition(":")[0].lower()
    if scheme == "data":
        content = decoded(url, param)
    elif scheme in ("http", "https"):
        content = fetch(url, param, hosts, max_bytes)
    else:
        raise Fault(400, "a picture is given as a data URL (data:image/png;base64,...)", param)
    return opened(content, param, max_pixels)


def content_of(url: str, param: str, *, max_pixels: int) -> bytes:
    """The bytes of a data URL, after a check that they are a picture that can be opened. Raises `Fault`."""
    if url[:5].lower() != "data:":
        raise Fault(400, "a picture is given as a data URL (data:image/png;base64,...)", param)
    content = decoded(url, param)
    opened(content, param, max_pixels)
    return content


def opened(content: bytes, param: str, max_pixels: int) -> Image.Image:
    """The picture in a file's content. Raises `Fault`."""
    try:
        return open_image(io.BytesIO(content), max_pixels=max_pixels)
    except ImageError as error:
        raise Fault(400, str(error), param) from error


def decoded(url: str, param: str) -> bytes:
    """The bytes that a data URL holds. Raises `Fault`."""
    head, comma, body = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise Fault(400, "a data URL of a picture reads data:image/png;base64,...", param)
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Fault(400, f"the data URL is no base64: {error}", param) from error


def fetch(url: str, param: str, hosts: Sequence[str], max_bytes: int) -> bytes:
    """Fetch the bytes at an address of an allowed host.

    Raises:
        Fault: the host is not allowed, its address lies inside the local network, too many redirects, too many bytes,
            or no answer.
    """
    for _ in range(REDIRECTS + 1):
        status, place, content = _get(url, param, hosts, max_bytes)
        if status in (301, 302, 303, 307, 308) and place:
            url = urljoin(url, place)
            continue
        if status != 200:
            raise Fault(400, f"the picture's address answered with status {status}", param)
        return content
    raise Fault(400, f"the picture's address redirects more than {REDIRECTS} times", param)


def _get(url: str, param: str, hosts: Sequence[str], max_bytes: int) -> tuple[int, str | None, bytes]:
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower().rstrip("."), parts.port
    except ValueError as error:
        raise Fault(400, "the picture's address cannot be read", param) from error
    if parts.scheme not in ("http", "https"):
        raise Fault(400, "the picture's address redirects to something that is not http", param)
    if host not in {name.lower() for name in hosts}:
        why = "this server fetches no addresses" if not hosts else "this server does not fetch from that host"
        raise Fault(400, f"{why}: send the picture as a data URL (data:image/png;base64,...)", param)
    secure = parts.scheme == "https"
    port = port or (443 if secure else 80)
    address = public_address(host, port, param)
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    connection = _Pinned(host, port, address, secure)
    try:
        connection.request("GET", path, headers={"Accept": "image/*", "User-Agent": "lvlm-saliency"})
        answer = connection.getresponse()
        content = b"" if answer.status != 200 else _read(answer, max_bytes + 1)
        place = answer.getheader("Location")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Fault(400, "the picture's address does not answer", param) from error
    finally:
        connection.close()
    if len(content) > max_bytes:
        raise Fault(400, f"the picture is longer than {max_bytes >> 20} MiB", param)
    return answer.status, place, content


def _read(answer: http.client.HTTPResponse, most: int) -> bytes:
    """The first `most` bytes of an answer. Raises TimeoutError where they trickle in."""
    end, content = time.monotonic() + SECONDS_IN_ALL, bytearray()
    while len(content) < most and (part := answer.read1(min(65536, most - len(content)))):
        content += part
        if time.monotonic() > end:
            raise TimeoutError
    return bytes(content)


def public_address(host: str, port: int, param: str) -> str:
    """An IP address of a host, if all addresses that DNS gives for it are outside the local network.

    Raises:
        Fault: one of them is inside, or the host is not known.
    """
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise Fault(400, "the picture's host is not known", param) from error
    for text in found:
        own = ipaddress.ip_address(text.partition("%")[0])
        if isinstance(own, ipaddress.IPv6Address):
            own = own.ipv4_mapped or own.sixtofour or own  # what such an address leads to
        inside = isinstance(own, ipaddress.IPv6Address) and own.is_site_local
        if inside or not own.is_global or own.is_multicast or own.is_reserved:
            raise Fault(400, "the picture's address lies inside the network, which this server never asks", param)
    return min(found)


class _Pinned(http.client.HTTPConnection):
    """A connection to a checked IP address that uses the host's name in the `Host` header and for TLS."""

    def __init__(self, host: str, port: int, address: str, secure: bool):
        super().__init__(host, port, timeout=SECONDS)
        self._address, self._secure = address, secure

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._secure:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
