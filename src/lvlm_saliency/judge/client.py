"""An endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lvlm_saliency.errors import InputError
from lvlm_saliency.files import parse_json
from lvlm_saliency.judge.ask import Reply, Request, UnjudgedError

KEY = "LVLM_SALIENCY_JUDGE_KEY"
"""The environment variable that holds the endpoint's key. It is never stored and never shown."""
RETRIED = (408, 409, 425, 429, 500, 502, 503, 504)
MOST_BYTES = 1 << 24


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@dataclass
class Endpoint:
    """`POST <base>/chat/completions`, again and again where it may help.

    Attributes:
        base: address up to and without `/chat/completions`.
        model: the name of the judge, as the server knows it.
        tries: how often a request is sent before its item counts as unjudged.
        timeout: seconds that one try may take.
        wait: seconds before the second try; they double, with jitter, up to `longest`. A server's Retry-After wins.
    """

    base: str
    model: str
    tries: int = 6
    timeout: float = 120.0
    wait: float = 1.0
    longest: float = 60.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"the judge's address must begin with http:// or https://, got {self.base!r}")
        if parts.username or parts.password:
            raise InputError(f"the judge's address must hold no password: put the key into the variable {KEY}")

    def __call__(self, request: Request) -> Reply:
        """The reply of the judge.

        Raises:
            UnjudgedError: no reply after all tries; the message says what the last one met.
            InputError: the server refuses the request or the key: no item could be judged.
        """
        body = json.dumps(request.body(self.model), ensure_ascii=False).encode()
        reason, key = "", api_key()
        for attempt in range(self.tries):
            if attempt:
                self.sleep(self._pause(attempt, reason))
            try:
                return _reply(self._post(body, key))
            except urllib.error.HTTPError as error:
                with error:
                    told = error.read(2000).decode(errors="replace").strip().replace("\n", " ")[:200]
                    after = error.headers.get("Retry-After", "")
                if error.code not in RETRIED:
                    raise InputError(
                        f"the judge refuses the request (HTTP {error.code}): {told or error.reason}"
                    ) from None
                reason = f"HTTP {error.code}" + (f"; retry after {after}" if after.isdecimal() else "")
            except (OSError, http.client.HTTPException) as error:
                reason = str(getattr(error, "reason", "") or error) or type(error).__name__
            except ValueError as error:
                reason = f"its reply cannot be read ({error})"
        raise UnjudgedError(f"{request.item}: no reply from the judge in {self.tries} tries (the last: {reason})")

    def _post(self, body: bytes, key: str) -> Any:
        headers = {"Content-Type": "application/json", "User-Agent": "lvlm-saliency"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.base.rstrip("/") + "/chat/completions", body, headers, method="POST")
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=self.timeout) as answer:
            return parse_json(answer.read(MOST_BYTES), finite=False)

    def _pause(self, attempt: int, reason: str) -> float:
        told = reason.rpartition("retry after ")[2] if "retry after " in reason else ""
        if told:
            return min(float(told), self.longest)
        return min(self.wait * 2 ** (attempt - 1), self.longest) * random.uniform(0.75, 1.25)


def api_key() -> str:
    """The endpoint's key, without the blanks and line ends that copying brings along; "" where there is none.

    Raises:
        InputError: it holds what no header can; the message does not show it.
    """
    key = os.environ.get(KEY, "").strip()
    if not key.isascii() or not key.isprintable():
        raise InputError(f"the key in the variable {KEY} holds characters that no key has: copy it once more")
    return key


def _reply(found: Any) -> Reply:
    """ValueError where the object holds no text at choices[0].message.content."""
    try:
        text = found["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise ValueError("no text at choices[0].message.content") from None
    if not isinstance(text, str):
        raise ValueError("no text at choices[0].message.content")
    served, usage = found.get("model"), found.get("usage")
    return Reply(text, served if isinstance(served, str) else "", usage if isinstance(usage, dict) else None)
