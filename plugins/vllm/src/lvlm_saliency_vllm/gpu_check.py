"""One short run on a card: is the FlashAttention path right, and what does it cost?

`python -m lvlm_saliency_vllm.gpu_check` (in the environment of vLLM) checks the kernel against plain torch; the tokens
of a small random model, through vLLM in float16, against a float32 model of transformers whose attention has LocoRE's
formula written in; and measures decoding at batches of 1, 16 and 64 under plain vLLM, under the plug-in with nobody
asking, and with LocoRE at a window of 10. The goal is at most 1 % more time. `--tiny` walks the same path on any
device, on a smaller model: it says that this program works, and nothing of a card.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lvlm_saliency_vllm.reference import prompts, random_model, reference_gaps

SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "paper": {"locore_beta": 0.15},
    "strong": {"locore_beta": 4.0, "locore_window": 20},
    "unnormalised": {"locore_beta": 0.3, "locore_window": 6, "locore_space": "unnormalised"},
    "logit": {"locore_beta": 0.4, "locore_window": 5, "locore_space": "logit"},
    "layers": {"locore_beta": 2.0, "locore_window": 3, "locore_layers": [1, 3]},
}
NEAR = 0.03
"""Nats between the two best tokens, in the float32 model, within which half precision may choose the other."""
BATCHES = (1, 16, 64)
LONGEST = 900
"""Seconds after which a part is given up, so that a lent card is not held by one that hangs."""


# --- tokens ---


def check_tokens(tiny: bool) -> dict[str, Any]:
    """Greedy tokens under every setting: how many agree, and where one does not, how near the choice was."""
    import torch
    from vllm import LLM, SamplingParams

    device, count, length = ("cpu", 2, 16) if tiny else ("cuda", 8, 64)
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(Path(folder), 4, 256, 4, 2, 512)
        llm = LLM(folder, **_engine(tiny, max_model_len=512, enforce_eager=True))
        given = [{"prompt_token_ids": ids} for ids in prompts(count, 40, 512)]
        every = [
            (name, extra, number)
            for name, extra in SETTINGS.items()
            if not (os.environ.get("LVLM_SALIENCY_GRAPHS") == "full" and name in ("logit", "layers"))
            for number in range(count)
        ]
        params = [
            SamplingParams(temperature=0, max_tokens=length, ignore_eos=True, extra_args=e or None) for _, e, _ in every
        ]
        outputs = llm.generate([given[number] for *_, number in every], params, use_tqdm=False)
        model = model.float().to(device).eval()
        found: dict[str, Any] = {}
        for (name, extra, number), output in zip(every, outputs, strict=True):
            answer = list(output.outputs[0].token_ids)
            chosen = reference_gaps(model, given[number]["prompt_token_ids"], answer, extra)
            entry = found.setdefault(name, {"tokens": 0, "same": 0, "near": 0, "wrong": 0})
            for token, (best, lead) in zip(answer, chosen, strict=True):
                entry["tokens"] += 1
                entry["same" if token == best else "near" if lead < NEAR else "wrong"] += 1
    found["device"] = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    return found


def check_kernel(tiny: bool) -> dict[str, float]:
    """The kernel against the merge in torch on random pages: the largest difference, by dtype."""
    import torch

    from lvlm_saliency_vllm import merge

    if tiny:
        os.environ["TRITON_INTERPRET"] = "1"
    from lvlm_saliency_vllm.window_kernel import merge_window

    device, rows, found = "cpu" if tiny else "cuda", 4 if tiny else 256, {}
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        random = torch.Generator().manual_seed(1)
        keys, values = (torch.randn(64, 16, 2, 128, generator=random).to(device, dtype) for _ in range(2))
        table = torch.stack([torch.randperm(64, generator=random) for _ in range(rows)]).int().to(device)
        q, out = (torch.randn(rows, 8, 128, generator=random).to(device, dtype) for _ in range(2))
        lse = (torch.randn(8, rows, generator=random) + 5).to(device)
        position = torch.randint(1, 1024, (rows,), generator=random).to(device)
        prompt, window = position // 2, torch.randint(1, 40, (rows,), generator=random).to(device)
        beta, flags = torch.rand(rows, generator=random).to(device), (torch.arange(rows) % 2).float().to(device)
        part = merge.window_attention(q, keys, values, table, position, prompt, window, 40, 128**-0.5)
        want = merge.strengthened(out.float(), lse.T, *part, beta, flags > 0)
        each = torch.arange(rows, device=device)
        ints = torch.stack([each, each, position, prompt, window]).int()
        merge_window(q, keys, values, out, lse, table, ints, torch.stack([beta, flags]), 128**-0.5)
        found[str(dtype).removeprefix("torch.")] = float((out.float() - want).abs().max())
    return found


# --- cost ---


def measure(tiny: bool, ours: bool, repeats: int = 5) -> dict[str, float]:
    """Seconds a decoded token of one engine, by batch and asking: the middle of some runs, less the prompt's part."""
    from vllm import LLM, SamplingParams

    batches, tokens, words = ((1, 2), 8, 512) if tiny else (BATCHES, 256, 32000)
    with tempfile.TemporaryDirectory() as folder:
        shape = (2, 128, 2, 1, words) if tiny else (24, 2048, 32, 8, words)
        random_model(Path(folder), *shape)
        llm = LLM(folder, **_engine(tiny, max_model_len=1024, enable_prefix_caching=False, max_num_seqs=max(batches)))
        found = {}
        for batch in batches:
            given = [{"prompt_token_ids": ids} for ids in prompts(batch, 32 if tiny else 600, words)]
            for name in ("idle", "paper") if ours else ("idle",):

                def run(
                    count: int, extra: Any = SETTINGS[name] if name == "paper" else None, given: Any = given
                ) -> float:
                    params = SamplingParams(temperature=0, max_tokens=count, ignore_eos=True, extra_args=extra)
                    start = time.perf_counter()
                    llm.generate(given, params, use_tqdm=False)
                    return time.perf_counter() - start

                run(tokens)  # warm
                pairs = [run(tokens) - run(1) for _ in range(2 if tiny else repeats)]
                found[f"{name} {batch}"] = statistics.median(pairs) / (tokens - 1)
    return found


