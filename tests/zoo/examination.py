"""What the package does with one language model, held against transformers' own code and autograd.

`python -m zoo.examination` (with `tests/` on the path) examines every type in `decoders.NAMES`, or those that are
named, and prints a table; with `--rows-only` the one of `docs/architectures.md`.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from dataclasses import dataclass, field

import torch

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.errors import LvlmSaliencyError, SettingError, UnsupportedModelError
from zoo import decoders

PROMPT, LENGTH = 9, 15
SETTINGS = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
CLOSE = 1e-4
OUTSIDE = ("vision", "visual", "tower", "audio", "adapter", "projector", "image_embed")
"""Words in the names of what is not the language model."""


@dataclass
class Found:
    """error: largest difference of any row entry from the definition; refused: the reason why there are no rows, or
    None; faults: every other promise that was not kept; row_by_row: whether the trace takes a pass for each token."""

    name: str
    error: float = 0.0
    refused: str | None = None
    faults: list[str] = field(default_factory=list)
    row_by_row: bool = False

    @property
    def right(self) -> bool:
        return not self.faults and (self.refused is not None or self.error < CLOSE)


@contextlib.contextmanager
def eager_maps(model):
    """The attention maps of eager attention, as (layer number, weights in the graph), in the order of the calls."""
    configs = {id(c): c for m in model.modules() if (c := getattr(m, "config", None)) is not None}
    configs = {i: c for i, c in configs.items() if hasattr(c, "_attn_implementation_internal")}
    backends = {i: c._attn_implementation for i, c in configs.items()}
    files = {sys.modules[type(m).__module__] for m in model.modules()}
    own = {file: file.eager_attention_forward for file in files if hasattr(file, "eager_attention_forward")}
    towers = {m for n, m in model.named_modules() if any(word in n for word in OUTSIDE)}
    # Blocks that layers share have no number of their own: theirs is their place in the list of layers.
    places = {m: next((int(p) for p in n.split(".") if p.isdigit()), None) for n, m in model.named_modules()}
    found = []

    def noting(function):
        def attention(module, *args, **kwargs):
            output, weights = function(module, *args, **kwargs)
            if module in towers:
                return output, weights
            number = getattr(module, "layer_idx", None)
            found.append((places[module] if number is None or number < 0 else number, weights))
            return output, weights

        return attention

    for file, function in own.items():
        file.eager_attention_forward = noting(function)
    for config in configs.values():
        config._attn_implementation_internal = "eager"
    try:
        yield found
    finally:
        for file, function in own.items():
            file.eager_attention_forward = function
        for i, config in configs.items():
            config._attn_implementation_internal = backends[i]


def definition(model, sequence: torch.Tensor, prompt: int, **inputs) -> list[dict[int, torch.Tensor]]:
    """For each generated token its unit row of every layer, float64, by one eager forward and backward pass.

    The loss is log((1 - p) / p) in float64, whose gradient is that of -log p but for the factor 1 / (1 - p), which a
    unit row does not show. Where p is 1 to the last bit, -log p has no gradient left to compare with.
    """
    rows = []
    for end in range(prompt, sequence.shape[1]):
        with eager_maps(model) as maps, torch.enable_grad():
            logits = model(input_ids=sequence[:, :end], use_cache=False, **inputs).logits[0, -1].double()
            others = torch.ones_like(logits, dtype=torch.bool)
            others[sequence[0, end]] = False
            loss = torch.logsumexp(logits[others], 0) - logits[sequence[0, end]]
            found = [(number, weights) for number, weights in maps if weights.requires_grad]
            gradients = torch.autograd.grad(loss, [weights for _, weights in found], allow_unused=True)
        row = {}
        for (number, weights), gradient in zip(found, gradients, strict=True):
            if gradient is not None:
                raw = (weights.double() * gradient.double()).abs().sum(1)[0, -1].detach()
                assert number not in row, "a layer that attends twice has no rows to compare with"
                row[number] = raw / raw.norm()
        rows.append(row)
    return rows


def text(seed: int = 1, length: int = LENGTH, batch: int = 1) -> torch.Tensor:
    """Token ids without special ones, int64 `[batch, length]`."""
    return torch.randint(5, decoders.VOCABULARY - 5, (batch, length), generator=torch.Generator().manual_seed(seed))


def prompt_of(ids: torch.Tensor, length: int = PROMPT) -> dict:
    """The model inputs that hold the first tokens."""
    return {"input_ids": ids[:, :length], "attention_mask": torch.ones_like(ids[:, :length])}


def error_of(model, ids: torch.Tensor, prompt: int = PROMPT) -> float:
    """Largest difference between a trace's rows and the definition's."""
    trace = ls.trace(model, prompt_of(ids, prompt), ids)
    worst = 0.0
    for t, rows in enumerate(definition(model, ids, prompt)):
        assert sorted(rows) == trace.layers
        for axis, layer in enumerate(trace.layers):
            mine = trace.rows[0, axis, t].double()
            worst = max(worst, float((mine[: len(rows[layer])] - rows[layer]).abs().max()))
            worst = max(worst, float(mine[len(rows[layer]) :].abs().sum()))
    return worst


def state_of(model):
    """What a session could leave behind."""
    hooks = [len(getattr(m, k)) for m in model.modules() for k in ("_forward_hooks", "_forward_pre_hooks")]
    backends = [str.__str__(m.config._attn_implementation) for m in model.modules() if hasattr(m, "config")]
    graphs = [n for m in model.modules() for n, v in vars(m).items() if isinstance(v, torch.Tensor) and v.requires_grad]
    return hooks, backends, graphs, len(hf._switches)


ROUNDED = {"doge": 1e-5}
"""Doge makes its mask from its values. Where gradients are asked for, torch has no fused kernel for such a mask, and
takes another, which rounds logits otherwise."""


def faults_of(model) -> list[str]:
    """The promises about generation that this model breaks, each as a short sentence."""
    ids = text(seed=2)
    inputs = prompt_of(ids)
    faults = []
    plain = model.generate(**inputs, **SETTINGS, return_dict_in_generate=True, output_logits=True)
    before = state_of(model)
    for method in (ls.LocoRE(beta=0), ls.SGRS(alpha=0, order="greedy", execution="stepwise")):
        got = ls.generate(model, inputs, [method], **SETTINGS, output_logits=True)
        apart = max(float((a - b).abs().max()) for a, b in zip(got.logits, plain.logits, strict=True))
        allowed = ROUNDED.get(model.config.model_type, 0.0) if isinstance(method, ls.SGRS) else 0.0
        if not torch.equal(got.sequences, plain.sequences) or apart > allowed:
            faults.append(f"neutral {method.name} is not bit-identical")
    active = ls.LocoRE(beta=1.5, window=3)
    with contextlib.suppress(LvlmSaliencyError):  # said in one line, and no text was changed
        cached = ls.generate(model, inputs, [active], **SETTINGS, output_logits=True)
        full = ls.generate(model, inputs, [active], **SETTINGS, output_logits=True, use_cache=False)
        apart = max(float((a - b).abs().max()) for a, b in zip(cached.logits, full.logits, strict=True))
        if not torch.equal(cached.sequences, full.sequences) or apart > 2e-2:
            faults.append(f"locore: cached and recomputed logits differ by {apart:.0e}")
    faults += _faults_of_sgrs(model, inputs)
    if state_of(model) != before:
        faults.append("something is left on the model")
    return faults


def _faults_of_sgrs(model, inputs) -> list[str]:
    """SGRS step by step has the scores of a trace, and in blocks the decisions of the steps."""
    faults = []
    gate = {"alpha": 0.7, "top_k": 4, "seed": 3}
    asked = {
        "max_new_tokens": 6,
        "min_new_tokens": 6,
        "suppress_tokens": [0],
    }  # 0 pads: a trace of ids alone ends there
    steps = ls.generate(model, inputs, [ls.SGRS(**gate, execution="stepwise")], **asked)
    trace = ls.trace(model, inputs, steps.sequences)
    prompt = inputs["input_ids"].shape[1]
    for t, step in enumerate(steps.steps[0]):
        if step.score is None:
            continue
        axes = [trace.layers.index(layer) for layer in ls.SGRS(**gate).target_layers(model)]
        wanted = float((trace.rows[0, axes, t, prompt : prompt + t].sum(-1) / t).mean())
        if abs(step.score - wanted) > 1e-3 * max(1.0, abs(wanted)):
            faults.append(f"sgrs: S of token {t} is {step.score:.4f}, its rows say {wanted:.4f}")
            break
    reused = ls.trace(model, inputs, steps)
    if float((reused.rows - trace.rows).abs().max()) > CLOSE:
        faults.append("a trace over the generation's cache has other rows")
    try:
        blocks = ls.generate(model, inputs, [ls.SGRS(**gate, execution="blockwise")], **asked)
    except SettingError:
        return faults  # no blocks on this model, and one line said so
    if not torch.equal(blocks.sequences, steps.sequences):
        faults.append("sgrs: blocks decide otherwise than steps")
    return faults


def examine(name: str, generation: bool = True, **knobs) -> Found:
    """One type of model, with the table's configuration or with other knobs."""
    model = decoders.build(name, **knobs)
    found = Found(name, row_by_row=hf.is_hybrid(model) and not hf.runs_apart(model))
    ids = text()
    before = state_of(model)
    try:
        found.error = error_of(model, ids)
    except UnsupportedModelError as error:
        found.refused = str(error)
        if state_of(model) != before:
            found.faults.append("something is left on the model")
    if generation and found.refused is None:
        found.faults += faults_of(model)
    return found


def table(names=decoders.NAMES, generation: bool = True):
    """The lines of the table in `docs/architectures.md`, as they are found."""
    yield "| architecture | rows | largest difference | remark |"
    yield "|---|---|---|---|"
    for name in names:
        found = examine(name, generation)
        if found.refused is not None:
            kind, remarks = "refused", [found.refused]
        else:
            kind = "exact" if found.error < CLOSE else "WRONG"
            remarks = ["a pass for each token"] if found.row_by_row else []
        error = "" if found.refused is not None else f"{found.error:.0e}"
        yield f"| {name} | {kind} | {error} | {'; '.join(remarks + found.faults)} |"


if __name__ == "__main__":
    import transformers

    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    asked = [word for word in sys.argv[1:] if word != "--rows-only"]
    for line in table(asked or decoders.NAMES, generation="--rows-only" not in sys.argv):
        print(line, flush=True)
