"""Settings of the server: model, address, limits."""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvlm_saliency.errors import InputError
from lvlm_saliency.files.opening import read_text

KEY_VARIABLE = "LVLM_SALIENCY_API_KEY"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ServeSettings:
    """Settings of a server.

    Attributes:
        model: as `load_model` takes it.
        name: the model's name in `/v1/models`; empty: derived from `model`.
        host, port: the address that the server listens on.
        keys: accepted API keys; empty: no key is required.
        risk: file of a risk model; None: the one that ships with the model.
        url_hosts: hosts that pictures may be fetched from; empty: none.
        max_batch: texts decoded together.
        max_waiting: texts in the queue.
        retry_after: seconds that a client is told to wait when the queue is full.
        max_body: bytes of a request.
        max_pictures, max_pixels: pictures of a request, pixels of each.
        max_tokens: generated tokens of an answer.
        max_choices: answers to one request.
        body_seconds: seconds that a client may take to send its request, and may read nothing of the answer.
        reports: number of explanations that are kept for their pages.
        log_content: write prompts and answers into the log.
        calibrations: folder for guards that clients calibrate; None: they may not calibrate any.
    """

    model: str = "scenes"
    name: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    keys: Sequence[str] = ()
    risk: Path | None = None
    url_hosts: Sequence[str] = ()
    max_batch: int = 16
    max_waiting: int = 128
    retry_after: int = 2
    max_body: int = 32 * 2**20
    max_pictures: int = 8
    max_pixels: int = 16_000_000
    max_tokens: int = 1024
    max_choices: int = 8
    body_seconds: float = 30.0
    reports: int = 64
    log_content: bool = False
    calibrations: Path | None = None

    @property
    def shown(self) -> str:
        """The model's name as clients see it; of a folder only its last part."""
        return self.name or (Path(self.model).name if Path(self.model).is_absolute() else self.model)

    @property
    def on_loopback(self) -> bool:
        """Whether the server can be reached from this machine only."""
        return self.host in LOOPBACK

    def opens(self, key: str) -> bool:
        """Whether a key is accepted. Each comparison takes constant time."""
        return any([hmac.compare_digest(key.encode(), own.encode()) for own in self.keys])


def api_keys(file: str | Path | None) -> tuple[str, ...]:
    """The API keys of a file, one per line; without a file, that of the environment variable LVLM_SALIENCY_API_KEY.

    Raises:
        InputError: the file cannot be read, or holds no key.
    """
    if file is None:
        own = os.environ.get(KEY_VARIABLE, "").strip()
        return (own,) if own else ()
    keys = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    if not keys:
        raise InputError(f"{file} holds no API key: write one on a line of its own")
    return keys
