"""Shell completion, without importing a library (see `click.shell_completion`)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem, shell_complete

LAST_METHOD = re.compile(r"^(.*\+)?(?P<last>[A-Za-z0-9_]*)$")


def answered(app: click.Command, program: str) -> int:
    """Print what the shell asks for: its completion script for `bash_source` (zsh, fish), candidates for
    `bash_complete`.

    Returns the exit status; 1 for a shell that is not known.
    """
    from .app import COMPLETION
    from .output import say

    status = shell_complete(app, {}, program, COMPLETION, os.environ[COMPLETION])
    if status:
        say(f"error: {COMPLETION} must be bash_source, zsh_source or fish_source", err=True)
    return status


def items(values: Iterable[str | tuple[str, str]], incomplete: str, before: str = "") -> list[CompletionItem]:
    """Those of `values` (alone, or with a line about each) that begin with `incomplete`; `before` is put in front."""
    told = [(value, None) if isinstance(value, str) else value for value in values]
    return [CompletionItem(before + value, help=line) for value, line in told if value.startswith(incomplete)]


def method_names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of methods, also after a `+`."""
    from ..interventions.registry import methods

    found = LAST_METHOD.match(incomplete)
    if found is None:  # settings, or the path of a preset file
        return [CompletionItem(incomplete, type="file")]
    last = found["last"]
    before = incomplete[: len(incomplete) - len(last)]
    return items(methods(), last, before) or [CompletionItem(incomplete, type="file")]


def evaluated_methods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of methods, and `all`."""
    return items(["all"], incomplete) + method_names(ctx, param, incomplete)


def detector_names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of detectors."""
    from ..detection.registry import detectors

    return items(detectors(), incomplete)


def study_names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of studies with the question of each, and `all`."""
    from lvlm_saliency.studies import STUDIES

    known = [(name, question) for name, (_, question) in STUDIES.items()]
    return items([*known, ("all", "Every study.")], incomplete)


def benchmark_names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of benchmarks."""
    from ..benchmarks.registry import runnable

    return items(runnable(), incomplete)


def judged_names(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of benchmarks whose answers a language model judges."""
    from ..benchmarks.registry import judged

    return items(judged(), incomplete)


def targets(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What of the paper can be reproduced."""
    from ..reproduce.plan import TARGETS

    return items([(name, one.question) for name, one in TARGETS.items()], incomplete)


def models(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The model of the package; else a folder."""
    return items([("scenes", "The model in the package.")], incomplete) or [CompletionItem(incomplete, type="dir")]


def devices(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Kinds of device; which are there would take an import of torch to know."""
    return items(["auto", "spread", "cpu", "cuda", "mps"], incomplete)


def file(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A file."""
    return [CompletionItem(incomplete, type="file")]


def folder(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A folder."""
    return [CompletionItem(incomplete, type="dir")]
