"""`lvlm-saliency judge`: a language model judges answers, as some benchmarks require."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import completion
from .options import Number, debug_option, json_option
from .output import print_json, say

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
REPLAY = "replay:"


class NumberOrUnset(click.ParamType[Any]):
    """A number of a range, or "unset"."""

    name = "number"

    def __init__(self, kind: click.ParamType[Any]) -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "unset" else self.kind.convert(value, param, ctx)


@click.command(
    epilog="""\b
Examples:
  lvlm-saliency judge llava-bench answers.jsonl --data llava-bench --wording wording.yaml \\
      --judge http://localhost:8000/v1 --judge-model gpt-4-0314 --out review.jsonl
  lvlm-saliency judge mm-vet answers.json --data mm-vet --wording wording.yaml --judge replay:grades.json --out g.json
"""
)
@click.argument("benchmark", shell_complete=completion.judged_names)
@click.argument("answers", type=FILE)
@click.option("--data", type=FOLDER, help="Folder of the benchmark's official files.")
@click.option("--wording", "wording_file", type=FILE, required=True, help="What the judge is told (docs/judge.md).")
@click.option(
    "--judge", "where", required=True, metavar="URL|replay:FILE", help="An endpoint like OpenAI's, or recorded replies."
)
@click.option("--judge-model", help="Name of the judge on the server. Default: the official one.")
@click.option("--runs", type=click.IntRange(1, 100), default=1, show_default=True, help="Times that all are judged.")
@click.option("--temperature", type=NumberOrUnset(Number(0, 2)), help="In place of the official one; or unset.")
@click.option("--max-tokens", type=NumberOrUnset(click.IntRange(1, 100_000)), help="Likewise, of each reply.")
@click.option("--tries", type=click.IntRange(1, 100), default=6, show_default=True, help="Attempts per request.")
@click.option("--cache", type=click.Path(dir_okay=False, path_type=Path), help="Replies. Default: OUT.replies.jsonl.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="For `score` to read.")
@json_option
@debug_option
def judge(benchmark: str, answers: Path, data: Path | None, out: Path, as_json: bool, **given: Any) -> None:
    """Have a language model judge ANSWERS to BENCHMARK, and write what `lvlm-saliency score` reads.

    BENCHMARK is llava-bench, mm-vet, hallusionbench, mmhal-bench or mmvp. The endpoint's key is read from
    LVLM_SALIENCY_JUDGE_KEY. Every reply is saved as it comes; the same command continues where it stopped. Answers
    without a judgement are never scored: the exit status is then 1, and OUT is not written.
    """
    from ..benchmarks.registry import judging
    from ..judge.record import write_record
    from ..judge.run import judge_all
    from ..judge.wording import read_wording
    from .progress import progress_bar

    part = judging(benchmark)
    model = given["judge_model"] or part.model
    wording = read_wording(given["wording_file"], part.slots, part.official)
    items = part.items(answers, data)
    asked, cache = _judge(part, items, out, model, given)
    with progress_bar() as bar:
        label = f"{benchmark} before {model}"
        bar.begin(label, len(items) * given["runs"], 0)
        outcome = judge_all(
            part,
            items,
            wording,
            asked,
            runs=given["runs"],
            temperature=given["temperature"],
            max_tokens=given["max_tokens"],
            tell=lambda count: bar.advance(label, count),
        )
    settings = {
        name: getattr(part, name) if given[name] is None else given[name] for name in ("temperature", "max_tokens")
    }
    record = {
        "benchmark": benchmark,
        "model": model,
        "served": next(iter(outcome.served), ""),
        "wording": wording.sha256,
        "altered": wording.altered,
        **settings,
        "runs": given["runs"],
        "items": len(items),
        "unjudged": len(outcome.unjudged),
        "unparsable": sum(part.unparsable(one) for records in outcome.runs for one in records.values()),
        "reused": cache.reused if cache else 0,
    }
    if not outcome.unjudged:
        part.write(out, items, outcome.runs)
        write_record(out, record)
    _tell(record, outcome.unjudged, out, as_json)
    if outcome.unjudged:
        raise click.exceptions.Exit(1)


def _judge(part: Any, items: list[Any], out: Path, model: str, given: dict[str, Any]) -> tuple[Any, Any]:
    """The judge and its cache of replies; the cache is None where official records are read."""
    from ..errors import InputError
    from ..judge.cache import Cache, is_cache
    from ..judge.client import Endpoint
    from ..judge.replay import KeptReplies

    where = given["where"]
    if where.startswith(REPLAY):
        file = Path(where.removeprefix(REPLAY))
        if not file.is_file():
            raise InputError(f"no recorded replies at {file}")
        if not is_cache(file):
            return part.recorded(file, items), None
        cache = Cache(file, model, KeptReplies(str(file)))
    else:
        file = given["cache"] or out.with_name(out.name + ".replies.jsonl")
        cache = Cache(file, model, Endpoint(where, model, tries=given["tries"]))
    return cache, cache


def _tell(record: dict[str, Any], unjudged: dict[str, str], out: Path, as_json: bool) -> None:
    if as_json:
        print_json({**record, "out": None if unjudged else str(out), "reasons": unjudged})
        return
    if record["altered"]:
        say(f"the wording is not the official one: {', '.join(record['altered'])}", err=True)
    judged = record["items"] - record["unjudged"]
    served = f" (it answered as {record['served']})" if record["served"] not in ("", record["model"]) else ""
    say(f"{judged} of {record['items']} judged by {record['model']}{served}; {record['reused']} replies were there")
    if record["unparsable"]:
        say(f"{record['unparsable']} replies cannot be read as a judgement")
    if unjudged:
        say(f"unjudged: {next(iter(unjudged.values()))}", err=True)
        say("nothing is scored until all are judged; the same command asks again for the rest", err=True)
    else:
        say(f"next: lvlm-saliency score {record['benchmark']} {out}")
