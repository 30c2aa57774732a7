"""Trains the shipped model: `python -m training.train`. An interrupted run continues from its last checkpoint.

It trains, writes the model folder, measures the test split, and writes the model card and the log beside the model.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from lvlm_saliency.scenes.captions import write_caption
from lvlm_saliency.scenes.labels import chair_scores
from lvlm_saliency.scenes.world import HIDDEN_EXPECTED, Scene, generate_scenes
from training.build import build_model, build_processor, vocabulary
from training.card import CardFacts, write_card
from training.checkpoint import load_checkpoint, read_state, save_checkpoint
from training.data import painted
from training.evaluate import evaluate
from training.phases import Learner, Phase
from training.precision import ATTENTION, training_dtype

SEED = 11
N_TRAIN = 48_000
N_DEV = 200
N_TEST, TEST_SEED = 1000, 1

_TOWER = ("vision_tower", "head")
_PROJECTOR = ("multi_modal_projector",)
_LAST = {
    "question_weight": 5.0,
    "extra_where": 0.15,
    "extra_beside": 0.2,
    "decided_weight": 2.0,
    "place_weight": 6.0,
}
# The tower is frozen after its own phase: trained along with the rest it forgets (dense loss .08 to .31 in 250 steps).
PHASES = (
    Phase("see", "see", 1100, 64, muon_lr=3e-3, adam_lr=1.5e-3, trained=_TOWER),
    Phase("project", "project", 200, 64, muon_lr=0.0, adam_lr=3e-3, trained=(*_PROJECTOR, "embed_tokens")),
    Phase(
        "talk",
        "joint",
        875,
        16,
        muon_lr=3e-3,
        adam_lr=1.5e-3,
        trained=(*_PROJECTOR, "language_model"),
        warmup=100,
        final=0.15,
        noisy_share=0.47,
        evaluated=875,
        horizon=2500,
        settings={"question_weight": 2.0, "extra_where": 0.15, "decided_weight": 2.5, "doubt": 0.4},
    ),
    Phase(
        "joint",
        "joint",
        875,
        16,
        muon_lr=2.5e-3,
        adam_lr=1.2e-3,
        trained=(*_PROJECTOR, "language_model"),
        warmup=20,
        final=0.12,
        projector_factor=0.5,
        evaluated=500,
        horizon=1900,
        settings={"question_weight": 5.0, "extra_where": 0.2, "decided_weight": 2.0},
    ),
    Phase(
        "place",
        "joint",
        500,
        16,
        muon_lr=1.6e-3,
        adam_lr=7.5e-4,
        trained=(*_PROJECTOR, "language_model"),
        warmup=20,
        final=0.1,
        projector_factor=0.5,
        evaluated=500,
        horizon=750,
        settings={"question_weight": 5.0, "extra_where": 0.2, "decided_weight": 2.0, "place_weight": 6.0},
    ),
    Phase(
        "relate",
        "joint",
        375,
        16,
        muon_lr=1.2e-3,
        adam_lr=6e-4,
        trained=(*_PROJECTOR, "language_model"),
        warmup=20,
        projector_factor=0.5,
        evaluated=375,
        horizon=560,
        noisy_share=0.45,
        settings=_LAST | {"doubt": 0.35},
    ),
    Phase(
        "guess",
        "joint",
        125,
        16,
        muon_lr=6e-4,
        adam_lr=3e-4,
        trained=(*_PROJECTOR, "language_model"),
        warmup=10,
        projector_factor=0.5,
        evaluated=80,
        horizon=240,
        noisy_share=0.53,
        settings=_LAST | {"doubt": 0.5},
    ),
    Phase(
        "finish",
        "joint",
        290,
        16,
        muon_lr=1.1e-3,
        adam_lr=5.5e-4,
        trained=(*_PROJECTOR, "language_model"),
        warmup=10,
        projector_factor=0.5,
        evaluated=200,
        noisy_share=0.55,
        settings=_LAST | {"extra_beside": 0.25, "place_weight": 8.0, "doubt": 0.5},
    ),
)


def main() -> None:
    """Run the phases that are not done yet, log to `log.jsonl`, and write the fp16 model and its processor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/scenes"), help="caches, checkpoints and log")
    parser.add_argument("--out", type=Path, default=Path("src/lvlm_saliency/scenes/model"), help="folder of the model")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--machine", default=f"{os.cpu_count()} CPU cores", help="what the card calls the machine")
    parser.add_argument("--history", type=Path, help="text for the card: how the run went, when not in one go")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    pictures, labels = painted(options.run / "cache", N_TRAIN, options.seed, "train", options.threads)
    scenes = generate_scenes(N_TRAIN, options.seed, "train")
    learner = Learner(build_model(options.seed))
    if training_dtype() is torch.bfloat16:
        learner.model.set_attn_implementation(ATTENTION)
    done = read_state(options.run)
    for number, phase in enumerate(PHASES):
        if done and done["phase"] > number:
            continue
        start = done["step"] if done and done["phase"] == number else 0
        train_phase(learner, number, phase, start, pictures, labels, scenes, options)
        done = read_state(options.run)
    load_checkpoint(options.run, learner)
    export(learner, options.out)
    describe(options)


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
        rows = choose(rng, scenes, phase)
        for optimiser, base in zip(optimisers, rates, strict=True):
            for group, rate in zip(optimiser.param_groups, base, strict=True):
                group["lr"] = rate * phase.factor(step)
        with torch.autocast("cpu", torch.bfloat16, enabled=training_dtype() is torch.bfloat16):
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
        if (step + 1) % 125 == 0 or last:
            position = {"phase": number + last, "step": 0 if last else step + 1, "seconds": seconds}
            save_checkpoint(options.run, learner, optimisers, position)
        if phase.kind == "joint" and ((step + 1) % phase.evaluated == 0 or last):
            export(learner, options.out)
            figures_dev = evaluate(options.out, generate_scenes(N_DEV, options.seed, "dev"))
            log(options.run, {"phase": phase.name, "step": step + 1, "seconds": round(seconds), "dev": figures_dev})


