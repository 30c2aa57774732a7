"""Decoding by search: the loop of methods that keep several beams, each a copy of the prompt's cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.attention.parts import Generation, Loop, RunInfo
from lvlm_saliency.attention.session import Session
from lvlm_saliency.decoding.beams import Hypothesis, Rules
from lvlm_saliency.decoding.branches import Branch
from lvlm_saliency.errors import SettingError
from lvlm_saliency.model.output import Cost, GenerateOutput, TokenRecord
from lvlm_saliency.model.regions import placeholder_ids

OWN = ("length_penalty", "early_stopping", "diversity_penalty", "num_beam_groups", "low_memory", "assistant_model")
"""Settings of `generate` that a searching method replaces by its own, or that it cannot be used with."""

ROW_BOUND = (
    "prefix_allowed_tokens_fn",
    "guidance_scale",
    "encoder_repetition_penalty",
    "encoder_no_repeat_ngram_size",
    "output_hidden_states",
    "output_attentions",
)
"""Settings that refer to rows of the batch; a search has several rows per sample."""


class BeamSettings(Protocol):
    """The settings that all searching methods share (see `interventions.beam.Beam`), and the name for messages."""

    @property
    def name(self) -> str: ...
    @property
    def n_beams(self) -> int: ...
    @property
    def length_penalty(self) -> float: ...
    @property
    def early_stopping(self) -> bool | str: ...
    @property
    def length_norm(self) -> str: ...


def search_settings(model: Any, method: BeamSettings, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The `generate` settings with which a search is prepared, made from those of the caller.

    Raises:
        SettingError: a setting that cannot be used with a search.
    """
    given = _whole(settings)
    if (beams := given.get("num_beams")) not in (None, 1, method.n_beams):
        raise SettingError(f"{method.name} runs {method.n_beams} beams, not {beams}: set n_beams and drop num_beams")
    if given.get("do_sample"):
        raise SettingError(f"{method.name} searches and does not sample: drop do_sample, temperature and top_p")
    for name in OWN:
        if settings.get(name) is not None:
            raise SettingError(f"{name} cannot be set under {method.name}: use its own settings (n_beams and so on)")
    for name in ROW_BOUND:
        if (value := given.get(name)) is True or value not in (None, False, 1):  # 1.0 is a factor that does nothing
            raise SettingError(f"{method.name} cannot serve {name}, which refers to rows of the batch: drop it")
    if given.get("use_cache") is False:
        raise SettingError(f"{method.name} forks the key/value cache: drop use_cache=False")
    if (returned := texts_asked_for(settings)) > method.n_beams:
        raise SettingError(f"{method.name} keeps {method.n_beams} texts, {returned} were asked for: raise n_beams")
    fixed: dict[str, Any] = {"num_beams": 1, "num_return_sequences": 1, "do_sample": False}
    if model.generation_config.use_cache is False and given.get("use_cache") is None:
        fixed["use_cache"] = True  # a checkpoint's cache settings change no token, and a search needs its own cache
    if model.generation_config.cache_implementation and given.get("cache_implementation") is None:
        fixed["cache_implementation"] = None
    warpers = {name: None for name in ("temperature", "top_p", "top_k") if given.get(name) is None}
    return {**settings, **fixed, **warpers}


def texts_asked_for(settings: Mapping[str, Any]) -> int:
    """How many texts these settings of `generate` ask for, for each sample."""
    return _whole(settings).get("num_return_sequences") or 1


