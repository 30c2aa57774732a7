"""The recipe's own promises: packing changes nothing, cached questions are plain questions, a run can be resumed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from lvlm_saliency.scenes.captions import write_caption
from lvlm_saliency.scenes.draw import draw_scene
from lvlm_saliency.scenes.questions import pope_questions
from lvlm_saliency.scenes.world import generate_scenes


@torch.no_grad()
def test_a_packed_branch_is_what_the_model_sees_alone(shipped) -> None:
    from training.data import shrink
    from training.packing import IGNORE, pack
    from training.phases import Learner

    model, processor = shipped
    scene = generate_scenes(1, 4)[0]
    packed = pack([scene], np.random.default_rng(0))
    embedding = model.get_input_embeddings()
    kept = embedding.weight.detach().clone()
    learner = Learner(model)  # draws new word embeddings for a fresh start
    embedding.weight.data.copy_(kept)
    picture = draw_scene(scene)
    tokens = learner.project(learner.patches(shrink(picture)[None]))
    embedded = torch.cat([embedding(packed.ids[:, :2]), tokens, embedding(packed.ids[:, 66:])], dim=1)
    hidden = model.model.language_model(
        inputs_embeds=embedded, attention_mask=packed.mask(torch.float32), position_ids=packed.positions
    ).last_hidden_state
    logits = model.lm_head(hidden)[0]
    pixels = processor.image_processor(picture, return_tensors="pt")["pixel_values"]
    for branch in range(1, int(packed.branch.max()) + 1):
        where = packed.branch[0] == branch
        alone = torch.cat([packed.ids[0, :66], packed.ids[0, where]])[None]
        expected = model(input_ids=alone, pixel_values=pixels).logits[0, 66:]
        torch.testing.assert_close(logits[where], expected, rtol=1e-3, atol=1e-3)
        answered = packed.targets[0, where] != IGNORE
        assert torch.equal(packed.targets[0, where][answered][:-1], packed.ids[0, where][-answered.sum() :][:-1])


def test_the_fast_encoder_agrees_with_the_tokenizer(shipped) -> None:
    from training.packing import encode

    for scene in generate_scenes(30, 2):
        text = write_caption(scene)
        assert encode(text) == shipped[1].tokenizer(text, add_special_tokens=False)["input_ids"]


@torch.no_grad()
def test_cached_pope_answers_are_those_of_generate(shipped) -> None:
    from training.evaluate import POPE_CATEGORIES, pope_counts

    model, processor = shipped
    scenes = generate_scenes(2, 6)
    counts = pope_counts(model, processor, scenes)
    rights = {category: [0, 0] for category in POPE_CATEGORIES}
    for question in pope_questions(scenes, ["0", "1"]):
        content = [{"type": "image"}, {"type": "text", "text": question["text"]}]
        prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        scene = int(question["image"])
        inputs = processor(images=draw_scene(scenes[scene]), text=prompt, return_tensors="pt")
        out = model.generate(**inputs, max_new_tokens=3)[0, inputs["input_ids"].shape[1] :]
        said = processor.decode(out, skip_special_tokens=True).lower()
        rights[question["category"]][scene] += said.startswith(question["label"])
    for category, (right, asked) in counts.items():
        assert right.tolist() == rights[category]
        assert asked.tolist() == [6, 6]


def test_muon_updates_are_orthogonal() -> None:
    from training.muon import orthogonalised

    torch.manual_seed(0)
    for shape in ((2, 20, 50), (2, 50, 20)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)))
        assert values.min() > 0.5
        assert values.max() < 1.3


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    from training.checkpoint import load_checkpoint, read_state, save_checkpoint
    from training.muon import Muon

    def parts():
        torch.manual_seed(0)
        module = torch.nn.Linear(6, 6)
        return module, [torch.optim.AdamW([module.bias], lr=0.1), Muon([module.weight], lr=0.1)]

    def step(module, optimisers, seed: int) -> None:
        torch.manual_seed(seed)
        module(torch.randn(4, 6)).square().sum().backward()
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()

    assert read_state(tmp_path) is None
    through, optimisers = parts()
    step(through, optimisers, 1)
    save_checkpoint(tmp_path, through, optimisers, {"step": 1})
    step(through, optimisers, 2)

    resumed, optimisers = parts()
    load_checkpoint(tmp_path, resumed, optimisers)
    assert read_state(tmp_path) == {"step": 1}
    step(resumed, optimisers, 2)
    for one, other in zip(through.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(("step", "factor"), [(0, 0.02), (49, 1.0), (50, 1.0), (1000, 0.03)])
def test_learning_rate_warms_up_and_falls(step: int, factor: float) -> None:
    from training.phases import Phase

    phase = Phase("see", "see", 1000, 4, 1e-3, 1e-3, ("",), warmup=50, final=0.03)
    assert phase.factor(step) == pytest.approx(factor)


def test_the_card_tells_of_every_phase() -> None:
    from training import card, train

    assert {phase.name for phase in train.PHASES} == set(card._ABOUT)


def test_words_that_the_picture_decides_weigh_more() -> None:
    from training.packing import word_weights

    words = re.findall(r"[A-Za-z]+|[.,]", "There is a red cup at the top. Above the cup, there is a dog.")
    weights = word_weights(words, 2.0, 6.0)
    assert [word for word, weight in zip(words, weights, strict=True) if weight == 2] == ["red", "cup", "dog"]
    assert [word for word, weight in zip(words, weights, strict=True) if weight == 6] == ["at", "top", ".", "cup"]


def test_statements_are_counted_by_kind() -> None:
    from training.evaluate import caption_counts

    scene = next(
        scene for scene in generate_scenes(300, 0) if {"cup", "plate"} <= scene.present and "dog" not in scene.present
    )
    cup = next(item for item in scene.objects if item.name == "cup")
    right = f"This is a kitchen with {'a' if cup.count == 1 else 'two'} {cup.colour} cup. A dog is on the left."
    counts = caption_counts([right], [scene])
    assert (counts["said_colour"][0], counts["said_colour_right"][0]) == (1, 1)
    assert (counts["said_place"][0], counts["said_place_right"][0]) == (0, 0)  # of what is absent nothing is asked
    assert counts["statements"][0] == 6
    assert counts["statements_right"][0] == 3 if cup.count < 3 else 2


@pytest.mark.slow
def test_the_recipe_runs_from_nothing_to_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every phase for three steps on 64 scenes: the whole path, with a model that has learned nothing."""
    from dataclasses import replace

    from training import train

    phases = [replace(phase, steps=3, horizon=0, warmup=1, batch=4) for phase in train.PHASES]
    for name, value in {"PHASES": phases, "N_TRAIN": 64, "N_DEV": 3, "N_TEST": 5}.items():
        monkeypatch.setattr(train, name, value)
    copied = []
    monkeypatch.setattr(train.shutil, "copyfile", lambda source, target: copied.append((source, target)))
    arguments = ["train", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "model"), "--threads", "1"]
    monkeypatch.setattr("sys.argv", arguments)
    train.main()
    card = (tmp_path / "model/README.md").read_text()
    assert "One seed, one run." in card
    assert "| CHAIR_s |" in card
    assert (tmp_path / "model/model.safetensors").stat().st_size < 8_000_000
    assert (
        len((tmp_path / "run/log.jsonl").read_text().splitlines()) == len([p for p in phases if p.kind == "joint"]) + 1
    )
    assert copied
