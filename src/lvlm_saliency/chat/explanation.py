"""`Explanation`: a text and what each of its words depends on, as a page, a plot, terminal text, JSON or a file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lvlm_saliency.short import shown
from lvlm_saliency.tracing.result import SaliencyTrace
from lvlm_saliency.tracing.words import Context

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.console import Console

    from lvlm_saliency.chat.answer import Answer
    from lvlm_saliency.model.layout import ImageLayout, VideoLayout
    from lvlm_saliency.model.output import TokenRecord
    from lvlm_saliency.model.video import Video
    from lvlm_saliency.report.content import Case, Run


@dataclass(frozen=True)
class WordRisk:
    """The risk of every token of a text.

    Attributes:
        values: the risk per token.
        objects: whether the token begins an object word; the risk of any other token has no meaning.
        about: the risk model's record of how it was made.
    """

    values: list[float]
    objects: list[bool]
    about: Mapping[str, Any]

    @classmethod
    def of(cls, risk: Any, trace: SaliencyTrace, sample: int = 0) -> WordRisk:
        """The risk that a `RiskModel` predicts for one sample of a trace. Raises as `RiskModel.predict`."""
        keep = trace.valid[sample]
        values, objects = risk.predict(trace)[sample][keep], risk.names_object(trace)[sample][keep]
        return cls(values.tolist(), objects.tolist(), dict(risk.about))

    @property
    def of_objects(self) -> list[float]:
        """The risk of object words, NaN for every other token."""
        return [value if known else math.nan for value, known in zip(self.values, self.objects, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"risk": self.values, "object_words": self.objects, "risk_model": dict(self.about)}


def guarded_risk(events: Sequence[Any], count: int) -> list[float]:
    """The guard's risk of each of `count` tokens: a number where an object word begins, NaN elsewhere."""
    found = [math.nan] * count
    for event in events:
        if not event.tries and event.span is not None and event.risk is not None:
            first, end = event.span
            found[first:end] = [event.risk] * (end - first)
    return found


def frames_of(films: Sequence[VideoLayout]) -> list[list[dict[str, Any]]]:
    """For each video, what its tokens show, as plain data: frames, their times in seconds, and the positions."""
    return [
        [
            {"frames": list(step.frames), "times": list(step.times), "positions": step.layout.positions.tolist()}
            for step in film.steps
        ]
        for film in films
    ]


