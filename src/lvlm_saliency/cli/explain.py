"""`lvlm-saliency explain`: what every word of an answer depends on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SettingError
from .asked import Asked
from .options import Layers, debug_option, decoding_options, detector_option, input_options, json_option
from .quiet import quiet
from .risk import OWN_RISK, check_risk, open_detector, open_risk

if TYPE_CHECKING:
    from ..chat import Explanation

REGIONS = ["output", "previous", "image", "video", "prompt", "system", "prompt+output"]
EXAMPLE = """\b
Examples:
  lvlm-saliency explain --image photo.jpg --prompt "Describe this picture." --html report.html
  lvlm-saliency explain --image photo.jpg --prompt "What is on the table?" --text "A cup and a lamp." --json
  lvlm-saliency explain --image photo.jpg --prompt "Describe the image." --risk
  lvlm-saliency explain --image photo.jpg --prompt "Describe the image." --detector svar
  lvlm-saliency explain --video clip.mp4 --frames 8 --prompt "What happens?" --model M --html report.html
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
    help="Colour object words by their risk of being hallucinated, with this risk model (study detect writes one); "
    "without FILE the one that ships with the model.",
)
@detector_option("Colour words by a published hallucination score (lvlm-saliency detectors lists them). Repeatable.")
@click.option("--html", type=click.Path(path_type=Path), help="Write one self-contained page.")
@click.option(
    "--png", type=click.Path(path_type=Path), help="Write the heat map of words over words (.png, .svg, .pdf)."
)
@click.option("--token", type=int, help="With --png: draw this token's row over the picture instead (from 0).")
@click.option("--save", type=click.Path(path_type=Path), help="Save the trace (.safetensors) for SaliencyTrace.load.")
@click.option(
    "--compact",
    type=click.Choice(["half", "mean"]),
    help="With --save: in half precision, or the mean of layers alone.",
)
@json_option
@debug_option
def explain(
    text: Any,
    layers: Any,
    normalise: Any,
    region: Any,
    risk: Any,
    detectors: Any,
    html: Any,
    png: Any,
    token: Any,
    save: Any,
    compact: str | None,
    as_json: bool,
    **shared: Any,
) -> None:
    """Print an answer with every token coloured by its saliency, and mark where saliency falls.

    The model writes the answer, by greedy decoding unless told otherwise, or --text gives it. The saliency of a token
    is |attention x gradient of its own loss| on the tokens before it; --region chooses which of them count.
    """
    asked, files = Asked(**shared), Files(html, png, token, save, compact)
    with quiet(as_json):
        check_options(asked, files, text)
        if region == "video" and not asked.videos:
            raise click.UsageError("--region video colours words by what of them lies on a video; give --video PATH")
        # A page opens coloured by risk wherever a risk model is available.
        paged = risk is None and bool(html) and asked.model == "scenes" and normalise == "row" and layers is None
        risk = OWN_RISK if paged else risk
        risky = None if risk is None else open_risk(risk, asked.model, layers, normalise)
        scoring = [open_detector(name, asked.model) for name in dict.fromkeys(detectors)]
        explained, written = run(asked, files, text, layers, normalise, risky, scoring)
        explained = dataclasses.replace(explained, risk=None) if paged else explained
    if as_json:
        show_json(asked, explained, region, written)
    else:
        show(explained, region, written)


@dataclass(frozen=True)
class Files:
    """The files that the options ask for."""

    html: Path | None
    png: Path | None
    token: int | None
    save: Path | None
    compact: str | None = None


def check_options(asked: Asked, files: Files, text: str | None) -> None:
    """Refuse options that exclude each other, and files that cannot be written, before the model runs."""
    from ..extras import require
    from ..files import check_writable

    if files.compact is not None and files.save is None:
        raise click.UsageError("--compact says how --save writes the trace; give --save FILE as well")
    if files.token is not None and files.png is None:
        raise click.UsageError("--token chooses what --png draws; give --png FILE as well")
    if text is not None and (asked.temperature is not None or asked.top_p is not None):
        raise click.UsageError("--text gives the answer, so nothing is sampled; leave --temperature and --top-p out")
    if files.png is not None and files.png.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise click.UsageError(f"--png writes figures; end {str(files.png)!r} in .png, .svg or .pdf")
    if files.png is not None:
        require("plots", "matplotlib", what="--png")
    for path in filter(None, (files.html, files.png, files.save)):
        check_writable(path)


def run(
    asked: Asked,
    files: Files,
    text: str | None,
    layers: list[int] | None,
    normalise: str,
    risk: Any = None,
    detectors: Sequence[Any] = (),
) -> tuple[Explanation, list[str]]:
    """The explanation, and the paths written."""
    from ..interventions.parsing import parse_methods
    from .session import begin, sampling

    methods = [method for spec in asked.methods for method in parse_methods(spec)]
    how = sampling(asked.temperature, asked.top_p)
    chat, query = begin(asked)
    if risk is not None:
        check_risk(risk, chat.model)
    if text is not None:
        answers = chat.given([query], [text], methods)
    else:
        answers = chat.ask([query], methods, seed=asked.seed, max_new_tokens=asked.max_new_tokens, **how)
    places = (
        bool(files.html) or files.token is not None
    )  # only the page and the picture of a token need layouts, and not every family has them
    reading = {"risk": risk, "detectors": detectors, "layouts": places}
    explained = chat.explain(answers, layers=layers, normalise=normalise, **reading)[0]
    if files.token is not None:
        check_token(files.token, len(explained.tokens))
    return explained, write_files(explained, files)


def check_token(token: int, count: int) -> None:
    """Refuse a token that the answer does not have, before any file is written."""
    if not -count <= token < count:
        raise SettingError(f"--token {token}: the answer has {count} tokens, counted from 0")


def write_files(explained: Explanation, files: Files) -> list[str]:
    """Write every file that was asked for; returns their paths."""
    if files.html:
        explained.to_html(files.html)
    if files.png:
        explained.plot(files.png, files.token)
    if files.save:
        explained.trace.save(files.save, files.compact)
    return [str(path) for path in (files.html, files.png, files.save) if path]


def show_json(asked: Asked, explained: Explanation, region: str, written: list[str]) -> None:
    """The numbers on stdout, as one JSON document."""
    from ..report.falls import falls
    from .output import print_json

    answer, risk = explained.answer, explained.risk
    found = {**asked.shown, **answer.to_dict(), **explained.trace.to_dict(0)}
    more = {} if risk is None else risk.to_dict()
    if explained.films:
        from ..chat.explanation import frames_of

        more["video_frames"] = frames_of(explained.films)
    if explained.detectors:
        more["detectors"] = {name: list(values) for name, values in explained.detectors.items()}
    print_json({**found, "region": region, "falls": falls(explained.scores(region)), **more, "files": written})


def show(explained: Explanation, region: str, written: list[str]) -> None:
    """The coloured words on stdout, the files' names on stderr."""
    from .output import console, say

    for detector in explained.detectors or (None,):
        explained.show(console(), region, detector)
    for path in written:
        say(f"wrote {path}", err=True)
