"""The CPU backend: vLLM's own kernel for every row; then the rows that a request concerns are changed, or read.

The kernel gives no log-sum-exp, so it is made here for those rows, in torch: the CPU path is for being right.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from vllm.model_executor.models.utils import extract_layer_index
from vllm.v1.attention.backend import AttentionType
from vllm.v1.attention.backends.cpu_attn import (
    CPUAttentionBackend,
    CPUAttentionBackendImpl,
    CPUAttentionMetadataBuilder,
)

from lvlm_saliency_vllm.layer import Layer
from lvlm_saliency_vllm.requests import Rows, refuse_unseen, table_of

MOST_SCORES = 1 << 24
"""Scores that are held at once, 64 MiB: rows of a long prompt that was recomputed come in blocks."""


class SaliencyCPUBuilder(CPUAttentionMetadataBuilder):
    """vLLM's metadata, and beside them the rows that requests concern."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.table = table_of(self.vllm_config)
        self.table.layers |= {extract_layer_index(name) for name in self.layer_names}
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
            number, pages = extract_layer_index(layer.layer_name), self._pages(kv_cache)
            this = Layer(number, *pages, self.scale, self.logits_soft_cap, self.sliding_window, self.sinks)
            heads = output.view(output.shape[0], self.num_heads, self.head_size)
            for one in rows:
                self._one(one, this, query, attn_metadata.block_table[one.request], heads)
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

    def _one(self, one: Rows, layer: Layer, query: Tensor, table: Tensor, heads: Tensor) -> None:
        locore, grounding = one.asked.locore, one.asked.grounding
        changed = locore is not None and locore.acts_on(layer.number)
        read = one.pending is not None and grounding.reads(layer.number)
        stop = one.first + one.count
        for first, last in self._blocks(one) if changed else [(stop - 1, stop)] if read else []:
            q, position = query[first:last], one.position + first - one.first
            scores = layer.scores(q, table, position)
            if changed:
                layer.strengthen(one, q, position, scores, table, heads[first:last])
            if read and last == stop:
                layer.read(one, scores[-1:])

    def _blocks(self, one: Rows) -> Iterator[tuple[int, int]]:
        size = max(1, MOST_SCORES // (self.num_heads * (one.position + one.count)))
        for first in range(one.first, one.first + one.count, size):
            yield first, min(first + size, one.first + one.count)


class SaliencyCPUBackend(CPUAttentionBackend):
    """vLLM's CPU backend with our builder and layers."""

    @staticmethod
    def get_impl_cls() -> type[SaliencyCPUImpl]:
        return SaliencyCPUImpl

    @staticmethod
    def get_builder_cls() -> type[SaliencyCPUBuilder]:
        return SaliencyCPUBuilder
