"""YAML files that people write or keep: read as plain values, with one line for whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lvlm_saliency.errors import InputError


def read_mapping(path: str | Path, holds: str = "settings as `name: value`, one a line") -> dict[str, Any]:
    """The mapping in a YAML file; `holds` says what belongs there.

    Raises:
        InputError: the file cannot be read, is no YAML, or is no mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise InputError(f"{where}: not YAML ({getattr(error, 'problem', None) or 'cannot be read'})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected {holds}")
    return {str(name): value for name, value in values.items()}
