"""Checks on generated sequences: that they belong to their inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lvlm_saliency.errors import SequenceError


def checked_sequences(model: Any, inputs: Mapping[str, Any], sequences: Any) -> Tensor:
    """The generated ids as int64 `[batch, n0 + T]`, prompt included, on the device of the inputs.

    Args:
        model: the model that wrote them.
        inputs: the model's inputs with `input_ids` `[batch, n0]`.
        sequences: that tensor, or the object that `generate(..., return_dict_in_generate=True)` returned.

    Raises:
        SequenceError: another batch, nothing generated, sequences that do not start with the prompt, or ids that are
            not in the model's vocabulary.
    """
    prompt = inputs["input_ids"]
    sequences = getattr(sequences, "sequences", sequences)
    if not isinstance(sequences, Tensor) or sequences.dim() != 2 or sequences.is_floating_point():
        raise SequenceError("sequences must be a LongTensor [batch, n0 + T], what model.generate returned")
    sequences = sequences.to(prompt.device)
    if len(sequences) != len(prompt):
        raise SequenceError(f"{len(sequences)} sequences for {len(prompt)} prompts: pass one sequence per prompt")
    length = prompt.shape[1]
    if sequences.shape[1] <= length:
        raise SequenceError(
            f"sequences hold {sequences.shape[1]} tokens and the prompt {length}: nothing was generated, "
            "or the prompt was cut off; pass prompt and answer together"
        )
    if not torch.equal(sequences[:, :length], prompt):
        sample = int((sequences[:, :length] != prompt).any(1).nonzero()[0])
        raise SequenceError(
            f"sequence {sample} does not start with its prompt: pass the inputs that it was generated from"
        )
    head = model.get_output_embeddings()
    vocabulary = len(model.get_input_embeddings().weight)
    vocabulary = min(vocabulary, getattr(head, "out_features", vocabulary))  # some heads are smaller
    answer = sequences[:, length:]
    if int(answer.min()) < 0 or int(answer.max()) >= vocabulary:
        sample = int(((answer < 0) | (answer >= vocabulary)).any(1).nonzero()[0])
        raise SequenceError(
            f"sequence {sample} holds a token id outside the model's vocabulary of {vocabulary}: it is another model's"
        )
    ids: Tensor = sequences.long()
    return ids
