"""`Chat`: a model and its processor, for batches of queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lvlm_saliency.attention.given import editing
from lvlm_saliency.chat.answer import Answer, Batch
from lvlm_saliency.chat.explanation import Explanation, WordRisk
from lvlm_saliency.chat.query import Query
from lvlm_saliency.decoding.loop import generate
from lvlm_saliency.errors import InputError
from lvlm_saliency.model.cut_off import finish
from lvlm_saliency.model.inputs import check_sees, encoded
from lvlm_saliency.model.layout import ImageLayout, VideoLayout, image_layouts, video_layouts
from lvlm_saliency.model.load import load_model
from lvlm_saliency.model.regions import end_token_ids
from lvlm_saliency.model.templates import answer_ids
from lvlm_saliency.tracing.one_pass import trace
from lvlm_saliency.tracing.result import SaliencyTrace
from lvlm_saliency.tracing.words import context_of, tokenizer_of

if TYPE_CHECKING:
    from lvlm_saliency.detection.mention import Mention

SETTINGS = {"num_beams": 1, "do_sample": False, "temperature": None, "top_p": None, "top_k": None}
"""Greedy decoding, in place of the checkpoint's own defaults."""


@dataclass(frozen=True)
class _Places:
    """Where tokens lie in the pictures and videos of each sample of a batch."""

    pictures: list[list[ImageLayout]]
    videos: list[list[VideoLayout]]