def choose(rng: np.random.Generator, scenes: list[Scene], phase: Phase) -> np.ndarray:
    """The numbers of a batch's scenes, in rising order."""
    if phase.noisy_share is None:
        return np.sort(rng.choice(len(scenes), size=phase.batch, replace=False))
    exact = phase.batch * phase.noisy_share
    noisy = int(exact + 0.05)
    if exact - noisy > 0.05:  # rounded at random, so that the share holds on average
        noisy += rng.random() < exact - noisy
    wanted = [True] * noisy + [False] * (phase.batch - noisy)
    rows = []
    for want in wanted:
        row = int(rng.integers(len(scenes)))
        while bool(scenes[row].hidden) != want or row in rows:
            row = int(rng.integers(len(scenes)))
        rows.append(row)
    return np.sort(rows)


def export(learner: Learner, out: Path) -> None:
    """Write the model as it ships: fp16 safetensors, processor, tokenizer, chat template."""
    shipped = build_model(0)
    shipped.load_state_dict(learner.model.state_dict())
    shipped.half().save_pretrained(out)
    build_processor().save_pretrained(out)


def describe(options: argparse.Namespace) -> None:
    """Measure the shipped weights on the test split, write the card, and put the run's log beside the recipe."""
    scenes = generate_scenes(N_TEST, TEST_SEED, "test")
    figures = evaluate(options.out, scenes)
    log(options.run, {"phase": "done", "test": figures})
    reference = chair_scores([write_caption(scene) for scene in scenes], scenes)
    facts = CardFacts(
        parameters=sum(parameter.numel() for parameter in build_model(0).parameters()),
        size=(options.out / "model.safetensors").stat().st_size,
        words=len(vocabulary()),
        scenes=N_TRAIN,
        seed=options.seed,
        hidden=HIDDEN_EXPECTED,
        minutes=float(read_state(options.run)["seconds"]) / 60,
        machine=options.machine,
        dtype=str(training_dtype()).removeprefix("torch."),
        history=options.history.read_text(encoding="utf-8").strip() if options.history else "One seed, one run.",
        dev=N_DEV,
        n=N_TEST,
        test_seed=TEST_SEED,
        reference_chair_s=reference.chair_s,
        reference_chair_i=reference.chair_i,
    )
    write_card(options.out / "README.md", facts, PHASES, figures)
    shutil.copyfile(options.run / "log.jsonl", Path(__file__).with_name("log.jsonl"))


def log(folder: Path, entry: dict) -> None:
    """Append one line to the run's log and print it."""
    line = json.dumps(entry)
    with (folder / "log.jsonl").open("a") as file:
        file.write(line + "\n")
    print(line, flush=True)


if __name__ == "__main__":
    main()
