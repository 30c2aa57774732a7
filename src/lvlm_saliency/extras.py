"""Optional packages. Where one is needed and missing, the error names the extra that installs it.

`pip install lvlm-saliency` brings what loading, tracing and generating need. Plots, studies and the rest are extras of
`pyproject.toml`.
"""

from __future__ import annotations

from importlib.util import find_spec

from .errors import InputError

INSTALLED_AS = {"sklearn": "scikit-learn"}
"""Names on the package index, for modules that are imported under another name."""


def installed(*modules: str) -> bool:
    """Whether all of these can be imported."""
    return all(find_spec(name) is not None for name in modules)


def require(extra: str, *modules: str, what: str) -> None:
    """Check that packages are installed, before a computation that needs them begins.

    Args:
        extra: the extra of this package that installs them.
        modules: names under which they are imported.
        what: what needs them, as the beginning of a sentence.

    Raises:
        InputError: one is missing; the message says how to install it.
    """
    missing = [INSTALLED_AS.get(name, name) for name in modules if not installed(name)]
    if missing:
        names = " and ".join(missing)
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(f"{what} needs {names}, which {verb} not installed: pip install 'lvlm-saliency[{extra}]'")
