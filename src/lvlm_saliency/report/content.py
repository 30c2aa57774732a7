"""The content of a report, gathered from traces, for the page, plots, the terminal and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..tracing.words import Context, candidate_texts, context_of, tokenizer_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from lvlm_saliency.model.layout import ImageLayout, VideoLayout
    from lvlm_saliency.model.video import Video

    from ..tracing.result import SaliencyTrace


@dataclass(frozen=True)
class Mark:
    """A span of generated tokens `[start, end)` of which it is known whether it is hallucinated."""

    start: int
    end: int
    kind: Literal["correct", "hallucinated"]


@dataclass(frozen=True)
class Run:
    """One text that a model wrote about a case's pictures, with its trace.

    Attributes:
        name: what the page calls the text.
        tokens: the texts of the generated tokens; joined they are the answer.
        steps: the decisions of SGRS (`GenerateOutput.steps[sample]`), where it was used.
        layouts: one `ImageLayout` per picture of the case.
        films: one `VideoLayout` per video of the case.
        risk: of every token, where a risk model was given (NaN: not an object word).
        cut: whether the limit on new tokens ended the text.
        guard: what a guard did to the text (`guard.events.Event`).
        detectors: by name a score per token (higher: more likely hallucinated; NaN: none).
    """

    name: str
    trace: SaliencyTrace
    tokens: Sequence[str]
    sample: int = 0
    context: Sequence[Context] = ()
    layouts: Sequence[ImageLayout] = ()
    marks: Sequence[Mark] = ()
    steps: Sequence[Any] | None = None
    candidate_names: dict[int, str] = field(default_factory=dict)
    note: str = ""
    risk: Sequence[float] | None = None
    cut: bool = False
    guard: Sequence[Any] = ()
    films: Sequence[VideoLayout] = ()
    detectors: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Number of generated tokens, up to and with the end of the text."""
        return int(self.trace.valid[self.sample].sum())


@dataclass(frozen=True)
class Case:
    """One prompt with its pictures and videos, and one or more texts written about them."""

    title: str
    runs: Sequence[Run]
    images: Sequence[Image] = ()
    prompt: str = ""
    note: str = ""
    videos: Sequence[Video] = ()


@dataclass(frozen=True)
class Table:
    """A small table for the end of a page."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Report:
    """A page: a title, a paragraph, its cases from top to bottom, and tables about all of them."""

    title: str
    cases: Sequence[Case]
    lead: str = ""
    tables: Sequence[Table] = ()


def run_of(
    trace: SaliencyTrace,
    processor: Any = None,
    *,
    name: str = "text",
    sample: int = 0,
    layouts: Sequence[ImageLayout] = (),
    marks: Sequence[Mark] = (),
    steps: Sequence[Any] | None = None,
    note: str = "",
    risk: Sequence[float] | None = None,
    cut: bool = False,
    detectors: Mapping[str, Sequence[float]] | None = None,
) -> Run:
    """Gather one sample of a trace. Without a processor, tokens are shown by their ids."""
    ids = [int(token) for token in trace.token_ids[sample][trace.valid[sample]]]
    return Run(
        name=name,
        trace=trace,
        tokens=_without_text(ids) if processor is None else trace.tokens(processor)[sample],
        sample=sample,
        context=() if processor is None else context_of(trace, processor, sample),
        layouts=layouts,
        marks=marks,
        steps=steps,
        candidate_names={} if processor is None else candidate_texts(tokenizer_of(processor), steps or ()),
        note=note,
        risk=risk,
        cut=cut,
        detectors=detectors or {},
    )


def _without_text(ids: Sequence[int]) -> list[str]:
    return [f"\u27e8{token}\u27e9 " for token in ids]
