"""`lvlm-saliency generate`: answers with methods, and a comparison of them."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click

from lvlm_saliency.model.cut_off import CUT, LEGEND

from ..plain_text import one_line, printable
from .asked import Asked
from .options import debug_option, decoding_options, detector_option, input_options, json_option
from .output import say
from .quiet import quiet
from .risk import open_detector

COMPARED = ("locore", "sgrs", "sgrs+locore")
EXAMPLE = """\b
Examples:
  lvlm-saliency generate --image photo.jpg --prompt "Describe this picture." --method locore --method sgrs
  lvlm-saliency generate --image photo.jpg --prompt "Describe this picture." --compare --seed 7
  lvlm-saliency generate --image photo.jpg --prompt "Describe it." --method sgrs:alpha=0.9,layers=4-6 --explain
  lvlm-saliency generate --image photo.jpg --prompt "Describe it." --method guard
  lvlm-saliency generate --image photo.jpg --prompt "Describe it." --explain --detector svar --html page.html
"""


@click.command(epilog=EXAMPLE)
@input_options
@decoding_options
@click.option("--compare", is_flag=True, help="Greedy, sampled and each --method side by side (default: all methods).")
@click.option("--explain", is_flag=True, help="Colour the words by saliency; for SGRS, list what it rejected and why.")
@detector_option("With --explain: colour them by a published hallucination score instead. Repeatable.")
@click.option(
    "--html", type=click.Path(path_type=Path), help="With --explain: write one self-contained page of the answers."
)
@json_option
@debug_option
def generate(compare: bool, explain: Any, detectors: Any, html: Any, as_json: bool, **shared: Any) -> None:
    """Write an answer; several --method act together, or with --compare one after the other.

    Without --temperature and --top-p decoding is greedy (SGRS draws by its own rule and seed).
    """
    asked = Asked(**shared)
    if (detectors or html) and not explain:
        raise click.UsageError("--detector and --html show what --explain finds; give --explain as well")
    streaming = not (compare or explain or as_json)
    with quiet(as_json):
        if html:
            from ..files import check_writable

            check_writable(html)
        scoring = [open_detector(name, asked.model) for name in dict.fromkeys(detectors)]
        answers, found = _write(asked, compare, explain, scoring, streaming, places=bool(html))
        if html:
            _write_page(html, found)
    if as_json:
        _print_json(asked, answers, found)
    elif not streaming:
        _print(answers, found, compare)
    else:
        _print_after(asked, answers[0])
    if html:
        say(f"wrote {html}", err=True)


def _write_page(path: Path, found: list[Any]) -> None:
    """The answers of all runs about the same pictures, side by side."""
    from ..report.content import Report
    from ..report.html import about, write_html

    case = found[0].case("The answers" if len(found) > 1 else "The answer")
    case = dataclasses.replace(case, runs=[one.run() for one in found])
    lead = about(found[0].trace)  # with --compare the first is greedy: the tabs name the methods of the others
    write_html(path, Report("What every word depends on", [case], lead=lead))


def _print_after(asked: Asked, answer: Any) -> None:
    """Print notes on a text that was streamed to stderr: stdout holds only what the model wrote."""
    from .output import console

    if answer.output.guard is not None:
        from ..report.guard import print_guard

        print_guard(console(stderr=True), answer.tokens, answer.guard)
    if answer.cut:
        say(f"{LEGEND}; --max-new-tokens gives it more than {asked.max_new_tokens}", err=True)


def _write(
    asked: Asked, compare: bool, explain: bool, detectors: list[Any], streaming: bool, places: bool
) -> tuple[list[Any], list[Any]]:
    """Every answer, and its explanation or None. places: also find out where image tokens lie in the pictures."""
    from .session import begin

    planned = _runs(asked, compare)
    chat, query = begin(asked)
    inputs = chat.encode([query])
    answers, found = [], []
    for name, chosen, how in planned:
        if compare and sys.stderr.isatty():
            say(f"writing: {name}", err=True)
        streamer = _streamer(chat.processor) if streaming else None
        settings = {"max_new_tokens": asked.max_new_tokens, "inputs": inputs, "streamer": streamer, **how}
        answers += chat.ask([query], chosen, seed=asked.seed, name=name, **settings)
        found.append(chat.explain(answers[-1:], detectors=detectors, layouts=places)[0] if explain else None)
    return answers, found


def _runs(asked: Asked, compare: bool) -> list[tuple[str, list[Any], dict[str, Any]]]:
    """(name, methods, sampling settings) of every answer to write."""
    from ..interventions.parsing import parse_methods
    from .session import sampling

    how = sampling(asked.temperature, asked.top_p)
    if not compare:
        together = [method for spec in asked.methods for method in parse_methods(spec)]
        return [(" + ".join(asked.methods) or "answer", together, how)]
    sampled = how if how["do_sample"] else sampling(1.0, None)
    plain: list[tuple[str, list[Any], dict[str, Any]]] = [
        ("greedy", [], sampling(None, None)),
        ("sampled", [], sampled),
    ]
    return plain + [(spec, parse_methods(spec), how) for spec in asked.methods or COMPARED]


def _streamer(processor: Any) -> Any:
    from transformers import TextStreamer

    class PlainStreamer(TextStreamer):
        """Prints the text as it is written, without characters that control a terminal. Each character is checked by
        itself, so an escape code in several pieces does not pass either."""

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            super().on_finalized_text(printable(text), stream_end)

    return PlainStreamer(getattr(processor, "tokenizer", processor), skip_prompt=True, skip_special_tokens=True)


def _print_json(asked: Asked, answers: list[Any], found: list[Any]) -> None:
    from .output import print_json

    runs = []
    for answer, one in zip(answers, found, strict=True):
        traced = {} if one is None else {"trace": one.trace.to_dict(0)}
        scored = {} if one is None or not one.detectors else {"detectors": dict(one.detectors)}
        runs.append({**answer.to_dict(), **traced, **scored})
    about = {"model": asked.model, **asked.shown, "seed": asked.seed}
    print_json({**about, "runs": runs})


def _print(answers: list[Any], found: list[Any], compare: bool) -> None:
    from .output import console

    out = console()
    for answer, one in zip(answers, found, strict=True):
        if compare:
            out.print(one_line(answer.name), style="bold")
        if one is None:
            out.print(f"{answer.text} {CUT}" if answer.cut else answer.text, soft_wrap=False)
        else:
            for detector in one.detectors or (None,):
                one.show(out, detector=detector)
            _print_rejections(out, answer)
        if answer.output.guard is not None:
            from ..report.guard import print_guard

            print_guard(out, answer.tokens, answer.guard)
        if compare:
            out.print()
    if any(answer.cut and one is None for answer, one in zip(answers, found, strict=True)):
        out.print(LEGEND, style="dim")
    if compare:
        _print_table(out, answers)


def _print_table(out: Any, answers: list[Any]) -> None:
    from rich.table import Table

    from .wide import print_table

    table = Table(box=None, pad_edge=False)
    table.add_column("run", overflow="fold")
    for name in ("tokens", "words", "forward passes", "backward passes", "seconds", "s/token"):
        table.add_column(name, justify="right")
    for answer in answers:
        cost, count = answer.output.cost, len(answer.tokens)
        words = len(answer.text.split())
        table.add_row(
            answer.name,
            f"{count} {CUT}" if answer.cut else str(count),
            str(words),
            str(cost.forwards),
            str(cost.backwards),
            f"{cost.seconds:.2f}",
            f"{cost.seconds / max(count, 1):.3f}",
        )
    print_table(out, table)


def _print_rejections(out: Any, answer: Any) -> None:
    """Print what SGRS drew and refused: the candidate, its score, and the threshold that it missed."""
    from rich.table import Table

    steps = answer.output.steps[0]
    if not any(step.threshold is not None for step in steps):
        return
    rejected = [(at, step) for at, step in enumerate(steps) if step.rejected]
    share = f"{len(rejected)} of {len(steps)} tokens"
    if not rejected:
        out.print("rejected: nothing; every first draw reached its threshold", style="dim")
        return
    names = {token: one_line(name) for token, name in answer.candidates.items()}
    table = Table(box=None, pad_edge=False, title=f"rejected draws ({share})", title_justify="left")
    for name in ("token", "kept", "its score", "threshold", "rejected (score)", "why"):
        number = name in ("token", "its score", "threshold")
        table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for at, step in rejected:
        refused = ", ".join(f"{names[token]} ({_score(step.candidates.get(token))})" for token in step.rejected)
        why = "every draw fell: largest score kept" if step.fallback else "score below threshold"
        table.add_row(str(at), names[step.token_id], _score(step.score), _score(step.threshold), refused, why)
    out.print(table)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
