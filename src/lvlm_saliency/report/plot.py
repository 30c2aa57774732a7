"""Figures of a trace: the map of words over words, one word's row over picture and words, the score over the text."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, SettingError, did_you_mean
from ..extras import require
from ..files import replacing
from .content import Run, run_of
from .falls import falls, thresholds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from PIL.Image import Image

    from lvlm_saliency.model.layout import ImageLayout
    from lvlm_saliency.model.video import Video

    from ..tracing.result import SaliencyTrace

KINDS = (".png", ".svg", ".pdf")
BLUE, RED, GREY, ORANGE = "#0b4f8a", "#b3261e", "#5b6b7b", "#c95d00"
LONGEST_MAP = 160
TOP_WORDS = 12
FALLBACK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "PingFang SC",
    "Microsoft YaHei",
    "WenQuanYi Zen Hei",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
)


def plot_trace(
    trace: SaliencyTrace,
    path: str | os.PathLike[str],
    token: int | None = None,
    sample: int = 0,
    *,
    processor: Any = None,
    images: Sequence[Image] | None = None,
    layouts: Sequence[ImageLayout] | None = None,
    layers: Sequence[int] | None = None,
    region: str = "output",
    measure: str = "saliency",
) -> Path:
    """Write a PNG, SVG or PDF; what `SaliencyTrace.plot` calls.

    Without `token`: the lower-triangular map of generated tokens (rows) over earlier generated tokens (columns), mean
    of `layers`, above the curve of `scores(region)` with its threshold and drops below it. With `token` (0 is the first
    generated one): that token's row over each picture and over the earlier words.

    Args:
        processor: the model's processor or tokenizer; without it tokens are labelled by their ids.
        images, layouts: of this sample, in the order of the prompt; needed for the picture panels only.
        layers: decoder layer numbers, default all traced ones.
        measure: "saliency" or "attention".

    Raises:
        InputError: the file cannot be written, or its suffix is none of .png, .svg and .pdf.
        SettingError: no such token, layer, region or measure.
    """
    run = run_of(trace, processor, sample=sample, layouts=layouts or ())
    return plot_run(run, path, token, images=images, layers=layers, region=region, measure=measure)


def plot_run(
    run: Run,
    path: str | os.PathLike[str],
    token: int | None = None,
    *,
    images: Sequence[Image] | None = None,
    videos: Sequence[Video] | None = None,
    layers: Sequence[int] | None = None,
    region: str = "output",
    measure: str = "saliency",
) -> Path:
    """As `plot_trace`, for a `Run`, with its marks and layouts, and the frames of its videos."""
    if Path(path).suffix.lower() not in KINDS:
        raise InputError(f"cannot draw {str(path)!r}; end the file name in {', '.join(KINDS)}")
    require("plots", "matplotlib", what="a plot")
    if measure not in ("saliency", "attention"):
        raise SettingError(f"unknown measure {measure!r}{did_you_mean(str(measure), ('saliency', 'attention'))}")
    if token is not None and not -run.length <= token < run.length:
        raise SettingError(f"there is no token {token}; the text has {run.length}, counted from 0")
    trace = run.trace
    rows = _rows(run, layers, measure)
    scores = (trace.scores if measure == "saliency" else trace.attention_scores)(region, layers)
    # No date is written, so that the same trace gives the same file.
    metadata = {"Date": None} if Path(path).suffix.lower() == ".svg" else None
    with _fonts(), replacing(path) as temporary:
        if token is None:
            figure = draw_map(run, rows, scores[run.sample, : run.length].tolist(), measure, region)
        else:
            drawn = token % run.length
            if run.films and videos:
                from .plot_film import draw_token_on_film

                figure = draw_token_on_film(run, rows[drawn], drawn, images or (), videos, measure)
            else:
                figure = draw_token(run, rows, drawn, images or (), measure)
        figure.savefig(temporary, dpi=160, bbox_inches="tight", metadata=metadata)
    return Path(path)


@contextmanager
def _fonts() -> Iterator[None]:
    """For the length of the block, use this machine's fonts for all scripts. Characters that none of them has are drawn
    as boxes."""
    import matplotlib
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    families = ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in installed)]
    with matplotlib.rc_context({"font.family": families}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _rows(run: Run, layers: Sequence[int] | None, measure: str) -> np.ndarray:
    """[T, N - 1] mean over layers."""
    trace = run.trace
    values = trace.rows if measure == "saliency" else trace.attention
    return values[run.sample, trace.layer_index(layers), : run.length].mean(0).numpy()


def draw_map(run: Run, rows: np.ndarray, scores: Sequence[float], measure: str, region: str) -> Figure:
    """The paper's kind of heat map: generated tokens over earlier generated tokens, with the score curve below."""
    count = min(run.length, LONGEST_MAP)
    start = run.trace.prompt_length
    values = np.full((count, count), np.nan)
    for t in range(1, count):
        values[t, :t] = rows[t, start : start + t]
    side = float(np.clip(0.19 * count + 2.2, 5.5, 22))
    figure, (top, below) = new_figure(side + 0.9, side + 2.4, 2, height_ratios=[side, 1.9])
    # The square root makes weaker values visible beside the one strong neighbour that each word has.
    picture = top.imshow(np.sqrt(values), cmap="Blues", interpolation="nearest", vmin=0)
    bar = figure.colorbar(picture, ax=top, fraction=0.035, pad=0.015)
    bar.ax.yaxis.set_major_formatter(lambda root, _: f"{root * root:.3g}")
    bar.set_label(f"{measure}, mean of layers")
    _word_ticks(top, run, count)
    shortened = f" (first {count} of {run.length} tokens)" if count < run.length else ""
    top.set_title(f"How generated words depend on earlier ones{shortened}", loc="left", fontsize=11)
    top.spines[["top", "right"]].set_visible(False)
    draw_curve(below, run, scores, f"{measure} on {region}")
    return figure


