"""Trains a scenes model whose decoder is a real language model: `python -m training.decoder.train`.

The scenes tower and the language model stay as they are; a projector and low-rank adapters (Hu et al. 2022,
arXiv:2106.09685) are trained, and the adapters are merged into the weights that are written. An interrupted run
continues from its last checkpoint.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import LlavaForConditionalGeneration

from lvlm_saliency.allocator import keep_freed_memory
from lvlm_saliency.scenes.world import Scene, generate_scenes
from training.checkpoint import load_checkpoint, read_state, save_checkpoint
from training.data import painted
from training.decoder.build import build
from training.decoder.card import write_card
from training.decoder.learner import RANK, Learner, adapted
from training.evaluate import evaluate
from training.phases import Phase
from training.train import choose, log

SEED = 11
N_TRAIN = 48_000
N_DEV, N_TEST, TEST_SEED = 60, 300, 1
BATCH = 16  # scenes measured at a time: eighteen questions about each share a batch, 3 GB
NEAR_WORDS = Phase("near words", "project", 400, 64, muon_lr=0.0, adam_lr=2e-3, trained=(), warmup=20)
TALK = Phase(
    "talk",
    "joint",
    300,
    8,
    muon_lr=0.0,
    adam_lr=1e-3,
    trained=(),
    warmup=30,
    final=0.05,
    noisy_share=0.5,
    evaluated=160,
    horizon=480,
    settings={
        "length": 320,
        "question_weight": 3.0,
        "extra_where": 0.15,
        "extra_beside": 0.1,
        "decided_weight": 2.5,
        "place_weight": 5.0,
        "doubt": 0.5,
    },
)
FINISH = replace(TALK, name="finish", steps=60, adam_lr=3e-4, warmup=5, final=0.03, horizon=0)
PHASES = (NEAR_WORDS, TALK, FINISH)


def main() -> None:
    """Run what is not done yet, write the model's folder, and measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decoder", type=Path, default=Path(".real/smollm2"), help="folder of the language model")
    parser.add_argument(
        "--scenes", type=Path, default=Path("src/lvlm_saliency/scenes/model"), help="whose tower it has"
    )
    parser.add_argument("--run", type=Path, default=Path("runs/decoder"), help="caches, checkpoints and log")
    parser.add_argument("--out", type=Path, default=Path(".real/scenes-smollm2"), help="folder of the model")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--machine", default=f"{os.cpu_count()} CPU cores", help="what the card calls the machine")
    options = parser.parse_args()
    for folder in (options.decoder, options.scenes):
        if not (folder / "config.json").is_file():
            parser.error(f"{folder} is no folder of a model; make train-decoder fetches the language model")
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    options.run.mkdir(parents=True, exist_ok=True)

    learner = Learner(options.decoder, options.scenes, options.seed)
    pictures, labels = painted(options.run / "cache", N_TRAIN, options.seed, "train", options.threads)
    scenes = generate_scenes(N_TRAIN, options.seed, "train")
    done = read_state(options.run)
    for number, phase in enumerate(PHASES):
        if done and done["phase"] > number:
            continue
        train_phase(learner, number, phase, pictures, labels, scenes, options)
        done = read_state(options.run)
    load_checkpoint(options.run, learner.trained)
    export(learner, options)
    describe(learner, options)


def train_phase(
    learner: Learner,
    number: int,
    phase: Phase,
    pictures: np.ndarray,
    labels: np.ndarray,
    scenes: list[Scene],
    options: argparse.Namespace,
) -> None:
    """One phase from its last checkpoint on; every step's batch depends on (seed, phase, step) alone."""
    optimiser = learner.optimiser(phase)
    state, begin = read_state(options.run), 0
    if state:
        begin = int(state["step"]) if state["phase"] == number else 0
        load_checkpoint(options.run, learner.trained, [optimiser] if begin else None)
        learner.trained.give_values()
    before, began, seen = float(state["seconds"]) if state else 0.0, time.monotonic(), []
    for step in range(begin, phase.steps):
        rng = np.random.default_rng([options.seed, number, step])
        rows = choose(rng, scenes, phase)
        for group in optimiser.param_groups:
            group["lr"] = phase.adam_lr * phase.factor(step)
        loss, figures = learner.loss(phase, pictures[rows], labels[rows], [scenes[row] for row in rows], rng)
        if not math.isfinite(loss.item()):
            raise ArithmeticError(f"{phase.name}, step {step + 1}: the loss is {loss.item()}")
        loss.backward()
        learner.trained.take_gradients()
        torch.nn.utils.clip_grad_norm_(learner.trained.parameters(), 1.0)
        optimiser.step()
        learner.trained.give_values()
        seen.append(figures)
        last, seconds = step + 1 == phase.steps, before + time.monotonic() - began
        if (step + 1) % 25 == 0 or last:
            means = {name: round(float(np.mean([each[name] for each in seen])), 4) for name in seen[0]}
            log(options.run, {"phase": phase.name, "step": step + 1, "seconds": round(seconds), **means})
            seen = []
        if (step + 1) % 50 == 0 or last:
            position = {"phase": number + last, "step": 0 if last else step + 1, "seconds": seconds}
            save_checkpoint(options.run, learner.trained, [optimiser], position)
        if phase.kind == "joint" and (step + 1) % phase.evaluated == 0 and not last:
            export(learner, options)
            dev = evaluate(options.out, generate_scenes(N_DEV, options.seed, "dev"), resamples=200, batch=BATCH)
            log(options.run, {"phase": phase.name, "step": step + 1, "dev": dev})


def export(learner: Learner, options: argparse.Namespace) -> None:
    """Write the model: the base weights as they were, in float32, plus the adapters, and the projector."""
    whole, processor = build(options.decoder, options.scenes)
    whole.model.language_model = adapted(whole.model.language_model)
    values = {name.replace("/", "."): value for name, value in learner.trained.parts.items()}
    left = whole.load_state_dict(values, strict=False).unexpected_keys
    if left:
        raise KeyError(f"these trained parts have no place in the model: {', '.join(left[:3])}")
    whole.model.language_model = whole.model.language_model.merge_and_unload()
    whole.save_pretrained(options.out)
    processor.save_pretrained(options.out)


def describe(learner: Learner, options: argparse.Namespace) -> None:
    """Measure the written weights on the test split, and write the card and the log beside them."""
    figures = evaluate(options.out, generate_scenes(N_TEST, TEST_SEED, "test"), batch=BATCH)
    log(options.run, {"phase": "done", "test": figures})
    facts = {
        "decoder": options.decoder.name,
        "rank": RANK,
        "seed": options.seed,
        "minutes": float(read_state(options.run)["seconds"]) / 60,
        "machine": options.machine,
        "dtype": str(learner.dtype).removeprefix("torch."),
        "n": N_TEST,
        "test_seed": TEST_SEED,
    }
    model = LlavaForConditionalGeneration.from_pretrained(options.out)
    write_card(options.out / "README.md", model, PHASES, figures, facts)
    shutil.copyfile(options.run / "log.jsonl", options.out / "log.jsonl")


if __name__ == "__main__":
    main()
