"""`lvlm-saliency score`: what any system wrote, measured as the official scorers do, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .options import debug_option, json_option, options

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

# Scorers are imported inside the commands: `--help` must not wait for numpy.


@click.group(
    epilog="""\b
Example:
  lvlm-saliency score chair locore.jsonl sgrs.jsonl --versus greedy.jsonl \\
      --synonyms synonyms.txt --objects coco_objects.json
"""
)
def score() -> None:
    """Score what any system wrote: CHAIR, POPE, MME, AMBER.

    Figures equal the official scorers' to the last digit; intervals are percentile bootstraps over images. Several
    files are several rows; --versus adds every row's paired difference to another system.
    """


def _common(path_type: click.Path) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options that every benchmark has; `path_type` is what a system's output is."""
    return options(
        click.option("--versus", type=path_type, help="Print each row's difference to this one, paired over images."),
        click.option(
            "--resamples",
            type=click.IntRange(min=0),
            default=2000,
            show_default=True,
            help="Bootstrap resamples of the images; 0 for no intervals.",
        ),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the bootstrap."),
        click.option(
            "--level",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            default=0.95,
            show_default=True,
            help="Level of the intervals.",
        ),
        click.option("--skip-errors", is_flag=True, help="Leave out, and count, what cannot be used; do not stop."),
        click.option("--per-item", is_flag=True, help="With --json, also every item's counts."),
        json_option,
        debug_option,
    )


@score.command(
    name="chair",
    epilog="""\b
Examples:
  lvlm-saliency score chair a.jsonl --synonyms synonyms.txt --objects coco_objects.json
  lvlm-saliency score chair a.jsonl --versus b.jsonl --variant lemmatizer --synonyms synonyms.txt \\
      --instances instances_val2014.json --references captions_val2014.json
""",
)
@click.argument("captions", type=_FILE, nargs=-1, required=True)
@click.option("--synonyms", type=_FILE, required=True, help="The official synonyms.txt.")
@click.option("--objects", type=_FILE, help="Ground truth: JSON {image id: [node words]}.")
@click.option("--instances", type=_FILE, multiple=True, help="Ground truth from COCO: instances_*.json; repeat.")
@click.option("--references", type=_FILE, multiple=True, help="Ground truth from COCO: captions_*.json; repeat.")
@click.option(
    "--variant",
    type=click.Choice(["official", "lemmatizer"]),
    default="official",
    show_default=True,
    help="The original CHAIR, or the one of OPERA and most decoding papers (needs NLTK).",
)
@_common(_FILE)
def score_chair(
    captions: tuple[Path, ...],
    synonyms: Path,
    objects: Path | None,
    instances: tuple[Path, ...],
    references: tuple[Path, ...],
    variant: str,
    **common: Any,
) -> None:
    """Object hallucination in captions: CHAIR_s, CHAIR_i, recall, length.

    CAPTIONS are JSON lines or lists of {"image_id", "caption"}. The ground truth is --objects, or --instances and
    --references together.
    """
    if (objects is None) == (not instances and not references) or bool(instances) != bool(references):
        raise click.UsageError("give the ground truth once: --objects, or --instances together with --references")
    from ..benchmarks import chair
    from ..benchmarks.records import Problems, read_rows

    table = chair.Synonyms.read(synonyms)
    truth: Any = objects
    if objects is None:
        files = {*captions, *filter(None, [common["versus"]])}
        problems = Problems("skip" if common["skip_errors"] else "raise")
        images = {row.get("image_id") for file in files for row in read_rows(file, problems)}
        truth = chair.from_coco(instances, references, table, variant, images)
    truth = chair.read_objects(truth, table)
    _run(captions, lambda path, **how: [chair.score(path, truth, table, variant, **how)], **common)


