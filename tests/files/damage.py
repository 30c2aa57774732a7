"""Damage to files, as disks, editors and strangers do it; from a seed."""

from __future__ import annotations

import random

TOKENS = [
    *(b"NaN", b"Infinity", b"-1", b"1e999", b"null", b"true", b"[]", b"{}", b'""', b"0", b"-0", b"1e-999"),
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\\ud800", b"\r", b"\n", b"\x1b[31m", b'","', b"}", b"]", b": "),
    *(b"9" * 50, b"9" * 6000, b"[" * 300, b'{"a":' * 2000, b"18446744073709551616"),
    *(b"&a [*a]", b"<<", b"!!int ''", b"2001-13-45", b".inf", b".nan"),
]


def damaged(content: bytes, chance: random.Random) -> bytes:
    """`content` with one to three faults."""
    raw = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(len(raw) + 1)
        end = min(len(raw), at + chance.choice((1, 2, 4, 8, 60)))
        kind = chance.randrange(8)
        if kind <= 1 and raw:
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del raw[at:end]
        elif kind == 3:
            raw[at:at] = raw[at:end]
        elif kind == 4:
            del raw[at:]
        elif kind == 5:
            raw[at:end] = chance.randbytes(end - at)
        else:
            raw[at : end if kind == 6 else at] = chance.choice(TOKENS)
    return bytes(raw)
