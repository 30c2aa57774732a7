"""The CPU backend: vLLM's own kernel for every row; then the rows that a request concerns are changed, or read.

The kernel gives no log-sum-exp, so it is made here for those rows, in torch: the CPU path is for being right.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from vllm.distributed import get_tensor_model_parallel_world_size, tensor_model_parallel_all_reduce
from vllm.model_executor.models.utils import extract_layer_index
from vllm.v1.attention.backend import AttentionType
from vllm.v1.attention.backends.cpu_attn import (
    CPUAttentionBackend,
    CPUAttentionBackendImpl,
    CPUAttentionMetadataBuilder,
)

from lvlm_saliency_vllm import merge
from lvlm_saliency_vllm.admission import known_layers
from lvlm_saliency_vllm.readings import read_row
from lvlm_saliency_vllm.requests import Rows, refuse_unseen, table_of

MOST_SCORES = 1 << 24
"""Scores that are held at once, 64 MiB: rows of a long prompt that was recomputed come in blocks."""


class SaliencyCPUBuilder(CPUAttentionMetadataBuilder):
    """vLLM's metadata, and beside them the rows that requests concern."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.table = table_of(self.vllm_config)
        self.table.layers |= known_layers(self.layer_names)
        refuse_unseen(self.table, self.vllm_config)
        if self.isa not in ("vec", "vec16"):
            self.table.backend_problem = (
                f"keys are stored for the {self.isa} kernel, in an order that the plug-in does not read; "
                "start with --dtype float32 or float16"
            )

    def build(self, common_prefix_len: int, common_attn_metadata: Any, fast_build: bool = False) -> Any:
        metadata = super().build(common_prefix_len, common_attn_metadata, fast_build)
        metadata.saliency_rows = self.table.rows(common_attn_metadata)
        return metadata


class SaliencyCPUImpl(CPUAttentionBackendImpl):
    """One layer's attention."""

    def forward(
        self, layer, query, key, value, kv_cache, attn_metadata, output, output_scale=None, output_block_scale=None
    ):
        result = super().forward(
            layer, query, key, value, kv_cache, attn_metadata, output, output_scale, output_block_scale
        )
        rows = getattr(attn_metadata, "saliency_rows", None)
        if rows:
            self._check()
            number = extract_layer_index(layer.layer_name)
            keys, values = self._pages(kv_cache)
            heads = output.view(output.shape[0], self.num_heads, self.head_size)
            for one in rows:
                self._one(one, number, query, keys, values, attn_metadata.block_table[one.request], heads)
        return result

    def _check(self) -> None:
        if self.alibi_slopes is not None or self.attn_type != AttentionType.DECODER:
            raise NotImplementedError(
                "lvlm-saliency-vllm: attention with linear biases (ALiBi), and attention of encoders, is not read"
            )

    def _pages(self, kv_cache: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values as `[blocks, block size, G, D]`; the kernel keeps a block's keys as `[D, block size]`."""
        blocks, groups, size, _ = kv_cache.shape
        k, v = kv_cache.view(blocks, groups, 2 * size, -1).chunk(2, dim=2)
        shape, strides = (blocks, groups, self.head_size, size), (k.stride(0), k.stride(1), size, 1)
        return torch.as_strided(k, shape, strides, k.storage_offset()).permute(0, 3, 1, 2), v.permute(0, 2, 1, 3)

    def _one(self, one: Rows, number: int, query, keys, values, table: Tensor, heads: Tensor) -> None:
        locore, grounding = one.asked.locore, one.asked.grounding
        changed = locore is not None and locore.acts_on(number)
        read = one.pending is not None and grounding.reads(number)
        stop = one.first + one.count
        for first, last in self._blocks(one) if changed else [(stop - 1, stop)] if read else []:
            position = torch.arange(first, last) - one.first + one.position
            scores = merge.scores_of(
                query[first:last],
                keys,
                table,
                position,
                int(position[-1]) + 1,
                self.scale,
                self.logits_soft_cap,
                self.sliding_window,
            )
            if changed:
                self._strengthen(one, query[first:last], position, scores, keys, values, table, heads[first:last])
            if read and last == stop:
                self._read(one, number, position[-1:], scores[-1:], changed)

    def _blocks(self, one: Rows) -> Iterator[tuple[int, int]]:
        size = max(1, MOST_SCORES // (self.num_heads * (one.position + one.count)))
        for first in range(one.first, one.first + one.count, size):
            yield first, min(first + size, one.first + one.count)

    def _strengthen(self, one: Rows, q, position, scores, keys, values, table, out: Tensor) -> None:
        locore, count = one.asked.locore, len(q)
        prompt, width = (torch.full((count,), number) for number in (one.prompt, locore.window))
        if locore.space == "logit":
            window = merge.in_window(position, prompt, width, scores.shape[-1])
            weights = merge.edited_weights(scores, window, locore.beta, locore.space, self.sinks)
            new = merge.values_of(weights, values, table)
            # A row whose window is empty keeps the kernel's own output, to the bit.
            out.copy_(torch.where(window.any(1)[:, None, None], new, out.float()))
            return
        o_window, lse_window = merge.window_attention(
            q,
            keys,
            values,
            table[None].expand(count, -1),
            position,
            prompt,
            width,
            locore.window,
            self.scale,
            self.logits_soft_cap,
            self.sliding_window,
        )
        beta, renormalised = torch.full((count,), locore.beta), torch.full((count,), locore.space == "probability")
        lse = merge.log_sum(scores, self.sinks)
        out.copy_(merge.strengthened(out.float(), lse, o_window, lse_window, beta, renormalised))

    def _read(self, one: Rows, number: int, position, scores, changed: bool) -> None:
        locore = one.asked.locore
        beta, space, width = (locore.beta, locore.space, locore.window) if changed else (0.0, "probability", 1)
        window = merge.in_window(position, torch.tensor([one.prompt]), torch.tensor([width]), scores.shape[-1])
        weights = merge.edited_weights(scores, window, beta, space, self.sinks)[0].mean(0)
        if (ranks := get_tensor_model_parallel_world_size()) > 1:  # each rank has some of the heads
            weights = tensor_model_parallel_all_reduce(weights) / ranks
        one.pending.layers[number] = read_row(weights, one.owner, one.prompt)


class SaliencyCPUBackend(CPUAttentionBackend):
    """vLLM's CPU backend with our builder and layers."""

    @staticmethod
    def get_impl_cls() -> type[SaliencyCPUImpl]:
        return SaliencyCPUImpl

    @staticmethod
    def get_builder_cls() -> type[SaliencyCPUBuilder]:
        return SaliencyCPUBuilder
