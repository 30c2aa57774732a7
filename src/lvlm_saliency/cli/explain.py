"""`lvlm-saliency explain`: what every word of an answer hangs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..errors import SettingError
from .asked import Asked
from .options import Layers, debug_option, decoding_options, input_options, json_option
from .quiet import quiet
from .risk import OWN_RISK, check_risk, open_risk, risk_of

REGIONS = ["output", "previous", "image", "prompt", "system", "prompt+output"]
EXAMPLE = """\b
Examples:
  lvlm-saliency explain --image photo.jpg --prompt "Describe this picture." --html report.html
  lvlm-saliency explain --image photo.jpg --prompt "What is on the table?" --text "A cup and a lamp." --json
  lvlm-saliency explain --image photo.jpg --prompt "Describe the image." --risk
"""


@click.command(epilog=EXAMPLE)
@input_options
@click.option("--text", help="Explain this answer instead of letting the model write one.")
@decoding_options
@click.option("--layers", type=Layers(), help="Decoder layers to trace, as in 4-6+9 (from 0); default all.")
@click.option("--normalise", type=click.Choice(["row", "matrix"]), default="row", show_default=True)
@click.option("--region", type=click.Choice(REGIONS), default="output", show_default=True, help="Colours the words.")
@click.option(
    "--risk",
    is_flag=False,
    flag_value=OWN_RISK,
    metavar="[FILE]",
    help="Colour object words by the risk that they are made up, with this risk model (study detect writes one); "
    "without FILE the one that ships with the model.",
)
@click.option("--html", type=click.Path(path_type=Path), help="Write one self-contained page.")
@click.option(
    "--png", type=click.Path(path_type=Path), help="Write the heat map of words over words (.png, .svg, .pdf)."
)
@click.option("--token", type=int, help="With --png: draw this token's row over the picture instead (from 0).")
@click.option("--save", type=click.Path(path_type=Path), help="Save the trace (.safetensors) for SaliencyTrace.load.")
@json_option
@debug_option
def explain(text, layers, normalise, region, risk, html, png, token, save, as_json, **shared):
    """Print an answer with every token coloured by its saliency, and mark where saliency falls.

    The model writes the answer, greedily unless told otherwise, or --text brings it. Saliency of a token is
    |attention x gradient of its own loss| on what stands before it; --region chooses the part that counts.
    """
    asked, files = Asked(**shared), Files(html, png, token, save)
    with quiet(as_json):
        check_options(asked, files, text)
        risky = None if risk is None else open_risk(risk, asked.model, layers, normalise)
        answer, trace, written, risk_found = run(asked, files, text, layers, normalise, risky)
    if as_json:
        show_json(asked, answer, trace, region, written, risk_found)
    else:
        show(answer, trace, region, written, risk_found)


@dataclass(frozen=True)
class Files:
    """The files that were asked for."""

    html: Path | None
    png: Path | None
    token: int | None
    save: Path | None


def check_options(asked: Asked, files: Files, text: str | None) -> None:
    """Refuse what cannot go together, and files that cannot be written, before the model runs."""
    from ..extras import require
    from ..files import check_writable

    if files.token is not None and files.png is None:
        raise click.UsageError("--token chooses what --png draws; give --png FILE as well")
    if text is not None and (asked.temperature is not None or asked.top_p is not None):
        raise click.UsageError("--text brings the answer, so nothing is sampled; leave --temperature and --top-p out")
    if files.png is not None and files.png.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise click.UsageError(f"--png writes figures; end {str(files.png)!r} in .png, .svg or .pdf")
    if files.png is not None:
        require("plots", "matplotlib", what="--png")
    for path in filter(None, (files.html, files.png, files.save)):
        check_writable(path)


def run(
    asked: Asked, files: Files, text: str | None, layers: list[int] | None, normalise: str, risk: Any = None
) -> tuple:
    """(answer, trace, paths written, risk found)."""
    from ..interventions.parsing import parse_methods
    from .session import begin, given_answer, open_images, sampling, trace_answer, write_answer

    methods = [method for spec in asked.methods for method in parse_methods(spec)]
    how = sampling(asked.temperature, asked.top_p)
    session = begin(asked, open_images(asked))
    if risk is not None:
        check_risk(risk, session)
    if text is not None:
        answer = given_answer(session, text, methods)
    else:
        answer = write_answer(session, "answer", methods, asked.seed, max_new_tokens=asked.max_new_tokens, **how)
    trace = trace_answer(session, answer, layers, normalise)
    if files.token is not None:
        check_token(files.token, len(answer.tokens))
    found = None if risk is None else risk_of(risk, trace)
    return answer, trace, write_files(session, answer, trace, files, found), found


def check_token(token: int, count: int) -> None:
    """Refuse a token that the answer does not have, before any file is written."""
    if not -count <= token < count:
        raise SettingError(f"--token {token}: the answer has {count} tokens, counted from 0")


def write_files(session: Any, answer: Any, trace: Any, files: Files, risk: Any = None) -> list[str]:
    """Write every file that was asked for; returns their paths."""
    from ..files import replacing
    from ..report.html import write_trace
    from .session import layouts_of

    places = layouts_of(session) if files.html or files.token is not None else []
    if files.html:
        write_trace(
            trace,
            files.html,
            session.processor,
            images=[session.images],
            layouts=[places],
            prompt=session.prompt,
            name=answer.name,
            steps=answer.output.steps if answer.output is not None else None,
            risk=None if risk is None else [risk.of_objects],
            cut=[answer.cut],
        )
    if files.png:
        trace.plot(files.png, files.token, processor=session.processor, images=session.images, layouts=places)
    if files.save:
        with replacing(files.save) as temporary:
            trace.save(temporary)
    return [str(path) for path in (files.html, files.png, files.save) if path]


def show_json(asked: Asked, answer: Any, trace: Any, region: str, written: list[str], risk: Any = None) -> None:
    """The numbers on stdout, as one JSON document."""
    from ..report.falls import falls
    from .output import answer_data, print_json

    found = {"prompt": asked.prompt, "images": list(asked.images), **answer_data(answer), **trace.to_dict(0)}
    fallen = falls(trace.scores(region)[0, : len(answer.tokens)].tolist())
    more = {} if risk is None else risk.to_dict()
    print_json({**found, "region": region, "falls": fallen, **more, "files": written})


def show(answer: Any, trace: Any, region: str, written: list[str], risk: Any = None) -> None:
    """The coloured words on stdout, the files' names on stderr."""
    from .output import console, say

    if risk is not None:
        from ..report.risk import print_risk

        print_risk(console(), answer.tokens, risk.of_objects, answer.cut)
    else:
        from ..report.terminal import print_trace

        scores = trace.scores(region)[0, : len(answer.tokens)].tolist()
        print_trace(console(), answer.tokens, scores, label=f"saliency on {region}", cut=answer.cut)
    for path in written:
        say(f"wrote {path}", err=True)
