"""`lvlm-saliency score`: benchmarks with a judge, and those that compare with people's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .score_run import FILE, common, run


@click.command(
    name="llava-bench",
    epilog="""\b
Example:
  lvlm-saliency score llava-bench review_1.jsonl review_2.jsonl review_3.jsonl
""",
)
@click.argument("reviews", type=FILE, nargs=-1, required=True)
@common(FILE)
def llava_bench(reviews: tuple[Path, ...], **settings: Any) -> None:
    """LLaVA-Bench (in the wild): a judge's marks, relative to reference answers.

    REVIEWS are JSON lines of {"category", "content"}, one file for each time that the judge was asked.
    """
    from lvlm_saliency.benchmarks import llava_bench as scorer

    run(reviews, lambda path, **how: [scorer.report(path, **how)], **settings)


@click.command(
    name="mm-vet",
    epilog="""\b
Example:
  lvlm-saliency score mm-vet grades.json --metadata mm-vet.json
""",
)
@click.argument("grades", type=FILE, nargs=-1, required=True)
@click.option("--metadata", type=FILE, required=True, help="The official mm-vet.json.")
@click.option("--subset", type=FILE, help="Only these questions: a JSON list of ids (bard_set.json).")
@common(FILE)
def mm_vet(grades: tuple[Path, ...], metadata: Path, subset: Path | None, **settings: Any) -> None:
    """MM-Vet: a judge's marks by capability, in per cent.

    GRADES are the official grade files: {id: {"score": [...], "content": [...]}}.
    """
    from lvlm_saliency.benchmarks import mm_vet as scorer
    from lvlm_saliency.files.records import read_json

    from ..errors import InputError

    chosen = None
    if subset is not None:
        chosen = read_json(subset)
        if not isinstance(chosen, list) or not all(isinstance(each, str) for each in chosen):
            raise InputError(f"{subset}: expected a JSON list of question ids")
    run(grades, lambda path, **how: [scorer.score(metadata, path, subset=chosen, **how)], **settings)


@click.command(
    name="vizwiz",
    epilog="""\b
Example:
  lvlm-saliency score vizwiz answers.json --annotations val.json --variant llava_m4c
""",
)
@click.argument("answers", type=FILE, nargs=-1, required=True)
@click.option("--annotations", type=FILE, required=True, help="The official val.json or train.json.")
@click.option(
    "--variant",
    type=click.Choice(["vizwiz_api", "llava_m4c"]),
    default="vizwiz_api",
    show_default=True,
    help="VizWiz's own scorer, or the one of LLaVA and lmms-eval.",
)
@common(FILE)
def vizwiz(answers: tuple[Path, ...], annotations: Path, variant: str, **settings: Any) -> None:
    """VizWiz: short answers against ten people's.

    ANSWERS are JSON lists or lines of {"image", "answer"}. Published test figures come from the upload server.
    """
    from lvlm_saliency.benchmarks import vizwiz as scorer

    run(answers, lambda path, **how: [scorer.score(annotations, path, variant, **how)], **settings)


@click.command(
    name="scienceqa",
    epilog="""\b
Example:
  lvlm-saliency score scienceqa answers.jsonl --problems problems.json --splits pid_splits.json
""",
)
@click.argument("answers", type=FILE, nargs=-1, required=True)
@click.option("--problems", type=FILE, required=True, help="The official problems.json.")
@click.option("--splits", type=FILE, required=True, help="The official pid_splits.json.")
@click.option("--split", default="test", show_default=True, help="Which of its lists of questions.")
@click.option(
    "--variant",
    type=click.Choice(["llava", "normal"]),
    default="llava",
    show_default=True,
    help="As LLaVA's script (a missing answer is wrong), or missing answers are errors.",
)
@common(FILE)
def scienceqa(
    answers: tuple[Path, ...], problems: Path, splits: Path, split: str, variant: str, **settings: Any
) -> None:
    """ScienceQA: accuracy over all questions, and over those with a picture.

    ANSWERS are JSON lines of {"question_id", "prompt", "text"}.
    """
    from lvlm_saliency.benchmarks import scienceqa as scorer
    from lvlm_saliency.files.records import read_json

    from ..errors import InputError, did_you_mean

    lists, known = read_json(splits), read_json(problems)
    if not isinstance(lists, dict) or not isinstance(lists.get(split), list):
        near = did_you_mean(split, lists) if isinstance(lists, dict) else ""
        raise InputError(f"{splits}: no list of questions named {split!r}{near}")
    run(answers, lambda path, **how: [scorer.score(known, lists[split], path, variant, **how)], **settings)


@click.command(
    name="hallusionbench",
    epilog="""\b
Example:
  lvlm-saliency score hallusionbench judged.jsonl --questions HallusionBench.json
""",
)
@click.argument("judged", type=FILE, nargs=-1, required=True)
@click.option("--questions", type=FILE, help="The official HallusionBench.json, where JUDGED does not repeat it.")
@common(FILE)
def hallusionbench(judged: tuple[Path, ...], questions: Path | None, **settings: Any) -> None:
    """HallusionBench: accuracy per question, per pair and per figure; what errors are put down to.

    JUDGED are entries with the judge's replies, "correctness_reply" and "same_reply".
    """
    from lvlm_saliency.benchmarks import hallusionbench as scorer

    run(judged, lambda path, **how: [scorer.score(path, questions, **how)], **settings)


@click.command(
    name="mmhal-bench",
    epilog="""\b
Example:
  lvlm-saliency score mmhal-bench replies.json
""",
)
@click.argument("replies", type=FILE, nargs=-1, required=True)
@common(FILE)
def mmhal_bench(replies: tuple[Path, ...], **settings: Any) -> None:
    """MMHal-Bench: a judge's ratings from 0 to 6, and the share below 3.

    REPLIES are JSON lists of the judge's texts (or API responses), in the order of the 96 questions.
    """
    from lvlm_saliency.benchmarks import mmhal_bench as scorer

    run(replies, lambda path, **how: [scorer.score(path, **how)], **settings)


@click.command(
    name="mmvp",
    epilog="""\b
Example:
  lvlm-saliency score mmvp replies.json --answers answers.jsonl
""",
)
@click.argument("replies", type=FILE, nargs=-1, required=True)
@click.option("--answers", type=FILE, required=True, help="The answers that were judged, in the same order.")
@common(FILE)
def mmvp(replies: tuple[Path, ...], answers: Path, **settings: Any) -> None:
    """MMVP: pairs of questions with both answers right.

    REPLIES are JSON lists of the judge's texts, one for each answer.
    """
    from lvlm_saliency.benchmarks import mmvp as scorer

    run(replies, lambda path, **how: [scorer.score(answers, path, **how)], **settings)


COMMANDS = (llava_bench, mm_vet, vizwiz, scienceqa, hallusionbench, mmhal_bench, mmvp)
