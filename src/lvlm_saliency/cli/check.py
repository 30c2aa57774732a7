"""`lvlm-saliency check`: verifies this package's guarantees on one checkpoint."""

from __future__ import annotations

from typing import Any

import click

from .options import debug_option, device_option, dtype_option, json_option, model_option, revision_option
from .quiet import quiet

EXAMPLE = """\b
Examples:
  lvlm-saliency check --model llava-hf/llava-1.5-7b-hf
  lvlm-saliency check --model ./my-checkpoint --dtype float32 --json
"""


@click.command(epilog=EXAMPLE)
@model_option
@revision_option
@device_option
@dtype_option
@json_option
@debug_option
def check(model: Any, revision: Any, device: Any, dtype: Any, as_json: bool) -> None:
    """Verify this package's guarantees on a checkpoint, in seconds.

    One line for each: it can be traced; rows equal the definition (eager attention and autograd); neutral settings are
    bit-identical to generate; image tokens are found and have positions; cached decoding equals recomputation; nothing
    is left on the model. Exit status 1 when one fails or the model is refused. In half precision both sides are rounded
    and the tolerances are wide: --dtype float32 is the exact check.
    """
    from lvlm_saliency import load_model

    from ..checks import check as measured
    from .output import print_json, say

    with quiet(as_json):
        report = measured(*load_model(model, dtype=dtype, device=device, revision=revision))
    if as_json:
        print_json({"checkpoint": model, **report.to_dict()})
    else:
        say(*str(report).splitlines())
    if not report.ok:
        raise click.exceptions.Exit(1)
