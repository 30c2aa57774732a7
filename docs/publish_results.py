"""What every method does to the shipped model, into the documents (`make results`).

Reads two finished runs of `lvlm-saliency evaluate`, captions and questions, and writes their summaries, and a page
that sets them side by side with what the intervals say.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lvlm_saliency.evaluation.folder import RunFolder
from lvlm_saliency.evaluation.summary.content import Row, RunData
from lvlm_saliency.evaluation.summary.control import readings
from lvlm_saliency.evaluation.summary.figures import FIGURES
from lvlm_saliency.evaluation.systems import GREEDY
from lvlm_saliency.pages.figures import interval, number, verdict
from lvlm_saliency.pages.markdown import MARKS

CAPTIONS, QUESTIONS = "scenes-caption", "scenes-pope"
KINDS = ("random", "popular", "adversarial")
TITLES = {
    "beam": "beam search",
    "causalmm": "CausalMM",
    "dola": "DoLa",
    "dopra": "DOPRA",
    "eah": "EAH",
    "farsight": "FarSight",
    "icd": "ICD",
    "locore": "LocoRE",
    "memvr": "MemVR",
    "opera": "OPERA",
    "pai": "PAI",
    "sample": "sampling",
    "sgrs": "SGRS",
    "tame": "TAME",
    "vcd": "VCD",
    "sgrs+locore": "SGRS + LocoRE",
}
LIMITS = """\
- **One model of three million parameters, on drawings, says nothing about models of 7 billion on photographs.** It has
  six layers; methods that name layers of 32 (DOPRA, EAH, MemVR, DoLa) act on very different shares of it. The defaults
  are those of the papers and their code ([where they differ](../rivals-defaults.md)), none was tuned here, and a method
  may well do better at another setting.
- VCD, ICD, CausalMM, PAI and DoLa take the largest of their combined logits here, so that they are compared with greedy
  decoding on equal terms; most of their papers sample from them and compare with sampling.