@dataclass
class Chat:
    """A model and its processor: makes answers from queries, and explanations from answers.

    Attributes:
        model: the model, in eval mode.
        processor: its processor, or its tokenizer.
        name: what pages and files call the model; default the name or path that it was loaded from.
        dtype: of the pictures' values; None for the processor's own.
    """

    model: Any
    processor: Any
    name: str = ""
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        self.name = self.name or self.model.config.name_or_path
        self.tokenizer = tokenizer_of(self.processor)
        self.ends = frozenset(end_token_ids(self.model))

    @classmethod
    def load(cls, name_or_path: str, **options: Any) -> Chat:
        """A chat with the model that `load_model` loads; `options` are its keywords. Raises `ModelError`."""
        model, processor = load_model(name_or_path, **options)
        return cls(model, processor, name_or_path)

    def encode(self, queries: Sequence[Query], max_new_tokens: int = 0) -> Any:
        """The model's inputs for all queries together, left-padded, on its device.

        Raises:
            PromptError: a query that the model cannot take, with room for `max_new_tokens`.
        """
        texts = [query.text(self.processor) for query in queries]
        pictures, films = [query.pictures for query in queries], [query.films for query in queries]
        check_sees(self.processor, pictures, films)  # together: some cannot mix them in a batch
        inputs = encoded(self.processor, pictures, texts, self.model, max_new_tokens, films)
        return inputs if self.dtype is None else inputs.to(self.model.device, self.dtype)

    def ask(
        self,
        queries: Sequence[Query],
        methods: Sequence[Any] = (),
        *,
        seed: int | None = None,
        name: str = "answer",
        inputs: Any = None,
        max_new_tokens: int = 128,
        **settings: Any,
    ) -> list[Answer]:
        """One answer to each query, written as one batch.

        Args:
            queries: the questions.
            methods: as in `lvlm_saliency.generate`.
            seed: of torch's generator, and of every method that draws random numbers and has no seed of its own; None
                sets neither.
            name: what pages call the answers.
            inputs: the result of `encode(queries)`, where it is already known.
            max_new_tokens: largest number of tokens of each answer.
            settings: further keywords of `lvlm_saliency.generate` (streamer, sample_ids, do_sample, top_p, ...); the
                default is greedy decoding.

        Raises:
            LvlmSaliencyError: as `encode` and `generate`.
        """
        inputs = self.encode(queries) if inputs is None else inputs
        if seed is not None:
            torch.manual_seed(seed)
        acting = list(methods) if seed is None else seeded(methods, seed)
        how = {**SETTINGS, **settings, "max_new_tokens": max_new_tokens}
        output = generate(self.model, inputs, methods=acting, processor=self.processor, **how)
        batch = Batch(list(queries), inputs, output.sequences, acting, output)
        answers = []
        for sample, (query, steps) in enumerate(zip(queries, output.steps, strict=True)):
            ids = [step.token_id for step in steps]
            ended = finish(ids, self.ends, max_new_tokens)
            answers.append(Answer(query, name, ids, list(methods), ended, batch, sample, self.tokenizer))
        return answers

    def given(
        self, queries: Sequence[Query], texts: Sequence[str], methods: Sequence[Any] = (), name: str = "given text"
    ) -> list[Answer]:
        """Given texts, of any origin, as answers to the queries.

        Raises:
            PromptError: what `encode` refuses, or a text that the model's tokenizer cannot represent.
            InputError: not one text per query.
        """
        if len(texts) != len(queries):
            raise InputError(f"{len(texts)} texts for {len(queries)} queries: give one text per query")
        ids = [answer_ids(self.tokenizer, text, self.ends) for text in texts]
        return self.given_ids(queries, ids, methods, name)

    def given_ids(
        self,
        queries: Sequence[Query],
        ids: Sequence[Sequence[int]],
        methods: Sequence[Any] = (),
        name: str = "given text",
    ) -> list[Answer]:
        """As `given`, with the texts as token ids."""
        inputs = self.encode(queries, max(map(len, ids)))
        prompt: Tensor = inputs["input_ids"]
        answers = torch.tensor(self._padded(ids), dtype=prompt.dtype, device=prompt.device)
        batch = Batch(list(queries), inputs, torch.cat([prompt, answers], dim=1), list(methods))
        return [
            Answer(query, name, list(own), list(methods), None, batch, sample, self.tokenizer)
            for sample, (query, own) in enumerate(zip(queries, ids, strict=True))
        ]

    def _padded(self, ids: Sequence[Sequence[int]]) -> list[list[int]]:
        """The ids padded at their right to equal length."""
        longest = max(map(len, ids))
        pad = self.model.generation_config.pad_token_id
        pad = self.tokenizer.pad_token_id if pad is None else pad
        pad = min(self.ends, default=0) if pad is None else pad
        return [[*own, *[pad] * (longest - len(own))] for own in ids]

    def trace(self, batch: Batch, layers: Sequence[int] | None = None, normalise: str = "row") -> SaliencyTrace:
        """The trace of a batch, under the methods that edited attention while it was written. Raises as `trace`."""
        # The output of `ask` carries its cache, so the prompt is not computed again.
        written = batch.sequences if batch.output is None else batch.output
        found = trace(
            self.model, batch.inputs, written, layers=layers, normalise=normalise, methods=editing(batch.methods)
        )
        found.settings["model"] = self.name
        found = found.with_thinking(self.processor)
        films = self.films(batch)
        return found.with_videos(films) if any(films) else found

    def layouts(self, batch: Batch) -> list[list[ImageLayout]]:
        """The layout of the image tokens of each query's pictures; empty lists without pictures."""
        pictures = [query.pictures for query in batch.queries]
        if not any(pictures):
            return [[] for _ in pictures]
        films = [query.films for query in batch.queries]
        return image_layouts(self.processor, batch.inputs, pictures, self.model, films if any(films) else None)

    def films(self, batch: Batch) -> list[list[VideoLayout]]:
        """Which frames of its videos each token of each query shows, and where; empty lists without videos."""
        return video_layouts(self.processor, batch.inputs, [query.films for query in batch.queries], model=self.model)

    def explain(
        self,
        answers: Sequence[Answer],
        *,
        layers: Sequence[int] | None = None,
        normalise: str = "row",
        risk: Any = None,
        detectors: Sequence[Any] = (),
        mentions: Mapping[int, Sequence[Mention]] | None = None,
        layouts: bool = True,
    ) -> list[Explanation]:
        """What each answer's words depend on; answers of one batch share one pass.

        Args:
            layers, normalise: as in `lvlm_saliency.trace`.
            risk: a `RiskModel`, None for none.
            detectors: published scores of words, by name or as detectors (`lvlm_saliency.detectors()`).
            mentions: by number of the answer, from 0, the words that they judge; default every word.
            layouts: whether to compute the layout of image tokens in the pictures, which heat maps need. That of videos
                is always computed.

        Raises:
            LvlmSaliencyError: as `trace`, and as `image_layouts` for a family whose layout is not known.
        """
        shared: dict[int, tuple[SaliencyTrace, _Places, dict[int, dict[str, list[float]]]]] = {}
        found = []
        for answer in answers:
            batch = answer.batch
            if id(batch) not in shared:
                places = _Places(self.layouts(batch) if layouts else [[] for _ in batch.queries], self.films(batch))
                mates = {at: one for at, one in enumerate(answers) if one.batch is batch}
                words = None if mentions is None else [mentions.get(at, ()) for at in mates]
                scores = self.detect(list(mates.values()), detectors, words) if detectors else {}
                shared[id(batch)] = (self.trace(batch, layers, normalise), places, scores)
            whole, places, scores = shared[id(batch)]
            found.append(self._explained(answer, whole, places, risk, scores.get(answer.sample, {})))
        return found

    def detect(
        self,
        answers: Sequence[Answer],
        detectors: Sequence[Any],
        mentions: Sequence[Sequence[Mention]] | None = None,
    ) -> dict[int, dict[str, list[float]]]:
        """Scores of published detectors for answers of one batch: see `chat.scores.token_scores`."""
        from lvlm_saliency.chat.scores import token_scores

        return token_scores(self.model, self.processor, answers, detectors, mentions)

    def _explained(
        self,
        answer: Answer,
        whole: SaliencyTrace,
        places: _Places,
        risk: Any,
        detectors: Mapping[str, Sequence[float]],
    ) -> Explanation:
        own, padding = whole.sample(answer.sample, len(answer.token_ids)), whole.padding(answer.sample)
        return Explanation(
            name=answer.name,
            prompt=answer.query.question,
            images=answer.query.pictures,
            text=answer.text,
            tokens=answer.tokens,
            trace=own,
            layouts=[layout.moved(padding) for layout in places.pictures[answer.sample]],
            videos=answer.query.films,
            films=[layout.moved(padding) for layout in places.videos[answer.sample]],
            context=context_of(own, self.processor),
            finish=answer.finish,
            steps=answer.steps,
            candidates=answer.candidates,
            risk=None if risk is None else WordRisk.of(risk, own),
            detectors=detectors,
            answer=answer,
        )


def seeded(methods: Sequence[Any], seed: int) -> list[Any]:
    """The methods, with `seed` for those that draw random numbers and have no seed of their own."""
    return [method.seeded(seed) for method in methods]
