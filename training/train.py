"""The recipe: `python -m training.train`. Interrupted, it goes on from its last checkpoint."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from lvlm_saliency.scenes.world import Scene, generate_scenes
from training.build import build_model, build_processor
from training.checkpoint import load_checkpoint, read_state, save_checkpoint
from training.data import painted
from training.evaluate import evaluate
from training.phases import Learner, Phase

SEED = 11
N_TRAIN = 48_000
N_DEV = 200

PHASES = (
    Phase("see", 850, 64, muon_lr=3e-3, adam_lr=1.5e-3, trained=("vision_tower", "head")),
    Phase("project", 200, 64, muon_lr=0.0, adam_lr=3e-3, trained=("multi_modal_projector", "embed_tokens")),
    Phase("joint", 2700, 16, muon_lr=2e-3, adam_lr=1.2e-3, trained=("",), warmup=100),
)


def main() -> None:
    """Run the phases that are not done yet, log to `log.jsonl`, and write the fp16 model and its processor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/scenes"), help="caches, checkpoints and log")
    parser.add_argument("--out", type=Path, default=Path("src/lvlm_saliency/scenes/model"), help="folder of the model")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    pictures, labels = painted(options.run / "cache", N_TRAIN, options.seed, "train", options.threads)
    scenes = generate_scenes(N_TRAIN, options.seed, "train")
    learner = Learner(build_model(options.seed))
    done = read_state(options.run)
    for number, phase in enumerate(PHASES):
        if done and done["phase"] > number:
            continue
        start = done["step"] if done and done["phase"] == number else 0
        train_phase(learner, number, phase, start, pictures, labels, scenes, options)
        done = read_state(options.run)
    export(learner, options.out)


def train_phase(
    learner: Learner,
    number: int,
    phase: Phase,
    start: int,
    pictures: np.ndarray,
    labels: np.ndarray,
    scenes: list[Scene],
    options: argparse.Namespace,
) -> None:
    """One phase from step `start`; every step's batch and wording depend on (seed, phase, step) alone."""
    optimisers = phase.optimisers(learner)
    state = read_state(options.run)
    if state:
        load_checkpoint(options.run, learner, optimisers if start else None)
    rates = [[group["lr"] for group in optimiser.param_groups] for optimiser in optimisers]
    began, figures = time.monotonic(), []
    before = float(state["seconds"]) if state else 0.0
    for step in range(start, phase.steps):
        rng = np.random.default_rng([options.seed, number, step])
        rows = np.sort(rng.choice(len(pictures), size=phase.batch, replace=False))
        for optimiser, base in zip(optimisers, rates, strict=True):
            for group, rate in zip(optimiser.param_groups, base, strict=True):
                group["lr"] = rate * phase.factor(step)
        loss, info = phase.loss(learner, pictures[rows], labels[rows], [scenes[row] for row in rows], rng)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in learner.parameters() if p.requires_grad], 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        figures.append(info)
        seconds = before + time.monotonic() - began
        if (step + 1) % 50 == 0:
            means = {name: round(float(np.mean([each[name] for each in figures])), 4) for name in figures[0]}
            log(options.run, {"phase": phase.name, "step": step + 1, "seconds": round(seconds), **means})
            figures = []
        last = step + 1 == phase.steps
        if (step + 1) % 250 == 0 or last:
            position = {"phase": number + last, "step": 0 if last else step + 1, "seconds": seconds}
            save_checkpoint(options.run, learner, optimisers, position)
        if phase.name == "joint" and ((step + 1) % 500 == 0 or last):
            export(learner, options.out)
            figures_dev = evaluate(options.out, generate_scenes(N_DEV, options.seed, "dev"))
            log(options.run, {"phase": phase.name, "step": step + 1, "seconds": round(seconds), "dev": figures_dev})


def export(learner: Learner, out: Path) -> None:
    """Write the model as it ships: fp16 safetensors, processor, tokenizer, chat template."""
    shipped = build_model(0)
    shipped.load_state_dict(learner.model.state_dict())
    shipped.half().save_pretrained(out)
    build_processor().save_pretrained(out)


def log(folder: Path, entry: dict) -> None:
    """Append one line to the run's log and print it."""
    line = json.dumps(entry)
    with (folder / "log.jsonl").open("a") as file:
        file.write(line + "\n")
    print(line, flush=True)


if __name__ == "__main__":
    main()
