"""Reads YAML files as plain values, with a one-line error for whatever is wrong with them."""

from __future__ import annotations

import os
from typing import Any

import yaml

from lvlm_saliency.errors import InputError

from .opening import UnreadableError, read_text

MOST_BYTES = 16 << 20
DEEPEST = 50
MOST_VALUES = 200_000
"""Largest number of values in a file, aliases expanded."""


def read_mapping(path: str | os.PathLike[str], holds: str = "settings as `name: value`, one a line") -> dict[str, Any]:
    """The mapping in a YAML file; `holds` says what belongs there.

    Raises:
        InputError: the file cannot be read, is no YAML, gives a name twice, nests or repeats itself without end, or is
            no mapping.
    """
    try:
        text = read_text(path, MOST_BYTES)
    except UnreadableError as error:
        raise InputError(f"cannot read {path}: {error.reason}") from error
    try:
        _check_events(text)
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError(f"{where}: not YAML ({getattr(error, 'problem', None) or 'cannot be read'})") from error
    # What PyYAML's constructors raise over a date that is none, an empty !!int, a number of 5,000 digits.
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: not YAML (a value cannot be read: {error})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected {holds}")
    return {str(name): value for name, value in values.items()}


def _check_events(text: str) -> None:
    """Refuse nesting and aliases that grow without end, before anything is built of them.

    Raises:
        MarkedYAMLError: too deep, an alias within what it stands for, or too many values.
    """
    sizes: dict[str | None, int] = {}
    open_nodes: list[list[Any]] = []  # [anchor, values so far]
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append([event.anchor, 1])
            if len(open_nodes) > DEEPEST:
                raise _problem(f"nested deeper than {DEEPEST}", event)
            continue
        size = 0
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_nodes.pop()
            sizes[anchor] = size
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
            sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_nodes):
                raise _problem(f"*{event.anchor} stands within itself", event)
            size = sizes.get(event.anchor, 1)
        if open_nodes:
            open_nodes[-1][1] += size
        if size > MOST_VALUES:
            raise _problem(f"more than {MOST_VALUES:,} values, aliases written out", event)


def _problem(text: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=event.start_mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, but with an error for a key that is given twice, where PyYAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if isinstance(name, (str, int, float, bool, type(None))) and name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} is given twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)
