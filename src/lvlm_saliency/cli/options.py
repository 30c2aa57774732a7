"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from ..errors import LvlmSaliencyError
from ..interventions.parsing import parse_layers
from . import completion


class Number(click.FloatRange):
    """A finite number of a range; click's own type accepts NaN in every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return found


TOKENS = click.IntRange(1, 1_000_000)
TEXTS = click.IntRange(1, 1_000_000_000)
BATCH = click.IntRange(1, 65_536)
SEED = click.IntRange(0, 2**32 - 1)
RESAMPLES = click.IntRange(0, 1_000_000)
TEMPERATURE = (1e-4, 1e4)
"""Range of temperatures: outside it, logits divided by it are infinite or all equal in float32."""


class Temperature(Number):
    """A temperature to sample at; 0, where it is allowed, is greedy decoding."""

    def __init__(self, zero: bool):
        super().__init__(0, TEMPERATURE[1], min_open=not zero)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if 0 < found < TEMPERATURE[0]:
            self.fail(f"{value} is below {TEMPERATURE[0]:g}, where numbers overflow.", param, ctx)
        return found


class Layers(click.ParamType[Any]):
    """`4-6+9` as a list of layer numbers."""

    name = "layers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return parse_layers(value) if isinstance(value, str) else value
        except LvlmSaliencyError as error:
            self.fail(str(error), param, ctx)


def options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Several decorators as one, applied so that help lists them in this order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


debug_option = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of a failure.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on stdout.")

MODEL = "scenes (the one in the package), a hub id or a folder."
model_option = click.option(
    "--model",
    default="scenes",
    show_default=True,
    metavar="ID",
    shell_complete=completion.models,
    help=MODEL,
)
device_option = click.option(
    "--device",
    metavar="DEVICE",
    shell_complete=completion.devices,
    help="auto (a GPU when there is one, else the processor), spread (over every GPU there is, then memory), cpu, "
    "cuda, cuda:1, mps, ...  [default: auto]",
)

revision_option = click.option("--revision", metavar="REV", help="Branch, tag or commit of a hub checkpoint.")
dtype_option = click.option(
    "--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto", show_default=True
)

input_options = options(
    click.option(
        "--image",
        "images",
        multiple=True,
        metavar="PATH",
        shell_complete=completion.file,
        help="A picture ('-': stdin). Repeatable.",
    ),
    click.option(
        "--video",
        "videos",
        multiple=True,
        metavar="PATH",
        shell_complete=completion.file,
        help="A video: a folder of frames, an animation, or a video file (needs the extra video). Repeatable.",
    ),
    click.option("--prompt", required=True, help="The question or instruction."),
    model_option,
    revision_option,
    device_option,
    dtype_option,
    click.option(
        "--frame", type=click.IntRange(0, 1_000_000), help="Which frame of an animated or many-page picture, from 0."
    ),
    click.option(
        "--frames", type=click.IntRange(1, 1024), help="How many frames to take of each video, evenly.  [default: 8]"
    ),
    click.option("--fps", type=Number(1e-3, 1e3), help="Frames a second of a folder of frames.  [default: 1]"),
)

decoding_options = options(
    click.option(
        "--method",
        "methods",
        multiple=True,
        metavar="SPEC",
        shell_complete=completion.method_names,
        help="NAME or NAME:SETTING=VALUE,... as in sgrs:alpha=0.9,layers=4-6+9; sgrs+locore for both; or "
        "a preset FILE.yaml. Repeatable.",
    ),
    click.option("--max-new-tokens", type=TOKENS, default=128, show_default=True),
    click.option("--temperature", type=Temperature(zero=True), help="Sample at this temperature; 0 is greedy."),
    click.option("--top-p", type=Number(0, 1, min_open=True), help="Sample from the nucleus of this mass."),
    click.option("--seed", type=SEED, default=0, show_default=True, help="Of every draw."),
)


def detector_option(help: str) -> Callable[..., Any]:
    """`--detector NAME`, repeatable, into `detectors`; what it is for differs from command to command."""
    return click.option(
        "--detector", "detectors", multiple=True, metavar="NAME", shell_complete=completion.detector_names, help=help
    )
