"""The page of `factual`: its parts, tables and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lvlm_saliency.studies.cells import area, plain
from lvlm_saliency.studies.factual import figures as drawn
from lvlm_saliency.studies.factual.asking import NEW_TOKENS
from lvlm_saliency.studies.factual.findings import findings
from lvlm_saliency.studies.factual.measures import EQUAL, Measured
from lvlm_saliency.studies.factual.questions import SHOWN
from lvlm_saliency.studies.nested import FOLDS
from lvlm_saliency.studies.nested import table as nested_table
from lvlm_saliency.studies.page import Cell, Page, Part, Picture, Table

PAPER = (
    "it finds that hallucinated object words have a low saliency over earlier output, and that attention alone does "
    "not show it. It measures captions of pictures, not facts; this study asks whether the same sign is there where a "
    "language model answers a question wrongly."
)
ASKED = (
    f"Each question is asked behind {SHOWN} others of its kind with their answers. The answer's opening is given (“The "
    "capital of Laos is”), the model writes on greedily, and what it writes is judged from its first word that is no "
    "article: right where it begins with an accepted answer, whatever its capitals and accents. The opening counts "
    "as output, as in a text that the model writes by itself: it is what an answer can be tied to. Answers of a kind "
    "stand at nearly the same place, because their openings differ only in the subject. A wrong answer may begin with "
    "a token of the right one (“Beiroth”); the setting token=mean scores answers by all their tokens."
)
CONTROLS = (
    "Kinds differ in how often they are answered wrongly, and in how long their openings are, and a mean over a longer "
    "opening is lower. So an area over all questions mixes the two. All verdicts but the second are taken among "
    "answers of the same kind whose first token stands at the same place; the other columns hold less equal."
)
NESTED = (
    "Logistic regressions of wrong answers, without and with saliency. The gain is how much better answers about "
    f"unseen subjects are predicted ({FOLDS}-fold cross-validation, whole subjects left out), and it decides."
)
NOTE = "✓ the interval lies above 0.5 (the paper's direction), ✗ below it; 95 % intervals over subjects."
BY_KIND = ("saliency: output", "saliency: prompt", "attention: output", "log-probability")


def page(measured: Measured, asked: int, setup: Mapping[str, str]) -> Page:
    """The page of these answers to `asked` questions; `setup` as `Lab.setup` has it."""
    wrong, right = int(measured.y.sum()), int((~measured.y).sum())
    controls, kinds, layers, nested = measured.controls(), measured.by_kind(), measured.by_layer(), measured.nested()
    found = findings(measured, nested)
    names = [score.name for score in measured.scores]
    at = {(row["score"], row["held_equal"]): row["auroc"] for row in controls}
    compared = measured.compared(EQUAL)
    parts = [
        Part(
            "Questions and answers",
            _counted(measured, asked, 2 * len(nested)),
            [_means(controls, measured)],
            [
                Picture(
                    "areas",
                    f"How well each score tells wrong from right answers: {wrong} against {right} (blue), and "
                    f"{compared} wrong ones against right ones of the same kind at the same position (orange); 95 % "
                    "intervals over subjects.",
                    drawn.areas(
                        names,
                        {
                            "all answers": [at[name, "nothing"] for name in names],
                            EQUAL: [at[name, EQUAL] for name in names],
                        },
                    ),
                )
            ],
        ),
        Part("With other things equal", CONTROLS, [_held(controls, measured)]),
        Part(
            "Kind by kind",
            "",
            [_kinds(kinds, measured)],
            [
                Picture(
                    "kinds",
                    "Areas within each kind, among answers of equal position; a kind without a pair to compare has "
                    "none.",
                    drawn.areas(
                        [row["kind"] for row in kinds],
                        {name: [row[name] for row in kinds] for name in ("saliency: output", "log-probability")},
                    ),
                )
            ],
        ),
        Part(
            "What saliency adds to log-probability",
            NESTED,
            [nested_table(nested, len(measured.y), "answers", "a wrong answer", "subjects")] if nested else [],
        ),
        Part(
            "Layer by layer",
            "",
            [],
            [
                Picture(
                    "layers",
                    "Areas by decoder layer among answers of the same kind and position; bands: 95 % intervals, each "
                    "for itself.",
                    drawn.layers(layers),
                )
            ],
        ),
    ]
    about = {
        "questions": f"{asked:,} of {len(kinds)} kinds",
        "bootstrap": f"{measured.resamples} resamples of subjects, 95 % percentile intervals",
        "max_new_tokens": f"{NEW_TOKENS} behind each opening",
    }
    data: dict[str, Sequence[Mapping[str, Any]]] = {
        "controls": [plain(row) for row in controls],
        "kinds": [_flat(row) for row in kinds],
        "layers": [plain(row) for row in layers],
        "nested": [plain(vars(one)) for one in nested],
        "answers": _rows(measured),
    }
    return Page("Are wrong answers told by low saliency?", PAPER, found, parts, {**setup, **about}, data=data)


def _counted(measured: Measured, asked: int, gains: int) -> str:
    wrong, given = int(measured.y.sum()), len(measured.y)
    silent = f" {asked - given} answers hold no word and are left out." if asked > given else ""
    return (
        f"{given:,} answers about {measured.resampler.size:,} subjects, {wrong} of them wrong "
        f"({measured.y.mean():.1%}).{silent} {ASKED}\n\n"
        "An area of 0.5 is chance, 1 means that every wrong answer scores lower than every right one (for entropy: "
        "higher), and below 0.5 the order is reversed. Questions about one subject are redrawn together, because a "
        "model that does not know a country may miss its capital and its currency both. This page tests "
        f"{measured.asked + gains} areas and gains, each with an interval of its own; if nothing differed, about "
        f"{round(0.05 * (measured.asked + gains))} of them would still leave chance out."
    )


def _means(rows: Sequence[Mapping[str, Any]], measured: Measured) -> Table:
    lines = [
        (
            Cell(row["score"]),
            Cell(f"{row['mean_right']:.3g} ± {row['sd_right']:.2g}"),
            Cell(f"{row['mean_wrong']:.3g} ± {row['sd_wrong']:.2g}"),
            area(row["auroc"]),
        )
        for row in rows
        if row["held_equal"] == "nothing"
    ]
    note = f"n = {len(measured.y):,}. ±: standard deviation. {NOTE}"
    return Table("Right and wrong answers", ("score", "right", "wrong", "AUROC"), tuple(lines), note)


def _held(rows: Sequence[Mapping[str, Any]], measured: Measured) -> Table:
    held = list(dict.fromkeys(row["held_equal"] for row in rows))
    names = list(dict.fromkeys(row["score"] for row in rows))
    lines = [(Cell(name), *(area(row["auroc"]) for row in rows if row["score"] == name)) for name in names]
    compared = [str(measured.compared(name)) for name in held if name != "nothing"]
    lines.append((Cell("wrong answers compared"), *map(Cell, (str(int(measured.y.sum())), *compared))))
    return Table("AUROC among answers that are equal in …", ("score", *held), tuple(lines), NOTE)


def _kinds(rows: Sequence[Mapping[str, Any]], measured: Measured) -> Table:
    answers = measured.answers
    example = {
        one.kind: f"{one.opening} {said}"
        for one, said, wrong in zip(answers.questions, answers.said, answers.wrong, strict=True)
        if wrong
    }
    lines = [
        (
            Cell(row["kind"], f"wrong: {example[row['kind']]}" if row["kind"] in example else ""),
            Cell(f"{row['wrong']} of {row['answers']}"),
            Cell(row["positions"]),
            *(area(row[name]) for name in BY_KIND),
        )
        for row in rows
    ]
    head = ("kind", "wrong", "tokens before the answer", *BY_KIND)
    note = f"Under each kind, a wrong answer. {NOTE}"
    return Table("AUROC within each kind, at equal position", head, tuple(lines), note)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a kind with one column for each number of each area."""
    flat = {name: value for name, value in row.items() if not hasattr(value, "low")}
    for name, found in row.items():
        if hasattr(found, "low"):
            flat |= {name: found.value, f"{name}, low": found.low, f"{name}, high": found.high}
    return flat


def _rows(measured: Measured) -> list[dict[str, Any]]:
    answers = measured.answers
    return [
        {
            "kind": question.kind,
            "subject": question.subject,
            "question": question.text,
            "opening": question.opening,
            "accepted": "|".join(question.accepted),
            "said": answers.said[at],
            "wrong": bool(answers.wrong[at]),
            "position": int(answers.position[at]),
            "tokens": int(answers.length[at]),
            **{one.name.replace(": ", "_"): round(float(one.values[at]), 7) for one in measured.scores},
        }
        for at, question in enumerate(answers.questions)
    ]
