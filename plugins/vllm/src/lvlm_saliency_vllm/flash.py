"""The FlashAttention backend, chosen with `--attention-backend CUSTOM`.

NOT RUN ON A CARD: none was at hand yet; `python -m lvlm_saliency_vllm.gpu_check` does it. On a CPU the path was run
with vLLM's kernels replaced by plain torch, and ours (`window_kernel`) in Triton's interpreter.

FlashAttention makes the log-sum-exp of every row anyway, so LocoRE costs one small kernel a layer (`window_kernel`).
A pass in which nobody asks for anything takes vLLM's own way.

CUDA graphs: by default attention runs between piecewise graphs, where every setting is served. With
LVLM_SALIENCY_GRAPHS=full it is captured with the rest, which decoding of small batches profits from: then our kernel
is in the graph and reads its rows from two tensors that stay; readings, the logit space and a choice of layers are
refused.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm.model_executor.models.utils import extract_layer_index
from vllm.utils.torch_utils import canonicalize_singleton_dim_strides
from vllm.v1.attention.backend import AttentionCGSupport, AttentionType
from vllm.v1.attention.backends.fa_utils import flash_attn_varlen_func
from vllm.v1.attention.backends.flash_attn import (
    FlashAttentionBackend,
    FlashAttentionImpl,
    FlashAttentionMetadataBuilder,
)

from lvlm_saliency_vllm.layer import Layer
from lvlm_saliency_vllm.requests import Rows, refuse_unseen, table_of
from lvlm_saliency_vllm.window_kernel import FLOATS, INTS, merge_window

FULL_GRAPHS = os.environ.get("LVLM_SALIENCY_GRAPHS", "piecewise") == "full"


class SaliencyFlashBuilder(FlashAttentionMetadataBuilder):
    """vLLM's metadata, and beside them the rows that requests concern, by layer sets."""

    @classmethod
    def get_cudagraph_support(cls, vllm_config: Any, kv_cache_spec: Any) -> AttentionCGSupport:
        if FULL_GRAPHS:
            return super().get_cudagraph_support(vllm_config, kv_cache_spec)
        return AttentionCGSupport.NEVER

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.table = table_of(self.vllm_config)
        self.table.layers |= {extract_layer_index(name) for name in self.layer_names}
        refuse_unseen(self.table, self.vllm_config)
        if getattr(self, "rswa_window", None) is not None or self.model_config.is_mm_prefix_lm:
            self.table.backend_problem = (
                "the model's prompt has an attention of its own, which the GPU path does not call"
            )
        elif getattr(self, "fa4_hd256", False):
            self.table.backend_problem = "FlashAttention 4's kernel for heads of 256 is called in a way of its own"
        if FULL_GRAPHS:
            self.table.refused = (
                "with LVLM_SALIENCY_GRAPHS=full the rows of a pass cannot be read: grounding, locore_layers and "
                "locore_space=logit need LVLM_SALIENCY_GRAPHS=piecewise"
            )
        self.kept: _Kept | None = None
        if FULL_GRAPHS:
            self.kept = _Kept(self.vllm_config.scheduler_config.max_num_batched_tokens, self.device)

    def build(self, common_prefix_len: int, common_attn_metadata: Any, fast_build: bool = False) -> Any:
        metadata = super().build(common_prefix_len, common_attn_metadata, fast_build)
        metadata.saliency_rows = rows = self.table.rows(common_attn_metadata)
        metadata.saliency_window = None
        if self.kept is not None:
            metadata.saliency_window = self.kept.filled(rows, metadata.num_actual_tokens)
        return metadata

    def build_for_cudagraph_capture(self, common_attn_metadata: Any) -> Any:
        metadata = super().build_for_cudagraph_capture(common_attn_metadata)
        if self.kept is not None:
            metadata.saliency_window = self.kept.filled([], metadata.num_actual_tokens)
        return metadata


class _Kept:
    """The two tensors of rows that a captured graph reads, filled anew before each pass."""

    def __init__(self, most: int, device: torch.device):
        self.ints = torch.zeros(len(INTS), most, dtype=torch.int32, device=device)
        self.floats = torch.zeros(len(FLOATS), most, device=device)
        self.used = 0

    def filled(self, rows: list[Rows], count: int) -> tuple[Tensor, Tensor]:
        if self.used:
            self.floats[:, : self.used].zero_()
        self.used = 0
        if acting := [one for one in rows if one.asked.locore]:
            ints, floats = _arrays(acting)
            self.used = ints.shape[1]
            self.ints[:, : self.used].copy_(_sent(ints, self.ints.device), non_blocking=True)
            self.floats[:, : self.used].copy_(_sent(floats, self.floats.device), non_blocking=True)
        return self.ints[:, :count], self.floats[:, :count]


def _arrays(rows: list[Rows]) -> tuple[np.ndarray, np.ndarray]:
    """The rows that LocoRE changes, as `window_kernel` takes them."""
    parts_i, parts_f = [], []
    for one in rows:
        locore, count = one.asked.locore, one.count
        step = np.arange(count, dtype=np.int32)
        same = np.ones(count, dtype=np.int32)
        parts_i.append(
            np.stack(
                [one.first + step, one.request * same, one.position + step, one.prompt * same, locore.window * same]
            )
        )
        flags = np.ones(count, dtype=np.float32)
        parts_f.append(np.stack([locore.beta * flags, (locore.space == "probability") * flags]))
    return np.concatenate(parts_i, 1).astype(np.int32), np.concatenate(parts_f, 1).astype(np.float32)


