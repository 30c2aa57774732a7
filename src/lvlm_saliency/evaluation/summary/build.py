"""Building summaries: sections, findings and plots from the folders of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lvlm_saliency.benchmarks.registry import spec
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.evaluation.folder import RunFolder
from lvlm_saliency.evaluation.summary.between import between_table
from lvlm_saliency.evaluation.summary.content import (
    Row,
    RunData,
    Section,
    Summary,
    cost_table,
    difference_table,
    main_table,
    scorer_of,
)
from lvlm_saliency.evaluation.summary.control import control_table, readings, shuffled_table
from lvlm_saliency.evaluation.summary.figures import FIGURES
from lvlm_saliency.evaluation.summary.plots import plots
from lvlm_saliency.evaluation.summary.together import together_table
from lvlm_saliency.evaluation.systems import GREEDY, SAMPLED
from lvlm_saliency.files import json_lines as store
from lvlm_saliency.pages.figures import interval, number, unjudged, verdict
from lvlm_saliency.pages.tables import Cell, Table


class Report(Summary):
    """A summary that writes itself out."""

    def markdown(self) -> str:
        """The summary for a repository."""
        from lvlm_saliency.evaluation.summary.markdown import markdown

        return markdown(self)

    def html(self) -> str:
        """The summary as one page, without script or network."""
        from lvlm_saliency.evaluation.summary.page import html

        return html(self)


def report(folders: Sequence[str | Path]) -> Report:
    """One run, or several beside each other.

    Raises:
        InputError: a folder holds no finished run, or two have one name.
    """
    runs = [RunData(RunFolder(folder)) for folder in folders]
    if not runs:
        raise InputError("no run to report on: give the folder of at least one")
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two runs are named {name}: rename one folder, so that tables can tell them apart")
    try:
        return _report(runs, names)
    # Every field of these files is read below, by name; a field that is missing or of another kind is a damaged file.
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, ArithmeticError) as error:
        if isinstance(error, InputError) and not isinstance(error, SettingError):
            raise  # it names a file of the folder; a setting that there is not, such as a benchmark, stands in one
        raise InputError(
            f"{', '.join(str(run.folder.path) for run in runs)}: config.json, scores.json or details are damaged or of "
            f"another version ({type(error).__name__}: {error}); delete scores.json and give the run's command again"
        ) from error


def _report(runs: Sequence[RunData], names: Sequence[str]) -> Report:
    benchmarks = list(dict.fromkeys(name for run in runs for name in run.scores["benchmarks"]))
    sections = [_section(runs, name) for name in benchmarks]
    title = "What the methods do to " + _models(runs) if len(runs) == 1 else "Runs compared: " + ", ".join(names)
    return Report(title, _lead(runs), tuple(sections), (_setup(runs), _hashes(runs)))


UNSCORED = (
    "Not scored here: the answers stand in answers/, in the official layout, for a judge (lvlm-saliency judge) or an "
    "upload server to read."
)


def write_summary(folder: RunFolder) -> None:
    """summary.md and summary.html of a finished run."""
    summary = report([folder.path])
    store.write_whole(folder.path / "summary.md", summary.markdown())
    store.write_whole(folder.path / "summary.html", summary.html())


def _section(runs: Sequence[RunData], benchmark: str) -> Section:
    held = [run for run in runs if benchmark in run.scores["benchmarks"]]
    rows = [Row(run, label, len(runs) > 1) for run in held for label in run.labels]
    parts = list(dict.fromkeys(part for run in held for part in run.scores["benchmarks"][benchmark]["parts"]))
    if not parts:
        return Section(benchmark, f"{_counts(held, benchmark)} {UNSCORED}", (cost_table(rows, benchmark),))
    main, *others = sorted(parts, key=lambda part: part not in spec(benchmark).whole)
    present = {
        part: [row for row in rows if part in row.run.scores["benchmarks"][benchmark]["parts"]] for part in parts
    }
    return Section(
        title=benchmark,
        lead=_counts(held, benchmark),
        tables=_tables(present[main], benchmark, main),
        more=tuple((part, _tables(present[part], benchmark, part)) for part in others),
        plots=plots(present[main], benchmark, main),
        findings=tuple(
            line
            for part in (main, "statements")
            if part in present
            for line in _findings(present[part], benchmark, part)
        ),
    )


def _tables(rows: Sequence[Row], benchmark: str, part: str) -> tuple[Table, ...]:
    runs = list({row.run.name: row.run for row in rows}.values())
    tables: list[Table | None] = [main_table(rows, benchmark, part), difference_table(rows, benchmark, part)]
    tables += [control_table(rows, benchmark, part), shuffled_table(rows, benchmark, part)]
    tables.append(between_table(runs, benchmark, part))
    if len(runs) == 1:
        tables.append(together_table(runs[0], benchmark, part))
    return tuple(table for table in tables if table is not None)


def _findings(rows: Sequence[Row], benchmark: str, part: str) -> list[str]:
    """A line for each method: how it differs from greedy decoding, in words that the intervals allow."""
    lines = []
    for row in rows:
        if row.label == GREEDY:
            continue
        found = row.run.scores["benchmarks"][benchmark]["against_greedy"][part][row.label]
        names = [name for name in scorer_of([row], benchmark, part).told if name in found]
        read = readings(row, benchmark, part)
        phrases = []
        for name in names:
            figure, value = FIGURES[name], found[name]
            size = f"{number(figure, value['difference'], True)} {interval(figure, value['interval'], True)}"
            said = read.get(name) or verdict(figure, value) or unjudged(value) or "no difference shown"
            phrases.append(f"{figure.shown} {size} ({said})")
        lines.append(f"{row.name}: " + "; ".join(phrases))
    return lines


def _models(runs: Sequence[RunData]) -> str:
    return ", ".join(dict.fromkeys(_model(run) for run in runs))


def _model(run: RunData) -> str:
    """Its hub id, or the name of its folder."""
    given = str(run.config["settings"]["model"])
    return Path(given).name if Path(given).is_absolute() else given


def _counts(runs: Sequence[RunData], benchmark: str) -> str:
    texts = []
    for run in runs:
        held, asked = run.scores["benchmarks"][benchmark], run.config["benchmarks"][benchmark]
        skipped = f", {held['skipped']} skipped because their picture could not be read" if held["skipped"] else ""
        name = f"{run.name}: " if len(runs) > 1 else ""
        texts.append(f"{name}{held['scored']:,} of {held['items']:,} items on {asked['pictures']:,} pictures{skipped}")
    return "; ".join(texts) + "."


def _lead(runs: Sequence[RunData]) -> str:
    texts = []
    for run in runs:
        chosen = run.config["settings"]
        name = f"{run.name}: " if len(runs) > 1 else ""
        texts.append(
            f"{name}{_model(run)}, at most {chosen['max_new_tokens']} new tokens, seed {chosen['seed']}, "
            f"{SAMPLED} at temperature {chosen['temperature']:g} and top-p {chosen['top_p']:g}"
        )
    return (
        "; ".join(texts)
        + ". Figures are percentages with 95 % bootstrap intervals over pictures unless said otherwise."
    )


def _setup(runs: Sequence[RunData]) -> Table:
    rows = []
    names = ["settings", "model", "versions"]
    for group in names:
        keys = dict.fromkeys(key for run in runs for key in run.config[group])
        for key in keys:
            values = [run.config[group].get(key) for run in runs]
            rows.append((Cell(f"{group}: {key}"), *(Cell(_plain(value)) for value in values)))
    rows.append((Cell("machine"), *(Cell(run.config["machine"]) for run in runs)))
    for label in dict.fromkeys(label for run in runs for label in run.labels):
        values = [run.config["systems"].get(label) for run in runs]
        rows.append((Cell(f"system: {label}"), *(Cell(_plain(value)) for value in values)))
    for label in dict.fromkeys(label for run in runs for label in run.config.get("left_out", {})):
        values = [run.config.get("left_out", {}).get(label) for run in runs]
        rows.append((Cell(f"left out: {label}"), *(Cell(_plain(value)) for value in values)))
    return Table("Settings, versions, model", ("", *(run.name for run in runs)), tuple(rows))


def _hashes(runs: Sequence[RunData]) -> Table:
    rows = []
    for run in runs:
        for name, asked in run.config["benchmarks"].items():
            rows.append(
                (
                    Cell(f"{run.name}: {name}"),
                    Cell(asked["images_sha256"][:16]),
                    Cell(asked["prompts_sha256"][:16]),
                    Cell(asked["first_prompt"]),
                )
            )
    note = "The whole hashes are in config.json; inputs/ lists every item with its picture's hash and its prompt."
    return Table("Pictures and prompts", ("benchmark", "pictures", "prompts", "first prompt"), tuple(rows), note)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " + ".join(_plain(one) for one in value) or "no method"
    if isinstance(value, dict):
        return ", ".join(f"{key}={one}" for key, one in value.items() if one is not None and key != "name") or "–"
    return "–" if value is None else str(value)