- The shipped model does not know ICD's instruction: several of its words are outside the vocabulary of the scenes.
- FarSight runs with a key/value cache, so that only the prompt's rows are edited.
- DOPRA is a re-implementation from a description.
- Intervals cover the choice of pictures, with one seed for what draws (sampling, SGRS, VCD's noise).
- The questions have a limit of their own, because a beam search goes on until five texts have ended.
"""


def main() -> None:
    """Write the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=Path, default=Path("runs/results/captions"))
    parser.add_argument("--questions", type=Path, default=Path("runs/results/questions"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    options = parser.parse_args()
    for folder in (options.captions, options.questions):
        if not (folder / "scores.json").exists():
            sys.exit(f"error: no finished run in {folder}; make results makes both")
    captions, questions = (RunData(RunFolder(folder)) for folder in (options.captions, options.questions))
    options.out.mkdir(parents=True, exist_ok=True)
    for folder, name in ((options.captions, "captions.md"), (options.questions, "questions.md")):
        shutil.copyfile(folder / "summary.md", options.out / name)
    (options.out / "README.md").write_text(page(captions, questions), encoding="utf-8")


def page(captions: RunData, questions: RunData) -> str:
    """The page of both runs, Markdown."""
    lines = ["# The whole field on the shipped model", "", made(captions, questions), ""]
    lines += ["Every registered method at its default settings, and SGRS with LocoRE. `make results` runs:", "", "```"]
    lines += [*commands(captions, questions), "```", "", *table(captions, questions), ""]
    lines += [
        "95 % bootstrap intervals over pictures in brackets; ✓ better and ✗ worse than greedy decoding: the paired "
        "interval leaves 0 out. `1.06 × 25 rows`: each pass has 25 rows for every text.",
        "",
        "Every figure with its interval, the control at equal length and all systems at once: [captions](captions.md), "
        "[questions](questions.md).",
        "",
        "## What it shows, for this model and these defaults",
        "",
        *shows(captions, questions, "captions.md"),
        "",
        "## What it does not show",
        "",
        LIMITS,
    ]
    return "\n".join(lines)


def commands(captions: RunData, questions: RunData) -> list[str]:
    """How both runs are made."""
    lines = []
    for run, benchmark, batch, out in ((captions, CAPTIONS, 16, "captions"), (questions, QUESTIONS, 32, "questions")):
        pictures, limit = run.config["benchmarks"][benchmark]["pictures"], run.config["settings"]["max_new_tokens"]
        lines += [
            f"lvlm-saliency evaluate --model scenes --benchmark {benchmark} --method all --method sgrs+locore \\",
            f"    --n {pictures} --max-new-tokens {limit} --batch-size {batch} --out runs/results/{out}",
        ]
    return lines


def made(captions: RunData, questions: RunData) -> str:
    """When, on what machine and on how many pictures."""
    date = datetime.fromtimestamp(captions.folder.path.joinpath("scores.json").stat().st_mtime, tz=timezone.utc).date()
    described, asked = (
        run.config["benchmarks"][name]["pictures"] for run, name in ((captions, CAPTIONS), (questions, QUESTIONS))
    )
    return (
        f"Captions of {described} held-out scenes and 18 questions on each of {asked}, percentages; "
        f"{date.isoformat()}, {captions.config['machine']}."
    )


def table(captions: RunData, questions: RunData) -> list[str]:
    """A line for each system, captions and questions side by side."""
    head = (
        "",
        "CHAIR\\_s ↓",
        "CHAIR\\_i ↓",
        "recall ↑",
        "words",
        "well-formed %",
        "POPE accuracy: random / popular / adversarial",
        "passes/token",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for label in captions.labels:
        parts = captions.scores["benchmarks"][CAPTIONS]["parts"]["captions"][label]
        asked = questions.scores["benchmarks"][QUESTIONS]["parts"]
        cells = [TITLES.get(label, label)]
        for name in ("CHAIR_s", "CHAIR_i", "recall"):
            bounds = "" if name == "recall" else " " + interval(FIGURES[name], parts["intervals"][name])
            cells.append(number(FIGURES[name], parts["figures"][name]) + bounds + mark(captions, CAPTIONS, label, name))
        cells.append(number(FIGURES["length"], parts["figures"]["length"]))
        cells.append(f"{100 * parts['extra']['well-formed']:.1f}")
        kinds = []
        for kind in KINDS:
            value = number(FIGURES["accuracy"], asked[kind][label]["figures"]["accuracy"])
            kinds.append(value + mark(questions, QUESTIONS, label, "accuracy", kind))
        cells += [" / ".join(kinds), passes(captions, label)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def mark(run: RunData, benchmark: str, label: str, name: str, part: str = "captions") -> str:
    """Whether the figure is better or worse than greedy decoding's, where its interval says so."""
    return MARKS.get(verdict(FIGURES[name], against(run, benchmark, part, label).get(name)), "")


def against(run: RunData, benchmark: str, part: str, label: str) -> dict[str, Any]:
    """The differences to greedy decoding; none for greedy decoding itself."""
    return run.scores["benchmarks"][benchmark]["against_greedy"][part].get(label, {})


def passes(run: RunData, label: str) -> str:
    """Forward (and backward) passes for each token, and the rows of a search."""
    cost = run.cost(CAPTIONS, label)
    text = f"{cost['forwards_per_token']:.2f}"
    if cost["backwards_per_token"]:
        text += f" + {cost['backwards_per_token']:.2f}"
    return text + (f" × {cost['rows_per_token']} rows" if cost["rows_per_token"] > 1 else "")


def shows(captions: RunData, questions: RunData, details: str) -> list[str]:
    """What the intervals say, each system under one of a few verdicts; `details`: where every figure is."""
    found: dict[str, list[str]] = {}
    for label in captions.labels:
        if label != GREEDY:
            read = readings(Row(captions, label, False), CAPTIONS, "captions").get("CHAIR_s", "no verdict")
            found.setdefault(read, []).append(label)
    lines = []
    told = {
        "better, also at the same length": "Fewer captions with hallucinated objects, also against greedy captions cut "
        "to the same length",
        "only shorter": "Fewer, but no difference is shown against greedy captions cut to the same length",
        "no difference shown": "No difference shown in CHAIR\\_s",
        "worse": "More captions with hallucinated objects",
    }
    for read in [*told, *(read for read in found if read not in told)]:
        if read in found:
            lines.append(f"- **{told.get(read, read.capitalize())}**: {listed(captions, found[read])}.")
    answers = []
    for label in questions.labels:
        if label == GREEDY:
            continue
        difference = against(questions, QUESTIONS, "all", label)
        if verdict(FIGURES["accuracy"], difference.get("accuracy")):
            answers.append(f"{TITLES.get(label, label)} {sized('accuracy', difference)}")
    lines.append("- **Questions**, accuracy over all kinds: " + ("; ".join(answers) or "no difference shown") + ".")
    others = len(captions.labels) - 1
    lines.append(
        f"- Of {others} systems compared with greedy decoding, {0.05 * others:.1f} would differ at 95 % in each column "
        f"by chance alone; [the tables]({details}) say which differences hold for all at once."
    )
    return lines


def listed(run: RunData, labels: Iterable[str]) -> str:
    """Systems with their differences in CHAIR_s and recall."""
    parts = []
    for label in labels:
        difference = against(run, CAPTIONS, "captions", label)
        parts.append(f"{TITLES.get(label, label)} {sized('CHAIR_s', difference)}, recall {sized('recall', difference)}")
    return "; ".join(parts)


def sized(name: str, difference: dict[str, Any]) -> str:
    """A signed difference and its interval."""
    figure, found = FIGURES[name], difference[name]
    return f"{number(figure, found['difference'], True)} {interval(figure, found['interval'], True)}"


if __name__ == "__main__":
    main()