def _sent(array: np.ndarray, device: torch.device) -> Tensor:
    """On the device, without waiting: pinned memory is freed only when the copy has been made."""
    here = torch.from_numpy(np.ascontiguousarray(array))
    return here.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else here.to(device)


class SaliencyFlashImpl(FlashAttentionImpl):
    """One layer's attention."""

    def forward(
        self, layer, query, key, value, kv_cache, attn_metadata, output, output_scale=None, output_block_scale=None
    ):
        window = getattr(attn_metadata, "saliency_window", None)
        rows = getattr(attn_metadata, "saliency_rows", None) or []
        if self.attn_type != AttentionType.DECODER or not (rows or window is not None):
            return super().forward(
                layer, query, key, value, kv_cache, attn_metadata, output, output_scale, output_block_scale
            )
        self._check(attn_metadata)
        number, count = extract_layer_index(layer.layer_name), attn_metadata.num_actual_tokens
        pages = kv_cache.transpose(1, 2).split(self.head_size, dim=-1)  # keys and values [blocks, size, G, D]
        keys, values = (canonicalize_singleton_dim_strides(one) for one in pages)
        q, out = query[:count], output[:count].view(count, self.num_heads, self.head_size)
        lse = self._attend(q, keys, values, out, attn_metadata)
        this = Layer(number, keys, values, self.scale, self.logits_soft_cap or 0.0, self.sliding_window[0] + 1, None)
        if window is None:
            window = self._window_of(rows, number, q.device, attn_metadata)
        if window is not None:
            merge_window(
                q,
                keys,
                values,
                out,
                lse,
                attn_metadata.block_table,
                *window,
                self.scale,
                self.logits_soft_cap or 0.0,
                self.sliding_window[0] + 1,
            )
        if not FULL_GRAPHS:
            for one in rows:
                self._in_torch(one, this, q, out, attn_metadata.block_table[one.request])
        return output

    def _check(self, metadata: Any) -> None:
        if metadata.causal is not True:
            raise NotImplementedError("lvlm-saliency-vllm: rows that are not causal are not served on a GPU")
        if self.alibi_slopes is not None or self.sinks is not None:
            raise NotImplementedError(
                "lvlm-saliency-vllm: attention with linear biases (ALiBi) or with sinks is not served on a GPU"
            )

    def _attend(self, q: Tensor, keys: Tensor, values: Tensor, out: Tensor, metadata: Any) -> Tensor:
        """vLLM's own call of the kernel, into `out`; and the rows' log-sum-exps, float32 `[H, T]`."""
        _, lse = flash_attn_varlen_func(
            q=q,
            k=keys,
            v=values,
            out=out,
            cu_seqlens_q=metadata.query_start_loc,
            max_seqlen_q=metadata.max_query_len,
            seqused_k=metadata.seq_lens,
            max_seqlen_k=metadata.max_seq_len,
            softmax_scale=self.scale,
            causal=metadata.causal,
            window_size=list(self.sliding_window),
            block_table=metadata.block_table,
            softcap=self.logits_soft_cap,
            scheduler_metadata=metadata.scheduler_metadata,
            num_splits=metadata.max_num_splits,
            fa_version=self.vllm_flash_attn_version,
            return_softmax_lse=True,
        )
        return lse

    @staticmethod
    def _window_of(rows: list[Rows], number: int, device: torch.device, metadata: Any) -> tuple[Tensor, Tensor] | None:
        """The rows that this layer's kernel changes; made once a pass for all layers that change the same requests."""
        acting = [
            one for one in rows if (c := one.asked.locore) and c.space != "logit" and c.acts_on(number) and one.count
        ]
        if not acting:
            return None
        known = metadata.__dict__.setdefault("saliency_sent", {})
        key = tuple(one.request for one in acting)
        if key not in known:
            known[key] = tuple(_sent(array, device) for array in _arrays(acting))
        return known[key]

    def _in_torch(self, one: Rows, layer: Layer, q: Tensor, out: Tensor, table: Tensor) -> None:
        """What the kernel does not do: the logit space, and readings."""
        locore, stop = one.asked.locore, one.first + one.count
        whole = locore is not None and locore.space == "logit" and locore.acts_on(layer.number)
        read = one.pending is not None and one.asked.grounding.reads(layer.number)
        if not (whole or read):
            return
        first = one.first if whole else stop - 1
        position = one.position + first - one.first
        scores = layer.scores(q[first:stop], table, position)
        if whole:
            layer.strengthen(one, q[first:stop], position, scores, table, out[first:stop])
        if read:
            layer.read(one, scores[-1:])


class SaliencyFlashBackend(FlashAttentionBackend):
    """vLLM's FlashAttention backend with our builder and layers."""

    @staticmethod
    def get_name() -> str:
        return "CUSTOM"

    @staticmethod
    def get_impl_cls() -> type[SaliencyFlashImpl]:
        return SaliencyFlashImpl

    @staticmethod
    def get_builder_cls() -> type[SaliencyFlashBuilder]:
        return SaliencyFlashBuilder
