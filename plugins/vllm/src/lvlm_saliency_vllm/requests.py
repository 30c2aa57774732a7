"""What each running request asked for, kept beside the runner's batch.

A logits processor is the one public hook of a worker that sees a request's `SamplingParams.extra_args`, its prompt and
its place in the batch, and that runs before attention metadata is built. This one changes no logit; where a request
wants readings it takes the entropy of its logits.

vLLM has two model runners with an interface each. Runner V1 tells of requests by their row in the batch, and of every
move; runner V2 by a slot of its table that stays, and it names the slot of each row in the metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from vllm.v1.sample.logits_processor import LogitsProcessor as ProcessorV1
from vllm.v1.sample.logits_processor import MoveDirectionality

from lvlm_saliency_vllm import admission
from lvlm_saliency_vllm.readings import Pending, Store, entropy_of, owners, read_rows
from lvlm_saliency_vllm.settings import Asked, SettingError, asked, check_layers

try:
    from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as ProcessorV2
except ImportError:  # a vLLM from before model runner V2

    class ProcessorV2:
        """Stands in for the interface of a runner that this vLLM has not."""


@dataclass
class Request:
    """One running request that asked for something. prompt: n0; ids: gives the prompt's ids; resumed: it was preempted,
    and goes on; plain_logits: what `apply` sees is the model's own; owner: int8 `[n0]`, made when first needed."""

    asked: Asked
    prompt: int
    ids: Callable[[], Tensor]
    resumed: bool
    plain_logits: bool = True
    owner: Tensor | None = None


@dataclass(frozen=True)
class Rows:
    """The rows of one forward pass that one request's settings concern.

    request: row of the block table; first: number of the first such row among the queries, count: how many, position:
    of the first. The first key that LocoRE strengthens stands before position n0 + 1, so no earlier row is here, except
    that the row of a new token is, where readings are asked for. pending: takes that last row's readings.
    """

    request: int
    first: int
    count: int
    position: int
    prompt: int
    asked: Asked
    pending: Pending | None


@dataclass
class Table:
    """The requests of one engine in this process, by slot: a row of the batch (V1) or of the request table (V2).

    problem, backend_problem: why nothing can be served; refused: why readings, layers and the logit space cannot;
    mean_over_ranks: of the tensor-parallel ranks, None where there is one.
    """

    problem: str = ""
    backend_problem: str = ""
    refused: str = ""
    mean_over_ranks: Callable[[Tensor], Tensor] | None = None
    attached: bool = False
    placeholders: tuple[int, ...] = ()
    requests: dict[int, Request] = field(default_factory=dict)
    waiting: dict[tuple[int, int], Pending] = field(default_factory=dict)
    store: Store = field(default_factory=Store)
    layers: set[int] = field(default_factory=set)
    in_step: bool = False
    slots_stay: bool = False

    def trouble(self) -> str:
        """Why nothing can be served here; empty where it can."""
        if not self.attached:
            return admission.DROPPED
        return self.problem or self.backend_problem or ("" if self.layers else admission.OTHER_BACKEND)

    def check(self, wanted: Asked) -> None:
        """Stop rather than serve a request as if it had asked for nothing."""
        if trouble := self.trouble():
            raise RuntimeError(f"lvlm-saliency-vllm: {trouble}")
        check_layers(wanted, sorted(self.layers))
        locore = wanted.locore
        if self.refused and (wanted.grounding or (locore and (locore.layers is not None or locore.space == "logit"))):
            raise RuntimeError(f"lvlm-saliency-vllm: {self.refused}")

    def rows(self, common: Any) -> list[Rows]:
        """From vLLM's CommonAttentionMetadata: what this pass must change or read; empty for passes of its own."""
        slots = getattr(common, "req_idx", None) if self.slots_stay else range(common.num_reqs)
        if not self.requests or slots is None or not (self.in_step or self.slots_stay):
            return []
        slots = [int(slot) for slot in slots[: common.num_reqs]]
        if not any(slot in self.requests for slot in slots):
            return []
        starts, lengths = common.query_start_loc_cpu.tolist(), _host_lengths(common)
        found = []
        for number, slot in enumerate(slots):
            request = self.requests.get(slot)
            queries = starts[number + 1] - starts[number]
            if request is not None and queries:
                found += self._rows_of(request, slot, number, starts[number], queries, lengths[number] - queries)
        return found

    def _rows_of(self, request: Request, slot: int, number: int, first: int, queries: int, past: int) -> Iterator[Rows]:
        skip = max(0, request.prompt + 1 - past) if request.asked.locore else queries
        token = past + queries - request.prompt  # the one that the last row predicts; below 0 within the prompt
        pending = None
        if request.asked.grounding and token >= 0:
            row = Pending(request.asked.grounding.key, token, self._owner(request))
            pending = self.waiting.setdefault((slot, token), row)
            skip = min(skip, queries - 1)
        if skip < queries:
            position = past + skip
            yield Rows(number, first + skip, queries - skip, position, request.prompt, request.asked, pending)

    def _owner(self, request: Request) -> Tensor:
        if request.owner is None:
            request.owner = owners(request.ids(), self.placeholders)
            if not request.resumed:
                self.store.begin(request.asked.grounding.key, request.owner)
        return request.owner

    def settle(self, slots: Sequence[int], logits: Tensor) -> None:
        """The logits of this pass are there, `[rows, V]`, one row a slot: rows that waited for them are complete."""
        read_rows(list(self.waiting.values()), self.mean_over_ranks)
        for number, slot in enumerate(slots):
            for pending in [one for (of, _), one in self.waiting.items() if of == slot]:
                plain = self.requests[slot].plain_logits
                entropy = entropy_of(logits[number]) if plain else torch.tensor(float("nan"), device=logits.device)
                self.store.add(pending, entropy)
        self.waiting.clear()


