"""Checks on generated sequences: that they belong to their inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from lvlm_saliency.errors import SequenceError


def checked_sequences(inputs: dict, sequences) -> Tensor:
    """The generated ids as int64 `[batch, n0 + T]`, prompt included, on the device of the inputs.

    Args:
        inputs: the model's inputs with `input_ids` `[batch, n0]`.
        sequences: that tensor, or the object that `generate(..., return_dict_in_generate=True)` returned.

    Raises:
        SequenceError: another batch, nothing generated, or sequences that do not start with the prompt.
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
    return sequences.long()
