"""Printing: consoles and JSON."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

import click

from ..plain_text import one_line, printable_json

if TYPE_CHECKING:
    from rich.console import Console


def console(stderr: bool = False) -> Console:
    """A console on the present stdout (or stderr) on which no printed text can control the terminal."""
    from ..report.console import PlainConsole

    return PlainConsole(stderr=stderr)


def say(*lines: object, err: bool = False) -> None:
    """Print each of `lines` as one line without colour; names and paths in it are made safe to print."""
    for line in lines:
        click.echo(one_line(line), err=err)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout. Letters that stdout cannot encode, and characters that could control a
    terminal, are escaped."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(plain(value), indent=2, allow_nan=False)
    click.echo(printable_json(text))


def plain(value: Any) -> Any:
    """`value` as JSON values: NaN and infinities become null, tuples lists, keys strings."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