def _host_lengths(common: Any) -> list[int]:
    """Keys of each request, without waiting for the device where the host knows them."""
    host = getattr(common, "seq_lens_cpu_upper_bound", None)
    return (common.seq_lens if host is None or common.seq_lens.device.type == "cpu" else host).tolist()


def _mean_over(ranks: int) -> Callable[[Tensor], Tensor] | None:
    """The mean of a tensor over the tensor-parallel ranks, of which every one asks at once."""
    if ranks == 1:
        return None
    from vllm.distributed import tensor_model_parallel_all_reduce

    return lambda part: tensor_model_parallel_all_reduce(part) / ranks


_TABLES: dict[str, Table] = {}


def table_of(vllm_config: Any) -> Table:
    """The table of this engine: the logits processor and the attention backend meet in it."""
    return _TABLES.setdefault(vllm_config.instance_id, Table())


def refuse_unseen(table: Table, vllm_config: Any) -> None:
    """Do not start an engine that would serve our settings as if they were not there.

    Raises:
        ValueError: runner V1 drops the processors of plug-ins under speculative decoding, so nobody sees a request.
    """
    if vllm_config.speculative_config is not None and not table.attached:
        raise ValueError(
            f"lvlm-saliency-vllm: {admission.DROPPED}; start without speculative decoding, or leave this plug-in out "
            "(VLLM_PLUGINS names those to load)"
        )


class SaliencyRequests(ProcessorV1, ProcessorV2):
    """The processor of both runners; see the module."""

    def __init__(self, vllm_config: Any, *given: Any):
        self.table = table_of(vllm_config)
        self.table.attached = True
        self.table.problem = admission.problem(vllm_config)
        self.table.mean_over_ranks = _mean_over(vllm_config.parallel_config.tensor_parallel_size)
        self.table.placeholders = admission.placeholders(vllm_config.model_config.hf_config)
        self.table.requests.clear()
        self.state = given[0] if len(given) == 1 else None  # runner V2 gives its request state, V1 a device and a flag
        self.table.slots_stay = self.state is not None

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request, with HTTP 400, whose settings cannot be served."""
        wanted = asked(sampling_params.extra_args)
        if wanted:
            admission.check(wanted, sampling_params)

    def is_argmax_invariant(self) -> bool:
        """False, so that `apply` sees the logits before temperature, also where every request is greedy."""
        return False

    # --- runner V1 ---

    def update_state(self, batch_update: Any) -> None:
        """Requests that left, came or moved since the last pass."""
        table = self.table
        table.in_step = True
        table.waiting.clear()
        if batch_update is None:
            return
        for row in batch_update.removed:
            table.requests.pop(row, None)
        for row, params, prompt, outputs in batch_update.added:
            table.requests.pop(row, None)
            wanted = asked(params.extra_args)
            if wanted:
                self._add(row, wanted, prompt, resumed=bool(outputs))
        for a, b, direction in batch_update.moved:
            here, there = table.requests.pop(a, None), table.requests.pop(b, None)
            if here is not None:
                table.requests[b] = here
            if there is not None and direction == MoveDirectionality.SWAP:
                table.requests[a] = there

    def _add(self, row: int, wanted: Asked, prompt: Sequence[int] | None, *, resumed: bool) -> None:
        self.table.check(wanted)
        if prompt is None:
            raise SettingError("the prompt was given as embeddings: nothing tells which of them are the picture's")
        self.table.requests[row] = Request(wanted, len(prompt), lambda: torch.tensor(prompt), resumed)

    # --- runner V2 ---

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """A request takes a slot, new or after it was preempted. True where its logits must come by `apply`."""
        table, state = self.table, self.state
        table.requests.pop(req_idx, None)
        wanted = asked(sampling_params.extra_args)
        if not wanted:
            return False
        table.check(wanted)
        prompt = int(state.prompt_len.np[req_idx])
        table.requests[req_idx] = Request(
            wanted,
            prompt,
            partial(self._prompt, req_idx, prompt),
            resumed=int(state.prefill_len.np[req_idx]) > prompt,
            plain_logits=admission.no_penalties(sampling_params),
        )
        return wanted.grounding is not None

    def _prompt(self, slot: int, length: int) -> Tensor:
        # Asked for when the pass begins: until then the ids are staged, and their buffer may be another.
        return self.state.all_token_ids.gpu[slot, :length].long()

    # --- both ---

    def apply(self, logits: Tensor, ctx: Any = None) -> Tensor:
        """The logits as they came; the entropy of those that complete a row is taken."""
        if self.table.waiting:
            slots = range(len(logits)) if ctx is None else [int(slot) for slot in ctx.idx_mapping_np]
            self.table.settle(slots, logits)
        self.table.in_step = False
        return logits
