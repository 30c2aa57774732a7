"""`lvlm-saliency score`: scores the answers of any system as the official scorers do, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import score_judged, score_run
from .score_run import FILE, FOLDER

# Scorers are imported inside the commands: `--help` must not wait for numpy.


@click.group(
    epilog="""\b
Example:
  lvlm-saliency score chair locore.jsonl sgrs.jsonl --versus greedy.jsonl \\
      --synonyms synonyms.txt --objects coco_objects.json
"""
)
def score() -> None:
    """Score what any system wrote, as the official scorers do.

    Figures equal the official scorers' to the last digit; intervals are percentile bootstraps over images. Several
    files are several rows; --versus adds every row's paired difference to another system.
    """


@score.command(
    name="chair",
    epilog="""\b
Examples:
  lvlm-saliency score chair a.jsonl --synonyms synonyms.txt --objects coco_objects.json
  lvlm-saliency score chair a.jsonl --versus b.jsonl --variant lemmatizer --synonyms synonyms.txt \\
      --instances instances_val2014.json --references captions_val2014.json
""",
)
@click.argument("captions", type=FILE, nargs=-1, required=True)
@click.option("--synonyms", type=FILE, required=True, help="The official synonyms.txt.")
@click.option("--objects", type=FILE, help="Ground truth: JSON {image id: [node words]}.")
@click.option("--instances", type=FILE, multiple=True, help="Ground truth from COCO: instances_*.json; repeat.")
@click.option("--references", type=FILE, multiple=True, help="Ground truth from COCO: captions_*.json; repeat.")
@click.option(
    "--variant",
    type=click.Choice(["official", "lemmatizer"]),
    default="official",
    show_default=True,
    help="The original CHAIR, or the one of OPERA and most decoding papers (needs NLTK).",
)
@score_run.common(FILE)
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
    from lvlm_saliency.benchmarks import chair
    from lvlm_saliency.files.records import Problems, read_rows

    table = chair.Synonyms.read(synonyms)
    truth: Any = objects
    if objects is None:
        files = {*captions, *filter(None, [common["versus"]])}
        problems = Problems("skip" if common["skip_errors"] else "raise")
        images = {row.get("image_id") for file in files for row in read_rows(file, problems)}
        truth = chair.from_coco(instances, references, table, variant, images)
    truth = chair.read_objects(truth, table)
    score_run.run(captions, lambda path, **how: [chair.score(path, truth, table, variant, **how)], **common)


@score.command(
    name="pope",
    epilog="""\b
Examples:
  lvlm-saliency score pope answers.jsonl --questions coco_pope_random.json
  lvlm-saliency score pope a.jsonl --versus b.jsonl --questions coco_pope_random.json --parser vcd --json
""",
)
@click.argument("answers", type=FILE, nargs=-1, required=True)
@click.option("--questions", type=FILE, required=True, help="The official question file (JSON lines with labels).")
@click.option(
    "--parser",
    type=click.Choice(["official", "opera", "vcd"]),
    default="official",
    show_default=True,
    help="Whose rule decides whether an answer says yes or no.",
)
@click.option(
    "--pairing",
    type=click.Choice(["order", "id", "blind"]),
    default="order",
    show_default=True,
    help="How answers find questions: by order, checked by id or text; by question_id; by order, unchecked.",
)
@score_run.common(FILE)
def score_pope(answers: tuple[Path, ...], questions: Path, parser: str, pairing: str, **common: Any) -> None:
    """Yes/no questions about objects: accuracy, precision, recall, F1, yes ratio.

    ANSWERS are JSON lines of {"question_id", "answer"}.
    """
    from lvlm_saliency.benchmarks import pope

    score_run.run(answers, lambda path, **how: [pope.score(questions, path, parser, pairing=pairing, **how)], **common)


@score.command(
    name="mme",
    epilog="""\b
Examples:
  lvlm-saliency score mme results/llava
  lvlm-saliency score mme results/llava --task existence --task count --task position --task color
""",
)
@click.argument("folders", type=FOLDER, nargs=-1, required=True)
@click.option("--task", "tasks", multiple=True, help="Only this task; repeat. Default: all 14.")
@score_run.common(FOLDER)
def score_mme(folders: tuple[Path, ...], tasks: tuple[str, ...], **common: Any) -> None:
    """MME per task, with the perception, cognition and hallucination sums.

    FOLDERS hold the official layout: <task>.txt with lines of image, question, truth, response, set apart by tabs.
    """
    from lvlm_saliency.benchmarks import mme

    score_run.run(folders, lambda path, **how: [mme.score(path, tasks=tasks or None, **how)], **common)


@score.command(
    name="amber",
    epilog="""\b
Examples:
  lvlm-saliency score amber responses.json --data AMBER/data
  lvlm-saliency score amber yes_no.json --data AMBER/data --queries AMBER/data/query/query_discriminative.json
""",
)
@click.argument("responses", type=FILE, nargs=-1, required=True)
@click.option(
    "--data", type=FOLDER, required=True, help="AMBER's data folder: annotations.json, relation.json, safe_words.txt."
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
    type=FILE,
    multiple=True,
    help="Query file with the images of the yes/no questions: intervals then redraw images; repeat.",
)
@score_run.common(FILE)
def score_amber(
    responses: tuple[Path, ...], data: Path, similarity: str, queries: tuple[Path, ...], **common: Any
) -> None:
    """AMBER: CHAIR, Cover, Hal, Cog of descriptions; accuracy, precision, recall, F1 of yes/no answers.

    RESPONSES are JSON lists or lines of {"id", "response"}; ids say which task each belongs to.
    """
    from lvlm_saliency.benchmarks import amber

    score_run.run(responses, amber.file_scorer(data, similarity, queries), **common)


for _command in score_judged.COMMANDS:
    score.add_command(_command)
