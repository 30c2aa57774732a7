"""Options of all `lvlm-saliency score` commands, and how their results are compared and printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .options import RESAMPLES, SEED, Number, debug_option, json_option, options

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def common(path_type: click.Path) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options that every benchmark has; `path_type` is what a system's output is."""
    return options(
        click.option("--versus", type=path_type, help="Print each row's difference to this one, paired over images."),
        click.option(
            "--resamples",
            type=RESAMPLES,
            default=2000,
            show_default=True,
            help="Bootstrap resamples of the images; 0 for no intervals.",
        ),
        click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the bootstrap."),
        click.option(
            "--level",
            type=Number(0, 1, min_open=True, max_open=True),
            default=0.95,
            show_default=True,
            help="Level of the intervals.",
        ),
        click.option("--skip-errors", is_flag=True, help="Leave out, and count, what cannot be used; do not stop."),
        click.option("--per-item", is_flag=True, help="With --json, also every item's counts."),
        json_option,
        debug_option,
    )


def run(paths: tuple[Path, ...], scorer: Callable[..., list[dict[str, Any]]], **settings: Any) -> None:
    """Score every path (a path may hold several tasks, each a result), compare, and print."""
    from lvlm_saliency.stats.bootstrap import Bootstrap

    from ..benchmarks.compare import compare

    bootstrap = Bootstrap(settings["resamples"], settings["seed"], settings["level"])
    how: dict[str, Any] = {"errors": "skip" if settings["skip_errors"] else "raise", "bootstrap": bootstrap}
    results = [{"file": str(path), **result} for path in paths for result in _scored(scorer, path, how)]
    if settings["versus"] is not None:
        baselines = {baseline.get("task"): baseline for baseline in _scored(scorer, settings["versus"], how)}
        for result in results:
            if result.get("task") not in baselines:
                raise click.UsageError(f"{settings['versus']} has no {result['task']} responses to compare with")
            difference = compare(result, baselines[result.get("task")], **how)
            result["versus"] = {"file": str(settings["versus"]), **difference}
    _show(results, settings["as_json"], settings["per_item"])


def _scored(scorer: Callable[..., list[dict[str, Any]]], path: Path, how: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of a path, each with how its answers were judged, where that is known."""
    from ..judge.record import read_record

    judged = read_record(path) if path.is_file() else None
    return [{**result, **({"judge": judged} if judged else {})} for result in scorer(path, **how)]


def _show(results: list[dict[str, Any]], as_json: bool, per_item: bool) -> None:
    """Tables; or the one result as a JSON object, several as a list of them."""
    if not as_json:
        from .score_view import print_tables

        print_tables(results)
        return
    from .output import print_json

    shown = [
        {key: value for key, value in result.items() if per_item or key[:4] != "per_" or not isinstance(value, list)}
        for result in results
    ]
    print_json(shown[0] if len(shown) == 1 else shown)