def draw_curve(axes: Axes, run: Run, scores: Sequence[float], label: str) -> None:
    """The score over the text, its threshold, and a triangle where the score is below it."""
    at = np.arange(len(scores))
    axes.plot(at, scores, color=BLUE, linewidth=1.6, label=label)
    axes.plot(at, thresholds(scores), color=RED, linewidth=0.9, linestyle="--", label="threshold")
    fallen = [t for t, fell in enumerate(falls(scores)) if fell]
    axes.plot(fallen, [scores[t] for t in fallen], "v", color=RED, markersize=5, label="falls")
    axes.set_xlim(-0.5, max(len(scores) - 0.5, 0.5))
    axes.set_xlabel("generated token")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper right")


def draw_token(run: Run, rows: np.ndarray, token: int, images: Sequence[Image], measure: str) -> Figure:
    """One token's row: over each picture, and its strongest earlier words."""
    shown = [(image, layout) for image, layout in zip(images, run.layouts, strict=False)]
    figure, axes = new_figure(3.9 * len(shown) + 4.6, 4.2, 1, columns=len(shown) + 1)
    panels = np.atleast_1d(axes)
    for panel, (image, layout) in zip(panels, shown, strict=False):
        heat = layout.heatmap(rows[token])
        drawn = draw_heat(panel, image, heat, float(heat.max()))
        figure.colorbar(drawn, ax=panel, fraction=0.045, pad=0.02)
        panel.set_title(f"{measure} on the picture", loc="left", fontsize=10)
    draw_bars(panels[-1], run, rows[token], token, measure)
    word = label_of(run.tokens[token]) or "end of text"
    figure.suptitle(f"What \u201c{word}\u201d (token {token}) depends on", x=0.02, ha="left", fontsize=12)
    return figure


def draw_heat(panel: Axes, image: Image, heat: np.ndarray, largest: float) -> AxesImage:
    """A picture under its heat map, whose brightest colour stands for `largest`."""
    extent = (0, heat.shape[1], heat.shape[0], 0)
    panel.imshow(np.asarray(image), extent=extent)
    # Small values are transparent, so that the picture can be recognised under the map.
    veil = 0.3 + 0.6 * np.sqrt(heat / max(largest, 1e-30))
    panel.set_axis_off()
    return panel.imshow(heat, cmap="inferno", alpha=veil, extent=extent, vmin=0, vmax=max(largest, 1e-30))


def draw_bars(axes: Axes, run: Run, row: np.ndarray, token: int, measure: str) -> None:
    start = run.trace.prompt_length
    texts = {item.position: f"{label_of(item.text)} ({item.region})" for item in run.context}
    texts |= {start + t: f"{label_of(text)} ({t})" for t, text in enumerate(run.tokens[:token])}
    strongest = sorted(texts, key=lambda position: -row[position])[:TOP_WORDS]
    places = np.arange(len(strongest))
    axes.barh(places, row[strongest], color=[BLUE if at >= start else GREY for at in strongest], height=0.72)
    axes.set_yticks(places, [texts[at] for at in strongest], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel(f"{measure}, mean of layers")
    axes.set_title("earlier words", loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _word_ticks(axes: Axes, run: Run, count: int) -> None:
    size = 8 if count <= 60 else 6
    labels = [label_of(text) for text in run.tokens[:count]]
    axes.set_xticks(range(count), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(count), labels, fontsize=size)
    hallucinated = {t for mark in run.marks if mark.kind == "hallucinated" for t in range(mark.start, mark.end)}
    for t in hallucinated & set(range(count)):
        axes.get_yticklabels()[t].set_color(RED)


def label_of(text: str) -> str:
    # "$" would start a formula, control characters have no glyph.
    shown = "".join(character if character.isprintable() else " " for character in text).strip()
    return shown.replace("$", r"\$")[:24]


def new_figure(width: float, height: float, rows: int, columns: int = 1, **grid: Any) -> tuple[Figure, Any]:
    # pyplot would choose a window system and keep every figure; a Figure on the Agg canvas does neither.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, gridspec_kw=grid or None)