def _engine(tiny: bool, **settings: Any) -> dict[str, Any]:
    """Arguments of `vllm.LLM`: the plug-in's backend where it is to be ours."""
    ours = os.environ.get("VLLM_PLUGINS", "lvlm_saliency") == "lvlm_saliency"
    backend = {} if tiny or not ours else {"attention_backend": "CUSTOM"}
    memory = {"gpu_memory_utilization": 0.05, "block_size": 32, "enforce_eager": True} if tiny else {}
    return {"dtype": "float32" if tiny else "float16", "skip_tokenizer_init": True, **backend, **settings, **memory}


class PartError(RuntimeError):
    """A part could not be run to its end."""


def _apart(part: str, tiny: bool, **environment: str) -> Any:
    """One part in processes of its own, as an engine keeps what it took."""
    command = [sys.executable, "-m", "lvlm_saliency_vllm.gpu_check", "--part", part, *(["--tiny"] if tiny else [])]
    settings = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CPU_KVCACHE_SPACE": "1", **environment}
    process = subprocess.Popen(
        command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        told = process.communicate(timeout=LONGEST)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the engine that it started
        process.communicate()
        raise PartError(f"the part {part!r} had not ended after {LONGEST} seconds, and was ended") from None
    lines = [line for line in told.splitlines() if line.startswith("RESULT ")]
    if process.returncode or not lines:
        raise PartError(f"the part {part!r} ended with status {process.returncode}; its messages stand above")
    return json.loads(lines[-1].removeprefix("RESULT "))


def _measured(tiny: bool) -> Iterator[tuple[str, Any]]:
    """Every part's name and what it found, one after the other."""
    yield "kernel", _apart("kernel", tiny)
    yield "tokens", _apart("tokens", tiny)
    yield "plain", _apart("plain", tiny, VLLM_PLUGINS="none")
    for graphs in ("piecewise",) if tiny else ("piecewise", "full"):
        yield graphs, _apart("ours", tiny, LVLM_SALIENCY_GRAPHS=graphs)


def _missing(tiny: bool) -> str:
    """Why nothing can be run here; empty where it can."""
    import torch

    if not tiny and not torch.cuda.is_available():
        return "no CUDA device is here, and nothing was run; --tiny walks the path without one"
    if find_spec("vllm") is None:
        return "vLLM is not installed here, and nothing was run; use the Python of its environment"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """0: right; 1: a kernel's or a token's difference that half precision does not explain; 2: it was not run, or not
    to its end."""
    parser = argparse.ArgumentParser(prog="python -m lvlm_saliency_vllm.gpu_check", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="walk the path on any device, on a smaller model")
    parser.add_argument("--part", choices=["kernel", "tokens", "plain", "ours"], help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.part:
        parts = {
            "kernel": lambda: check_kernel(given.tiny),
            "tokens": lambda: check_tokens(given.tiny),
            "plain": lambda: measure(given.tiny, ours=False),
            "ours": lambda: measure(given.tiny, ours=True),
        }
        print("RESULT " + json.dumps(parts[given.part]()), flush=True)
        return 0
    if missing := _missing(given.tiny):
        print(missing, file=sys.stderr)
        return 2
    found: dict[str, Any] = {}
    try:
        for name, one in _measured(given.tiny):
            found[name] = one
            print(json.dumps({name: one}), flush=True)  # at once: what was found is not lost where the next part fails
    except PartError as error:
        print(error, file=sys.stderr)
        return 2
    return _verdict(found)


def _verdict(found: dict[str, Any]) -> int:
    """Print what it costs and whether it is right; the exit status."""
    for graphs in ("piecewise", "full"):
        for name, seconds in found.get(graphs, {}).items():
            batch = name.split()[1]
            plain = found["plain"][f"idle {batch}"]
            more = f"plain {1e3 * plain:8.3f}: {seconds / plain - 1:+.1%}"
            print(f"{graphs:9} {name:9} {1e3 * seconds:8.3f} ms a step, {more}")
    wrong = sum(entry["wrong"] for entry in found["tokens"].values() if isinstance(entry, dict))
    right = wrong == 0 and found["kernel"]["float32"] < 1e-4
    print("right" if right else f"WRONG: {wrong} tokens, kernel {found['kernel']}")
    return 0 if right else 1


if __name__ == "__main__":
    raise SystemExit(main())