def _whole(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with those of their generation_config."""
    config = settings.get("generation_config")
    return {**({} if config is None else config.to_diff_dict()), **settings}


@dataclass
class Kept:
    """For each step of one sample, where asked for: the processed log-probabilities and the raw logits, `[n, V]`."""

    wants_scores: bool
    wants_logits: bool
    scores: list[Tensor] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)

    def put(self, step: int, scores: Tensor, logits: Tensor) -> None:
        """Keep a step, and drop later ones, which belong to a path that was rolled back."""
        if self.wants_scores:
            self.scores[step:] = [scores]
        if self.wants_logits:
            self.logits[step:] = [logits]


@dataclass
class Task:
    """What a search receives: the prompt's branch and logits `[B, V]`, what `generate` prepared, and whether the scores
    and logits of each step are to be returned. It counts the tokens that are fed (`drafted`)."""

    prompt: Branch
    logits: Tensor
    processors: Any
    criteria: Callable[..., Tensor]
    rules: list[Rules]
    pad: int
    wants: tuple[bool, bool]
    drafted: int = 0

    @property
    def model(self) -> Any:
        return self.prompt.model

    def kept(self) -> Kept:
        """An empty `Kept` for one sample, which keeps what the output is to hold."""
        return Kept(*self.wants)

    def processed(self, branch: Branch, log_probs: Tensor) -> Tensor:
        """The log-probabilities `[R, V]` of a branch's next tokens after every logits processor."""
        found: Tensor = hf.processed_rows(self.processors, branch.origin, branch.ids, log_probs)
        return found

    def stops(self, sample: int) -> Callable[[Tensor], Tensor]:
        """Which continuations int64 `[k, t]` of a sample's prompt have ended."""
        head = self.prompt.ids[sample : sample + 1]

        def stopped(tokens: Tensor) -> Tensor:
            return self.criteria(torch.cat([head.expand(len(tokens), -1), tokens], dim=-1), None)

        return stopped


@dataclass
class Found:
    """A sample's texts, best first, and for each position how often it was decided again and which tokens were refused
    there."""

    texts: list[Hypothesis]
    kept: Kept
    rollbacks: dict[int, int] = field(default_factory=dict)
    rejected: dict[int, list[int]] = field(default_factory=dict)

    def steps(self, text: Hypothesis) -> list[TokenRecord]:
        return [
            TokenRecord(token, rejected=self.rejected.get(at, []), rollbacks=self.rollbacks.get(at, 0))
            for at, token in enumerate(text.tokens.tolist())
        ]


@dataclass
class SearchLoop(Loop):
    """The loop of a searching method.

    Attributes:
        settings: of the method.
        search: returns the texts of every sample.
        returned: number of texts to return per sample.
    """

    settings: BeamSettings
    search: Callable[[Task], list[Found]]
    returned: int = 1

    @property
    def chooses(self) -> bool:
        return True

    def decode(self, generation: Generation) -> GenerateOutput:
        begin = time.perf_counter()
        model, config, streamer = generation.model, generation.config, generation.streamer
        input_ids, session = generation.input_ids, generation.open_session
        pad = hf.pad_token(config)
        edited = bool(generation.parts.acting)
        branch, logits = Branch.of_prompt(model, session, input_ids, config, generation.model_kwargs, edited=edited)
        task = task_of(self.settings, generation, branch, logits)
        found = self.search(task)
        out = _output(task, found, self.returned, session, time.perf_counter() - begin)
        out.eos_token_id, out.pad_token_id = hf.end_tokens(config), None if pad is None else int(pad)
        if config.output_scores:
            out.scores = _by_step([one.kept.scores for one in found])
        if config.output_logits:
            out.logits = _by_step([one.kept.logits for one in found])
        if streamer is not None:  # only at the end is it known which beam wins
            for column in out.sequences[:, input_ids.shape[1] :].T:
                streamer.put(column.cpu())
            streamer.end()
        return out


def task_of(settings: BeamSettings, generation: Generation, branch: Branch, logits: Tensor) -> Task:
    """The task of a search with these settings, behind the prompts of `branch` and their logits `[B, V]`."""
    config, pad = generation.config, hf.pad_token(generation.config)
    return Task(
        branch,
        logits,
        generation.processor,
        generation.criteria,
        _rules(settings, generation.model, generation.open_session, generation.input_ids, config),
        0 if pad is None else int(pad),
        (config.output_scores, config.output_logits),
    )


def search_loop(settings: BeamSettings, search: Callable[[Task], list[Found]], run: RunInfo | None) -> SearchLoop:
    """The loop of `search` for one generation."""
    return SearchLoop(settings, search, 1 if run is None else texts_asked_for(run.settings))


def _rules(method: BeamSettings, model: Any, session: Session, input_ids: Tensor, config: Any) -> list[Rules]:
    lengths = [0] * len(input_ids)
    if method.length_norm == "full":
        padding = None if session.prompt is None else session.prompt.padding
        lengths = _placeholder_lengths(model, input_ids, padding)
    longest = config.max_length - input_ids.shape[1]
    shared = (method.n_beams, method.length_penalty, method.early_stopping)
    return [Rules(*shared, length, hf.end_tokens(config), longest) for length in lengths]


def _placeholder_lengths(model: Any, input_ids: Tensor, padding: Tensor | None) -> list[int]:
    """Lengths of the prompts as older releases of transformers counted them: a picture is one placeholder token, and
    padding does not count."""
    image = torch.isin(input_ids, torch.tensor(placeholder_ids(model), dtype=input_ids.dtype, device=input_ids.device))
    inside = torch.nn.functional.pad(image[:, :-1], (1, 0)) & image  # image tokens behind another image token
    counted = ~inside if padding is None else ~inside & ~padding
    return counted.sum(-1).tolist()


def _output(task: Task, found: list[Found], returned: int, session: Session, seconds: float) -> GenerateOutput:
    texts = [(one, text) for one in found for text in one.texts[:returned]]
    head = task.prompt.ids.repeat_interleave(returned, dim=0)
    width = max(len(text.tokens) for _, text in texts)
    answers = torch.full((len(texts), width), task.pad, dtype=head.dtype, device=head.device)
    for row, (_, text) in zip(answers, texts, strict=True):
        row[: len(text.tokens)] = text.tokens
    steps = [one.steps(text) for one, text in texts]
    cost = Cost(
        forwards=session.forwards,
        drafted=task.drafted,
        kept=sum(map(len, steps)),
        seconds=seconds,
        rollbacks=sum(sum(one.rollbacks.values()) for one in found),
    )
    return GenerateOutput(
        torch.cat([head, answers], dim=-1),
        steps,
        cost,
        sequences_scores=torch.tensor([text.score for _, text in texts]),
    )


def _by_step(samples: list[list[Tensor]]) -> tuple[Tensor, ...]:
    """Per step, the rows of all samples that took it, one sample's beams after the other's."""
    longest = max(map(len, samples))
    return tuple(torch.cat([steps[at] for steps in samples if at < len(steps)]) for at in range(longest))
