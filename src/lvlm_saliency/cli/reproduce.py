"""`lvlm-saliency reproduce`: the paper's tables on your own checkpoints."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from . import completion
from .options import BATCH, RESAMPLES, SEED, TEXTS, TOKENS, debug_option, device_option, json_option
from .progress import progress_bar
from .quiet import quiet

PLACE = click.Path(path_type=Path)


@click.command(
    epilog="""\b
Examples:
  lvlm-saliency reproduce --list
  lvlm-saliency reproduce main --model llava-hf/llava-1.5-7b-hf --data coco --images coco/val2014 --out runs/main
  lvlm-saliency reproduce main --model scenes --on scenes --n 100 --max-new-tokens 64 --out runs/scenes
"""
)
@click.argument("name", required=False, shell_complete=completion.targets)
@click.option("--list", "listed", is_flag=True, help="List what can be reproduced, and what each needs.")
@click.option("--model", "models", multiple=True, metavar="ID", shell_complete=completion.models, help="Repeatable.")
@click.option("--out", type=PLACE, help="Folder of the runs and the page; the same command continues there.")
@click.option("--on", type=click.Choice(["coco", "scenes"]), default="coco", show_default=True, help="Whose pictures.")
@click.option("--data", type=PLACE, shell_complete=completion.folder, help="Folder of the official files.")
@click.option("--images", type=PLACE, shell_complete=completion.folder, help="Folder of the pictures.")
@click.option(
    "--paper",
    type=PLACE,
    shell_complete=completion.file,
    metavar="FILE",
    help="Published figures to set beside yours in place of the paper's (YAML).",
)
@click.option("--n", type=TEXTS, default=500, show_default=True, help="Pictures, the first of the list.")
@click.option(
    "--max-new-tokens",
    type=TOKENS,
    help="Limit on each answer.  [default: 512; for scienceqa and vizwiz the official ones]",
)
@click.option("--batch-size", type=BATCH, default=8, show_default=True)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of every draw.")
@click.option("--resamples", type=RESAMPLES, default=2000, show_default=True, help="Behind each interval.")
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto")
@device_option
@json_option
@debug_option
def reproduce(name: str | None, listed: bool, models: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Measure a table of the paper again: main, cross-model, ablation, scienceqa, vizwiz, quartiles, decay or latency.

    Missing files are reported before anything runs. The page shows the paper's figures beside yours, with intervals,
    lengths, recall, and a verdict per claim.
    """
    if listed:
        _list(as_json)
        return
    if name is None:
        raise click.UsageError("name what to reproduce; --list shows what there is")
    if not models:
        raise click.UsageError("--model is missing: say on which checkpoint")
    if given["out"] is None:
        raise click.UsageError("--out is missing: say where runs and page shall go")
    from ..reproduce.plan import check, target

    chosen = target(name)
    if given["paper"] is not None and (chosen.study or len(models) > 1):
        raise click.UsageError(
            "--paper holds figures of one model's table: it goes with one --model, and with no study"
        )
    check(chosen, models, given["on"], given["data"], given["images"])
    with quiet(as_json):
        page, file = _by_study(chosen, models, given) if chosen.study else _by_run(name, models, given)
    if as_json:
        from .output import print_json

        print_json({**page.summary(), "page": str(file)})
        return
    from .study import show

    show(name, page, file)


def _by_run(name: str, models: tuple[str, ...], given: dict[str, Any]) -> tuple[Any, Path]:
    from ..reproduce.paper import read_reported
    from ..reproduce.run import reproduce as make

    paper = None if given["paper"] is None else read_reported(given["paper"])
    words = ["lvlm-saliency", "reproduce", name, *(w for model in models for w in ("--model", model))]
    words += ["--on", given["on"], "--n", str(given["n"])]
    if given["max_new_tokens"] is not None:
        words += ["--max-new-tokens", str(given["max_new_tokens"])]
    settings = {
        key: given[key] for key in ("n", "max_new_tokens", "batch_size", "seed", "resamples", "dtype", "device")
    }
    places = {key: given[key] for key in ("on", "data", "images")}
    with progress_bar() as bar:
        page = make(
            name, models, given["out"], paper=paper, command=shlex.join(words), listener=bar, **places, **settings
        )
    return page, given["out"] / "page.html"


def _by_study(chosen: Any, models: tuple[str, ...], given: dict[str, Any]) -> tuple[Any, Path]:
    from ..reproduce.plan import LIMIT
    from ..studies import open_studies
    from .study import conduct

    if len(models) > 1:
        raise click.UsageError("this is measured on one model at a time: give --model once")
    (study,) = open_studies([chosen.study])
    labels = "chair" if given["on"] == "coco" else "scenes-caption"
    names = ("out", "n", "seed", "max_new_tokens", "batch_size", "data", "images", "dtype", "device", "resamples")
    values = {**{key: given[key] for key in names}, "max_new_tokens": given["max_new_tokens"] or LIMIT}
    words = ["study", chosen.study, "--model", models[0], "--labels", labels, "--n", str(given["n"])]
    words += ["--max-new-tokens", str(values["max_new_tokens"])]
    ((_, page, file),) = conduct([(study, words)], {"model": models[0], "labels": labels, **values})
    return page, file


def _list(as_json: bool) -> None:
    from ..reproduce.plan import described

    rows = described()
    if as_json:
        from .output import print_json

        print_json([{"name": name, "question": question, "needs": needs} for name, question, needs in rows])
        return
    from .blocks import print_blocks
    from .output import console
    from .wide import fit

    out = console()
    fit(out)
    print_blocks(
        out,
        [(name, [("", question), ("needs", "\n".join(dict.fromkeys(needs)))]) for name, question, needs in rows],
    )
