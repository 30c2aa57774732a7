"""Asks the questions and traces the answers, in batches; each is saved as soon as it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lvlm_saliency.chat import Answer, Chat, Query
from lvlm_saliency.errors import InputError, ModelError
from lvlm_saliency.files.archives import read_arrays, write_arrays
from lvlm_saliency.studies.factual.questions import SHOWN, Question, kinds
from lvlm_saliency.studies.tokens import MEASURES

NEW_TOKENS = 8
"""Tokens that the model writes after each opening."""
REGIONS = ("output", "previous", "prompt")
ARRAYS = ("number", "position", "token_ids", "logprob", "entropy", *MEASURES, "layers")


@dataclass(frozen=True)
class Asked:
    """What a model wrote after the openings of Q questions, and what a trace says of it.

    Attributes:
        layers: of the model, all of them.
        position: int `[Q]`, how many tokens of its text precede the first that the model wrote (those of the opening).
        token_ids: int `[Q, NEW_TOKENS]`, -1 after an end.
        logprob, entropy: float32 `[Q, NEW_TOKENS]`, nats.
        saliency, attention: float32 `[Q, NEW_TOKENS, layers, REGIONS]`, means over a region of the rows as
            `SaliencyTrace.scores` and `attention_scores` have them; NaN after an end.
    """

    layers: list[int]
    position: np.ndarray
    token_ids: np.ndarray
    logprob: np.ndarray
    entropy: np.ndarray
    saliency: np.ndarray
    attention: np.ndarray


def asked_as(question: Question, tokenizer: Any) -> tuple[str, str]:
    """What a model is given of a question: the prompt, which is the question after the examples of its kind with their
    answers, and the opening of its answer. A model without a chat template goes on with a text, so the prompt ends as
    the examples do."""
    shown = [f"Question: {one.text}\nAnswer: {one.answer}" for one in kinds()[question.kind][:SHOWN]]
    prompt = "\n".join([*shown, f"Question: {question.text}"])
    if getattr(tokenizer, "chat_template", None):
        return prompt, question.opening
    return f"{prompt}\nAnswer:", f" {question.opening}"


def ask(chat: Chat, questions: Sequence[Question], folder: Path, batch_size: int, listener: Any) -> Asked:
    """Every question, asked and traced. Batches that `folder` already holds are read and not made again, so a killed
    study goes on where it stopped.

    Raises:
        InputError: a kept batch is damaged, or is one of other questions.
        ModelError: the model's processor makes more of a text than ids and a mask.
    """
    label = "questions"
    files = {start: folder / f"{start:06d}.npz" for start in range(0, len(questions), batch_size)}
    done = [start for start, file in files.items() if file.exists()]
    listener.begin(label, len(questions), sum(len(questions[start : start + batch_size]) for start in done))
    for start, file in files.items():
        if start not in done:
            batch = questions[start : start + batch_size]
            write_arrays(file, {"number": np.arange(start, start + len(batch)), **_traced(chat, batch)})
            listener.advance(label, len(batch))
    parts = [_load(file, range(len(questions))[start : start + batch_size]) for start, file in files.items()]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in ARRAYS}
    joined.pop("number")
    return Asked(layers=joined.pop("layers")[0].tolist(), **joined)


def _traced(chat: Chat, questions: Sequence[Question]) -> dict[str, np.ndarray]:
    shown = [asked_as(one, chat.tokenizer) for one in questions]
    queries = [Query(prompt) for prompt, _ in shown]
    openings = [_ids(chat, opening) for _, opening in shown]
    written = chat.ask(queries, inputs=_opened(chat, queries, openings), max_new_tokens=NEW_TOKENS)
    # The opening is traced as a part of the answer, so that the answer's words can depend on it as output.
    whole = [[*opening, *answer.token_ids] for opening, answer in zip(openings, written, strict=True)]
    found = chat.trace(chat.given_ids(queries, whole)[0].batch)
    ids, position = _answers(written), np.array([len(opening) for opening in openings])
    rows = position[:, None] + np.arange(NEW_TOKENS)
    rows = np.minimum(rows, found.logprobs.shape[1] - 1)  # after an end, where nothing is kept
    ended = ids < 0

    def own(values: torch.Tensor) -> np.ndarray:
        taken = np.take_along_axis(values.numpy(), rows.reshape(*rows.shape, *[1] * (values.ndim - 2)), axis=1)
        taken[ended] = np.nan
        return taken

    read = {"saliency": found.scores, "attention": found.attention_scores}
    return {
        "position": position,
        "token_ids": ids,
        "logprob": own(found.logprobs),
        "entropy": own(found.entropy),
        "layers": np.broadcast_to(np.array(found.layers), (len(ids), len(found.layers))),
        **{
            measure: own(
                torch.stack(
                    [torch.stack([read[measure](region, [layer]) for region in REGIONS], -1) for layer in found.layers],
                    2,
                )
            )
            for measure in MEASURES
        },
    }


def _ids(chat: Chat, text: str) -> list[int]:
    ids: list[int] = chat.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _opened(chat: Chat, queries: Sequence[Query], openings: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """The inputs of the queries with the opening of each after its prompt, left-padded."""
    inputs = chat.encode(queries, NEW_TOKENS + max(map(len, openings)))
    if more := set(inputs) - {"input_ids", "attention_mask"}:
        raise ModelError(f"the study of facts asks models of text, and this one also takes {', '.join(sorted(more))}")
    prompts, mask = inputs["input_ids"], inputs["attention_mask"].bool()
    rows = [[*own[kept].tolist(), *opening] for own, kept, opening in zip(prompts, mask, openings, strict=True)]
    longest = max(map(len, rows))
    fill = int(prompts[~mask][0]) if not bool(mask.all()) else chat.tokenizer.pad_token_id or 0
    padded = [[fill] * (longest - len(row)) + row for row in rows]
    seen = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return {
        "input_ids": torch.tensor(padded, device=prompts.device),
        "attention_mask": torch.tensor(seen, device=prompts.device),
    }


def _answers(written: Sequence[Answer]) -> np.ndarray:
    """int `[batch, NEW_TOKENS]`: what was written, -1 after its end."""
    return np.array([[*one.token_ids, *[-1] * (NEW_TOKENS - len(one.token_ids))] for one in written])


def _load(file: Path, numbers: range) -> dict[str, np.ndarray]:
    arrays = read_arrays(file)
    for fault in _faults(arrays, numbers):
        raise InputError(f"{file} is damaged ({fault}); delete it, and it is made anew")
    return arrays


def _faults(arrays: Mapping[str, np.ndarray], numbers: range) -> Iterator[str]:
    if missing := sorted(set(ARRAYS) - set(arrays)):
        yield f"{missing[0]} is missing"
        return
    if arrays["number"].tolist() != list(numbers):
        yield "it holds other questions"
    count, layers = len(numbers), arrays["layers"].shape[-1]
    shapes = {"position": (count,), "layers": (count, layers)}
    shapes |= dict.fromkeys(("token_ids", "logprob", "entropy"), (count, NEW_TOKENS))
    shapes |= dict.fromkeys(MEASURES, (count, NEW_TOKENS, layers, len(REGIONS)))
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            yield f"{name} is of another shape"
    if arrays["token_ids"].shape == (count, NEW_TOKENS):
        written = arrays["token_ids"] >= 0
        if not all(np.isfinite(arrays[name][written]).all() for name in ("logprob", "entropy", *MEASURES)):
            yield "a figure is missing"
