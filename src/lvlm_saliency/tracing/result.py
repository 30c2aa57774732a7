"""`SaliencyTrace`: saliency and attention of a generated text, its scores, and its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lvlm_saliency.errors import SettingError
from lvlm_saliency.model.regions import Regions
from lvlm_saliency.short import shown, some
from lvlm_saliency.tracing import membership
from lvlm_saliency.tracing.membership import PARTS, REGIONS, VIDEO
from lvlm_saliency.tracing.pieces import token_text, token_texts

__all__ = ["PARTS", "REGIONS", "SaliencyTrace", "token_text", "token_texts"]

if TYPE_CHECKING:
    from lvlm_saliency.model.layout import VideoLayout


@dataclass
class SaliencyTrace:
    """Saliency and attention of every generated token over everything before it. All tensors float32 on the CPU.

    With n0 prompt positions, T generated tokens and N = n0 + T:

    Attributes:
        rows: `[batch, len(layers), T, N - 1]`. Row t is the query that predicts generated token t; its saliency (sum
            over heads of |A * dL/dA|, paper Eq. 4) with unit L2 norm over the row (or, with `normalise="matrix"`,
            divided by the Frobenius norm of that token's whole map, Eq. 5). Zero to the right of the query, on padding,
            in rows past a sample's end, and wherever a row has no gradient (no other token is possible, or nothing
            after the layer depends on the row).
        attention: the same shape: head-mean attention after the softmax, of the same rows.
        layers: decoder layer numbers, 0-based, in the order of axis 1.
        regions: which region each of the N positions belongs to.
        sequences: int64 `[batch, N]`, prompt and generated ids.
        prompt_length: n0.
        valid: bool `[batch, T]`, False past a sample's end of text.
        logprobs: `[batch, T]` in nats, under the model's own distribution (no processors, no temperature); NaN where
            not valid.
        entropy: `[batch, T]` in nats, of the same distribution.
        settings: how the trace was made (JSON-ready).
        parts: of each text, (kind, first token, one past the last) in order; kinds are "thinking", "answer" and "mark"
            (the tokens that open and close them). None before `with_thinking`, or where the model does not think.
        videos: of each prompt, (first position, one past the last) of every span of video tokens, in order. None before
            `with_videos`.
    """

    rows: Tensor
    attention: Tensor
    layers: list[int]
    regions: Regions
    sequences: Tensor
    prompt_length: int
    valid: Tensor
    logprobs: Tensor
    entropy: Tensor
    settings: dict[str, Any] = field(default_factory=dict)
    parts: list[list[tuple[str, int, int]]] | None = None
    videos: list[list[tuple[int, int]]] | None = None

    def __repr__(self) -> str:
        # The default would print megabytes of numbers.
        return shown(
            self,
            model=repr(self.settings.get("model")),
            rows=list(self.rows.shape),
            tokens=some(self.valid.sum(1).tolist()),
            prompt=self.prompt_length,
            layers=some(self.layers),
            methods=some(self.settings["methods"]) if self.settings.get("methods") else None,
        )

    @property
    def token_ids(self) -> Tensor:
        """The generated ids, int64 `[batch, T]`."""
        return self.sequences[:, self.prompt_length :]

    def tokens(self, processor: Any) -> list[list[str]]:
        """The generated tokens as text, one list per sample, up to its end of text; joined they read as the answer.

        One string per token, as many as `valid` counts. A token that completes no character (a byte or two of an emoji
        or of a character of Chinese) is "", and the character belongs to the token that completes it. Pages and the
        terminal draw such tokens as one piece (`report.chips`).

        Args:
            processor: the model's processor or tokenizer.
        """
        tokenizer = getattr(processor, "tokenizer", processor)
        return [
            token_texts(tokenizer, ids[keep].tolist()) for ids, keep in zip(self.token_ids, self.valid, strict=True)
        ]

    def scores(self, region: str = "output", layers: Sequence[int] | None = None) -> Tensor:
        """Mean saliency of each generated token over a region, averaged over layers (docs/method.md, 2).

        Args:
            region: "output" (earlier generated tokens; the paper's S, Eq. 6), "previous" (the one before, Table 4),
                "image" (pictures and videos), "prompt", "system" or "prompt+output" (the paper's index formula read
                literally); "video" where `with_videos` was told of some.
            layers: decoder layer numbers, default all traced ones.

        Returns:
            float32 `[batch, T]`; NaN where the region is empty before the token, or the token is past the end.
        """
        return self._mean_over(self.rows, region, layers)

    def attention_scores(self, region: str = "output", layers: Sequence[int] | None = None) -> Tensor:
        """As `scores`, from attention instead of saliency."""
        return self._mean_over(self.attention, region, layers)

    def _mean_over(self, rows: Tensor, region: str, layers: Sequence[int] | None) -> Tensor:
        members = membership.keys_of(self, region)  # [batch, T, N - 1]
        index = self.layer_index(layers)
        total = (rows[:, index] * members[:, None]).sum(-1).mean(1)
        scores = total / members.sum(-1)  # 0 / 0 is NaN: an empty region has no score
        return scores.masked_fill(~self.valid, float("nan"))

    @property
    def region_names(self) -> tuple[str, ...]:
        """The regions that `scores` knows for this trace."""
        return (*REGIONS, *(() if self.parts is None else PARTS), *(() if self.videos is None else (VIDEO,)))

    def with_thinking(self, processor: Any) -> SaliencyTrace:
        """The same trace with "thinking" and "answer" as regions, where the model thinks before it answers.

        Args:
            processor: the model's processor or tokenizer. Its response template, or known special tokens, tell where
                thinking begins and ends. The prompt may open it.

        Returns:
            A trace that shares its rows with this one; this one itself where the tokenizer has no such tokens.
        """
        from lvlm_saliency.model.thinking import marks_of, parts_of_ids

        marks = marks_of(processor)
        if marks is None:
            return self
        tokenizer = getattr(processor, "tokenizer", processor)
        parts = []
        for number, tokens in enumerate(self.tokens(processor)):
            given = self.sequences[number, self.padding(number) : self.prompt_length].tolist()
            parts.append(parts_of_ids(marks, tokenizer, given, tokens))
        return replace(self, parts=parts)

    def with_videos(self, layouts: Sequence[Sequence[VideoLayout]]) -> SaliencyTrace:
        """The same trace with "video" as a region.

        Args:
            layouts: of each sample, where the tokens of its videos lie (`lvlm_saliency.video_layouts`).

        Raises:
            SettingError: not one list per sample.
        """
        if len(layouts) != len(self.sequences):
            raise SettingError(f"layouts of {len(layouts)} samples for a trace of {len(self.sequences)}")
        return replace(self, videos=[membership.stretches(own) for own in layouts])

    @property
    def layer_mean(self) -> bool:
        """Whether the trace holds only the mean of its layers (`save(compact="mean")`)."""
        return self.rows.shape[1] != len(self.layers)

    def layer_index(self, layers: Sequence[int] | None) -> list[int]:
        """Indices of decoder layers in axis 1 of the rows; `layers` None means all traced layers.

        Raises:
            SettingError: some were not traced, or the trace holds only the mean of its layers.
        """
        if layers is None:
            return list(range(self.rows.shape[1]))
        missing = [n for n in layers if n not in self.layers]
        if missing or not layers:
            raise SettingError(f"layers {missing or '[]'} were not traced; traced: {self.layers}")
        if self.layer_mean:
            if sorted(layers) == self.layers:
                return [0]
            raise SettingError(
                f"this trace was saved as the mean of its layers, so layers {list(layers)} are no longer in it: "
                "leave layers out, or save without compact='mean'"
            )
        return [self.layers.index(n) for n in layers]

    def sample(self, number: int, length: int | None = None) -> SaliencyTrace:
        """One sample as a batch of one, without the padding that made it as long as the others.

        Positions are counted from its own first token, and its rows end with its text.

        Args:
            number: the row of the batch.
            length: number of tokens of its text, where the rest is known to be padding; default as `valid` counts.

        Raises:
            SettingError: there is no such sample.
        """
        if not 0 <= number < len(self.sequences):
            raise SettingError(f"there is no sample {number}; the trace has {len(self.sequences)}, counted from 0")
        start, count = self.padding(number), int(self.valid[number].sum())
        count = count if length is None else min(count, length)
        end = self.prompt_length + count
        one = slice(number, number + 1)
        rows, attention = (sheet[one, :, :count, start : end - 1] for sheet in (self.rows, self.attention))
        return replace(
            self,
            rows=rows,
            attention=attention,
            regions=self.regions.cut(one, slice(start, end)),
            sequences=self.sequences[one, start:end],
            prompt_length=self.prompt_length - start,
            valid=self.valid[one, :count],
            logprobs=self.logprobs[one, :count],
            entropy=self.entropy[one, :count],
            parts=None if self.parts is None else [membership.cut_parts(self.parts[number], count)],
            videos=None if self.videos is None else [[(a - start, b - start) for a, b in self.videos[number]]],
        )

    def padding(self, number: int) -> int:
        """Number of padding positions before a sample's prompt."""
        return int((~self.regions.padding[number]).long().argmax())

    def save(self, path: str | Path, compact: str | None = None) -> None:
        """Write the trace as one safetensors file, atomically; a digest in it lets `load` detect damage.

        Args:
            path: the file.
            compact: None keeps every number. "half" keeps the cells that a query can see, in half precision relative to
                their row's largest value: the error of each is at most 2^-11 of itself, or 2^-25 of that largest value
                where that is more. "mean" keeps only the mean of the layers, in the same precision: scores, pages and
                plots over all layers remain, those of single layers do not. Sequences, regions and log-probabilities
                are always exact. A prompt of 2,880 tokens, an answer of 1,024 and 32 layers take 1,023 MB, 445 MB and
                14 MB; scores over the output were off by at most 0.006 % ("half") and 0.024 % ("mean").

        Raises:
            InputError: the file cannot be written.
            SettingError: an unknown `compact`.
        """
        from lvlm_saliency.tracing import saved

        saved.write(path, self, compact)

    @classmethod
    def load(cls, path: str | Path) -> SaliencyTrace:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, damaged, or not a saved trace.
        """
        from lvlm_saliency.tracing import saved

        return cls(**saved.read(path))

    def to_dict(self, sample: int = 0) -> dict[str, Any]:
        """One sample as plain lists and numbers that JSON can hold (None for NaN)."""
        keep = self.valid[sample]

        def plain(values: Tensor) -> list[Any]:
            return [None if v != v else v for v in values[keep].tolist()]

        return {
            "token_ids": self.token_ids[sample][keep].tolist(),
            "prompt_length": self.prompt_length,
            "layers": self.layers,
            "scores": {region: plain(self.scores(region)[sample]) for region in self.region_names},
            "attention_scores": {region: plain(self.attention_scores(region)[sample]) for region in self.region_names},
            "logprobs": plain(self.logprobs[sample]),
            "entropy": plain(self.entropy[sample]),
            "settings": self.settings,
            **({} if self.parts is None else {"parts": [list(part) for part in self.parts[sample]]}),
            **({} if self.videos is None else {"video_positions": [list(stretch) for stretch in self.videos[sample]]}),
        }

    def to_html(self, path: str | Path, processor: Any = None, **options: Any) -> None:
        """Write one self-contained HTML page; see `lvlm_saliency.report.html`."""
        from lvlm_saliency.report import html

        html.write_trace(self, path, processor=processor, **options)

    def plot(self, path: str | Path, token: int | None = None, sample: int = 0, **options: Any) -> None:
        """Write a PNG or SVG: the saliency map of the text, or of one token; see `lvlm_saliency.report.plot`."""
        from lvlm_saliency.report import plot

        plot.plot_trace(self, path, token=token, sample=sample, **options)

    def _repr_html_(self) -> str:
        from lvlm_saliency.report import html

        return html.fragment(self)
