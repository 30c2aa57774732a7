"""The notebook view of a trace: its words coloured, without scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any

from .chips import chips, shown
from .colours import FALL, Scale, css, ink, mix
from .content import Run, run_of
from .falls import ALPHA, WINDOW, falls

if TYPE_CHECKING:
    from ..tracing.result import SaliencyTrace

SHOWN_SAMPLES = 8


def fragment(trace: SaliencyTrace, processor: Any = None, region: str = "output") -> str:
    """HTML of every sample's words coloured by `scores(region)`, saliency drops marked with a small triangle.

    Without a processor, the tokenizer is taken from where the trace's model was loaded (a folder, or the local cache;
    nothing is downloaded); where it is not found, token ids are shown. Of a batch only the first `SHOWN_SAMPLES`
    samples are shown.
    """
    processor = local_tokenizer(str(trace.settings.get("model") or "")) if processor is None else processor
    count = len(trace.sequences)
    samples = [_sample(run_of(trace, processor, sample=sample), region) for sample in range(min(count, SHOWN_SAMPLES))]
    layers = f"{len(trace.layers)} layer{'s' * (len(trace.layers) != 1)}"
    more = f", first {SHOWN_SAMPLES} of {count} samples" if count > SHOWN_SAMPLES else ""
    hint = (
        ""
        if processor is not None
        else "; no tokenizer found: <code>trace.to_html(path, processor)</code> shows the words"
    )
    return _framed(samples, region, f"{layers}{more}", hint)


def words_of(run: Run, region: str = "output") -> str:
    """HTML of one text's words, as `fragment` shows them."""
    count = len(run.trace.layers)
    return _framed([_sample(run, region)], region, f"{count} layer{'s' * (count != 1)}")


def _framed(samples: Sequence[str], region: str, layers: str, hint: str = "") -> str:
    return (
        f'<div style="font:15px/2 Georgia,serif;max-width:60em">{"".join(samples)}'
        f'<div style="font:12px/1.6 sans-serif;opacity:.75">saliency on '
        f"&ldquo;{escape(region)}&rdquo;, mean of {layers}; pale = weak, dark = strong, "
        f'<span style="color:{css(FALL)}">&#9662;</span> falls below {ALPHA} &times; the mean of the {WINDOW} before'
        f"{hint}</div></div>"
    )


@lru_cache(maxsize=4)
def local_tokenizer(model: str) -> Any:
    """The tokenizer of a model that is on this machine, else None."""
    from transformers import AutoTokenizer

    if not model:
        return None
    try:
        return AutoTokenizer.from_pretrained(model, local_files_only=True)
    # Not on this machine, or damaged: ids are shown instead, and the view says so.
    except (OSError, ValueError, ImportError):
        return None


def _sample(run: Run, region: str) -> str:
    scores = run.trace.scores(region)[run.sample, : run.length].tolist()
    scale = Scale.of(scores)
    fell = falls(scores)
    words = [
        _word(chip.text, chip.mean(scores), scale, any(fell[t] for t in chip.tokens)) for chip in chips(run.tokens)
    ]
    return f'<p style="margin:.3em 0;white-space:pre-wrap">{"".join(words)}</p>'


def _word(text: str, score: float, scale: Scale, fell: bool) -> str:
    core = text.strip()
    before, _, after = text.partition(core) if core else (text, "", "")
    if math.isnan(score):
        style = "padding:.15em .1em"
    else:
        share = scale.share(score)
        style = f"padding:.15em .1em;border-radius:4px;background:{css(mix(share))};color:{css(ink(mix(share)))}"
    mark = f'<sup style="color:{css(FALL)};line-height:0">&#9662;</sup>' if fell else ""
    title = "no score" if math.isnan(score) else f"score {score:.4g}"
    return f'{escape(before)}<span style="{style}" title="{title}">{escape(shown(text))}</span>{mark}{escape(after)}'
