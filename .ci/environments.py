"""Environments of their own, for tests that need what the project's own environment cannot hold."""

from __future__ import annotations

import json
import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path


def environment(folder: Path, steps: Sequence[Sequence[str]], package: Path) -> Path:
    """An environment, made where it is not there, and brought up to date where something else was asked of it.

    Args:
        folder: where it is.
        steps: words for pip, one call each, in order.
        package: folder of the package that a step installs in place. Its `pyproject.toml` names what others find the
            package by (entry points), so a change of it counts too.

    Returns:
        The environment's Python.
    """
    python, ready = folder / "bin" / "python", folder / ".ready"
    asked = json.dumps([steps, (package / "pyproject.toml").read_text(encoding="utf-8")])
    if ready.exists() and ready.read_text(encoding="utf-8") == asked:
        return python
    ready.unlink(missing_ok=True)
    if not python.exists():
        venv.create(folder, with_pip=True)
    for words in steps:
        # Twice quiet: no warnings, such as of an index that is not at hand; errors are shown.
        quiet = [words[0], "--quiet", "--quiet", "--disable-pip-version-check", "--no-input", *words[1:]]
        subprocess.run([python, "-m", "pip", *quiet], check=True)
    ready.write_text(asked, encoding="utf-8")
    return python