@dataclass(frozen=True)
class Explanation:
    """One text with what each of its words depends on. It needs neither the model nor the processor.

    Attributes:
        name: what pages call the text.
        prompt: the question, as pages show it.
        images: the pictures that it was asked about.
        text: the answer.
        tokens: the text of each token; joined they are the whole text.
        trace: of this text alone (a batch of one, without padding).
        layouts: one per picture: which image token stands for which part of it.
        videos: the videos that it was asked about.
        films: one per video: which frames its tokens show, when, and where.
        context: the text tokens of the prompt.
        finish: "stop", or "length" where the limit on new tokens ended the text; None for a text that was given.
        steps: how each token was chosen.
        candidates: the texts of the candidate tokens that were considered, by id.
        risk: the risk of its words, where a risk model was given.
        detectors: by name a score per token, NaN where there is none.
        answer: the `Answer` that was explained; None for a loaded explanation.
    """

    name: str
    prompt: str
    images: Sequence[Image]
    text: str
    tokens: Sequence[str]
    trace: SaliencyTrace
    layouts: Sequence[ImageLayout] = ()
    context: Sequence[Context] = ()
    finish: Literal["stop", "length"] | None = None
    steps: Sequence[TokenRecord] | None = None
    candidates: Mapping[int, str] = field(default_factory=dict)
    risk: WordRisk | None = None
    detectors: Mapping[str, Sequence[float]] = field(default_factory=dict)
    answer: Answer | None = field(default=None, repr=False, compare=False)
    videos: Sequence[Video] = ()
    films: Sequence[VideoLayout] = ()

    def __repr__(self) -> str:
        return shown(
            self,
            text=repr(self.text[:60]),
            tokens=len(self.tokens),
            pictures=len(self.images),
            videos=len(self.videos) or None,
            trace=self.trace,
            risk=None if self.risk is None else "yes",
            detectors=" ".join(self.detectors) or None,
        )

    @property
    def token_ids(self) -> list[int]:
        """The ids of the text's tokens."""
        return self.trace.token_ids[0].tolist()

    @property
    def cut(self) -> bool:
        """Whether the limit on new tokens ended the text."""
        return self.finish == "length"

    def scores(self, region: str = "output", layers: Sequence[int] | None = None) -> list[float]:
        """Saliency of each token over a region; NaN where there is none. See `SaliencyTrace.scores`."""
        return self.trace.scores(region, layers)[0].tolist()

    # --- output ---

    def run(self, name: str | None = None, **more: Any) -> Run:
        """This text as part of a page with several texts; `more`: further fields of `Run` (marks, note)."""
        from lvlm_saliency.report.content import Run

        events = [] if self.answer is None else self.answer.guard
        risk = None if self.risk is None else self.risk.of_objects
        return Run(
            name=self.name if name is None else name,
            trace=self.trace,
            tokens=self.tokens,
            context=self.context,
            layouts=self.layouts,
            films=self.films,
            steps=self.steps,
            candidate_names=dict(self.candidates),
            risk=guarded_risk(events, len(self.tokens)) if risk is None and events else risk,
            cut=self.cut,
            guard=events,
            detectors=self.detectors,
            **more,
        )

    def case(self, title: str = "The answer") -> Case:
        """Prompt, pictures, videos and this one text, as a section of a page."""
        from lvlm_saliency.report.content import Case

        return Case(title=title, images=self.images, runs=[self.run()], prompt=self.prompt, videos=self.videos)

    def to_html(self, path: str | Path, title: str = "What every word depends on") -> Path:
        """Write one self-contained page. Raises `InputError` when the file cannot be written."""
        from lvlm_saliency.report.content import Report
        from lvlm_saliency.report.html import about, write_html

        return write_html(path, Report(title, [self.case()], lead=about(self.trace)))

    def plot(self, path: str | Path, token: int | None = None, **options: Any) -> Path:
        """Write a PNG, SVG or PDF: the map of words over words, or one token's row over pictures and words.

        Args:
            options: layers, region, measure, as in `report.plot.plot_trace`.

        Raises:
            InputError, SettingError: as `plot_trace`.
        """
        from lvlm_saliency.report.plot import plot_run

        return plot_run(self.run(), path, token, images=self.images, videos=self.videos, **options)

    def show(self, console: Console | None = None, region: str = "output", detector: str | None = None) -> None:
        """Print the words: coloured by risk where there is one, else by saliency on a region, or by a detector. Where
        there are videos, their frames with their times and what share of the words' saliency lies on each."""
        from lvlm_saliency.report.console import PlainConsole

        console = PlainConsole() if console is None else console
        self._show_words(console, region, detector)
        if self.films:
            from lvlm_saliency.report.film import print_films

            print_films(console, self.films, self.trace.rows[0].mean((0, 1)).numpy())

    def _show_words(self, console: Console, region: str, detector: str | None) -> None:
        if detector is None and self.risk is not None:
            from lvlm_saliency.report.risk import print_risk

            print_risk(console, self.tokens, self.risk.of_objects, self.cut)
            return
        if detector is not None:
            from lvlm_saliency.report.detector import print_detector

            print_detector(console, self.tokens, self.detectors[detector], detector, self.cut)
            return
        from lvlm_saliency.report.terminal import print_trace

        print_trace(console, self.tokens, self.scores(region), label=f"saliency on {region}", cut=self.cut)

    def to_dict(self) -> dict[str, Any]:
        """Text, steps, scores, risk and detectors as dictionaries, lists and numbers. NaN stays NaN (`cli.output.plain`
        turns it into null)."""
        if self.answer is not None:
            data = self.answer.to_dict()
        else:
            data = {"name": self.name, "text": self.text, "tokens": list(self.tokens), "finish": self.finish}
            if self.steps is not None:
                data["steps"] = [dataclasses.asdict(step) for step in self.steps]
        risk = {} if self.risk is None else self.risk.to_dict()
        found = {"detectors": {name: list(values) for name, values in self.detectors.items()}}
        films = {"video_frames": frames_of(self.films)} if self.films else {}
        return {**data, **self.trace.to_dict(0), **risk, **(found if self.detectors else {}), **films}

    def _repr_html_(self) -> str:
        from lvlm_saliency.report.notebook import words_of

        return words_of(self.run())

    # --- file ---

    def save(self, path: str | Path, compact: str | None = None) -> None:
        """Write everything, pictures included, as one safetensors file; `compact` as in `SaliencyTrace.save`.

        Raises:
            InputError: the file cannot be written.
            SettingError: an unknown `compact`.
        """
        from lvlm_saliency.chat import saved

        saved.write(path, self, compact)

    @classmethod
    def load(cls, path: str | Path) -> Explanation:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, damaged, or no saved explanation.
        """
        from lvlm_saliency.chat import saved

        return cls(**saved.read(path))
