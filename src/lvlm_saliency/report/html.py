"""One HTML file that opens offline: it contains style, scripts, pictures and data, and its policy forbids requests."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..files import write_text
from .content import Case, Report, run_of
from .notebook import fragment
from .pack import ROW_BUDGET
from .page import page_data

if TYPE_CHECKING:
    from PIL.Image import Image

    from lvlm_saliency.model.layout import ImageLayout

    from ..model.output import TokenRecord
    from ..tracing.result import SaliencyTrace

STYLES = ("page.css", "text.css", "figures.css", "film.css")
__all__ = ["about", "fragment", "render_html", "write_html", "write_trace"]
SCRIPTS = ("data.js", "text.js", "picture.js", "film.js", "curves.js", "detail.js", "main.js")


def write_html(path: str | os.PathLike[str], report: Report, *, budget: int = ROW_BUDGET) -> Path:
    """Write `report` to `path` as one self-contained HTML file; returns the path.

    `budget` bounds the bytes of rows in the page before base64: within it every layer can be chosen alone, beyond it
    neighbouring layers share a mean. Raises `InputError` when the file cannot be written.
    """
    return write_text(path, render_html(report, budget=budget))


def write_trace(
    trace: SaliencyTrace,
    path: str | os.PathLike[str],
    processor: Any = None,
    *,
    images: Sequence[Sequence[Image]] | None = None,
    layouts: Sequence[Sequence[ImageLayout]] | None = None,
    sample: int | None = None,
    title: str = "What every word depends on",
    prompt: str = "",
    name: str = "answer",
    steps: Sequence[Sequence[TokenRecord]] | None = None,
    risk: Sequence[Sequence[float]] | None = None,
    cut: Sequence[bool] | None = None,
    budget: int = ROW_BUDGET,
) -> Path:
    """Write a trace as a page, one section per sample; what `SaliencyTrace.to_html` calls.

    Args:
        processor: the model's processor or tokenizer; without it tokens are shown by their ids.
        images, layouts: per sample a list of pictures and of their `ImageLayout`s (see `image_layouts`); a picture
            without a layout is shown without a heat map.
        sample: the row of the batch to show, default all.
        steps: `GenerateOutput.steps`, to show the candidates that SGRS considered for each token.
        risk: per sample the risk of every token (0 to 1, NaN for tokens that begin no object word); the page then opens
            coloured by risk.
        cut: per sample whether the limit on new tokens ended the text.

    Raises:
        InputError: the file cannot be written, or pictures and samples do not match.
    """
    count = len(trace.sequences)
    if sample is not None and not 0 <= sample < count:
        raise InputError(f"there is no sample {sample}; the trace has {count}, counted from 0")
    chosen = range(count) if sample is None else [sample]
    cases = []
    for row in chosen:
        pictures = _of_sample(images, row, "images")
        places = _of_sample(layouts, row, "layouts")
        decisions = None if steps is None else _of_sample(steps, row, "steps")
        risks = None if risk is None else _of_sample(risk, row, "risk")
        ended = cut is not None and bool(cut[row])
        run = run_of(trace, processor, name=name, sample=row, layouts=places, steps=decisions, risk=risks, cut=ended)
        label = f"Answer {row + 1}" if len(chosen) > 1 else "The answer"
        cases.append(Case(title=label, images=pictures, runs=[run], prompt=prompt))
    return write_html(path, Report(title=title, cases=cases, lead=about(trace)), budget=budget)


def about(trace: SaliencyTrace) -> str:
    """How the trace was made, in one line, with only the last name of a model's folder."""
    model = Path(str(trace.settings.get("model") or "unknown"))
    name = model.name if model.is_absolute() else str(model)
    methods = trace.settings.get("methods") or []
    parts = [f"Model {name}", f"{len(trace.layers)} layers traced", *(f"written under {method}" for method in methods)]
    if trace.settings.get("normalise") == "matrix":
        parts.append("rows normalised by their whole map (Eq. 5 read literally)")
    return "; ".join(parts) + "."


def _of_sample(values: Sequence[Sequence[Any]] | None, sample: int, name: str) -> Sequence[Any]:
    if values is None:
        return ()
    if sample >= len(values) or not isinstance(values[sample], (list, tuple)):
        raise InputError(f"{name} must hold one list per sample of the trace; none found for sample {sample}")
    return values[sample]


def render_html(report: Report, *, budget: int = ROW_BUDGET) -> str:
    """The page as a string."""
    return render_page(report, page_data(report, budget))


def render_page(report: Report, data: Any) -> str:
    """The page of a report. `data`: the result of `page_data`, which its scripts show."""
    # Imported here, so that commands that write no page do not load the template engine.
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("lvlm_saliency.report"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        report=report,
        styles="\n".join(static(name) for name in STYLES),
        scripts="\n".join(static(name) for name in SCRIPTS),
        data=script_json(data),
    )


def script_json(value: Any) -> str:
    """JSON that is safe inside a `<script>` element: it cannot end the element or a line."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def static(name: str) -> str:
    """A file of the page's styles or scripts."""
    return resources.files("lvlm_saliency.report").joinpath("static", name).read_text(encoding="utf-8")