@score.command(
    name="pope",
    epilog="""\b
Examples:
  lvlm-saliency score pope answers.jsonl --questions coco_pope_random.json
  lvlm-saliency score pope a.jsonl --versus b.jsonl --questions coco_pope_random.json --parser vcd --json
""",
)
@click.argument("answers", type=_FILE, nargs=-1, required=True)
@click.option("--questions", type=_FILE, required=True, help="The official question file (JSON lines with labels).")
@click.option(
    "--parser",
    type=click.Choice(["official", "opera", "vcd"]),
    default="official",
    show_default=True,
    help="Whose rule reads yes or no out of an answer.",
)
@click.option(
    "--pairing",
    type=click.Choice(["order", "id", "blind"]),
    default="order",
    show_default=True,
    help="How answers find questions: by order, checked by id or text; by question_id; by order, unchecked.",
)
@_common(_FILE)
def score_pope(answers: tuple[Path, ...], questions: Path, parser: str, pairing: str, **common: Any) -> None:
    """Yes/no questions about objects: accuracy, precision, recall, F1, yes ratio.

    ANSWERS are JSON lines of {"question_id", "answer"}.
    """
    from ..benchmarks import pope

    _run(answers, lambda path, **how: [pope.score(questions, path, parser, pairing=pairing, **how)], **common)


@score.command(
    name="mme",
    epilog="""\b
Examples:
  lvlm-saliency score mme results/llava
  lvlm-saliency score mme results/llava --task existence --task count --task position --task color
""",
)
@click.argument("folders", type=_FOLDER, nargs=-1, required=True)
@click.option("--task", "tasks", multiple=True, help="Only this task; repeat. Default: all 14.")
@_common(_FOLDER)
def score_mme(folders: tuple[Path, ...], tasks: tuple[str, ...], **common: Any) -> None:
    """MME per task, with the perception, cognition and hallucination sums.

    FOLDERS hold the official layout: <task>.txt with lines of image, question, truth, response, set apart by tabs.
    """
    from ..benchmarks import mme

    _run(folders, lambda path, **how: [mme.score(path, tasks=tasks or None, **how)], **common)


@score.command(
    name="amber",
    epilog="""\b
Examples:
  lvlm-saliency score amber responses.json --data AMBER/data
  lvlm-saliency score amber yes_no.json --data AMBER/data --queries AMBER/data/query/query_discriminative.json
""",
)
@click.argument("responses", type=_FILE, nargs=-1, required=True)
@click.option(
    "--data", type=_FOLDER, required=True, help="AMBER's data folder: annotations.json, relation.json, safe_words.txt."
)
@click.option(
    "--similarity",
    default="spacy",
    show_default=True,
    metavar="spacy|identical|FILE",
    help="When two nouns mean the same: spaCy's en_core_web_lg (official), equal words, or a JSON table.",
)
@click.option(
    "--queries",
    type=_FILE,
    multiple=True,
    help="Query file with the images of the yes/no questions: intervals then redraw images; repeat.",
)
@_common(_FILE)
def score_amber(
    responses: tuple[Path, ...], data: Path, similarity: str, queries: tuple[Path, ...], **common: Any
) -> None:
    """AMBER: CHAIR, Cover, Hal, Cog of descriptions; accuracy, precision, recall, F1 of yes/no answers.

    RESPONSES are JSON lists or lines of {"id", "response"}; ids say which task each belongs to.
    """
    from ..benchmarks import amber

    _run(responses, amber.file_scorer(data, similarity, queries), **common)


def _run(paths: tuple[Path, ...], scorer: Callable[..., list[dict[str, Any]]], **common: Any) -> None:
    """Score every path (a path may hold several tasks, each a result), compare, and print."""
    from ..benchmarks.bootstrap import Bootstrap
    from ..benchmarks.compare import compare

    bootstrap = Bootstrap(common["resamples"], common["seed"], common["level"])
    how = {"errors": "skip" if common["skip_errors"] else "raise", "bootstrap": bootstrap}
    results = [{"file": str(path), **result} for path in paths for result in scorer(path, **how)]
    if common["versus"] is not None:
        baselines = {baseline.get("task"): baseline for baseline in scorer(common["versus"], **how)}
        for result in results:
            if result.get("task") not in baselines:
                raise click.UsageError(f"{common['versus']} has no {result['task']} responses to compare with")
            difference = compare(result, baselines[result.get("task")], **how)
            result["versus"] = {"file": str(common["versus"]), **difference}
    _show(results, common["as_json"], common["per_item"])


def _show(results: list[dict[str, Any]], as_json: bool, per_item: bool) -> None:
    """Tables; or the one result as a JSON object, several as a list of them."""
    if not as_json:
        from .score_view import print_tables

        print_tables(results)
        return
    from .output import print_json

    shown = [{key: value for key, value in result.items() if per_item or key[:4] != "per_"} for result in results]
    print_json(shown[0] if len(shown) == 1 else shown)
