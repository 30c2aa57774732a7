"""The recipe with a real language model, on a small one of the same kind: what is trained is what is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from lvlm_saliency.scenes.captions import write_caption
from lvlm_saliency.scenes.draw import draw_scene
from lvlm_saliency.scenes.world import generate_scenes

pytest.importorskip("peft")
SCENES = Path(__file__).parents[2] / "src/lvlm_saliency/scenes/model"
SCENE = generate_scenes(1, 4)[0]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with shared key heads and a byte-level tokenizer whose turns are those of ChatML."""
    folder = tmp_path_factory.mktemp("decoder")
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    texts = [write_caption(scene) for scene in generate_scenes(40, 3)]
    core.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=alphabet)
    )
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=core.get_vocab_size(),
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def learner(decoder: Path, monkeypatch: pytest.MonkeyPatch):
    from training.decoder import learner

    monkeypatch.setattr(learner, "training_dtype", lambda: torch.float32)
    return learner.Learner(decoder, SCENES, 0)


def test_the_conversation_is_tokenized_as_the_processor_does_it(learner) -> None:
    from training.evaluate import inputs_for

    wording, processor = learner.wording, learner.processor
    inputs = inputs_for(processor, [SCENE], ["Is there a dog?"])
    assert inputs["input_ids"][0].tolist() == [*wording.prefix, *wording.ask("Is there a dog?")]
    caption = write_caption(SCENE)
    assert processor.decode(wording.say(caption), skip_special_tokens=True) == caption
    assert wording.say(caption)[-1] == learner.model.generation_config.eos_token_id
    assert wording.pad not in wording.say(caption)


def test_every_piece_of_a_word_has_its_weight(learner) -> None:
    caption = "Above the umbrella, there is a red giraffe at the top."
    pieces = learner.wording.say(caption)
    weights = learner.wording.weigh(caption, 2.0, 6.0)
    assert len(weights) == len(pieces)
    spoken = [learner.processor.decode([piece]) for piece in pieces]
    heavy = "".join(piece for piece, weight in zip(spoken, weights, strict=True) if weight == 6)
    assert heavy == " umbrella at top."
    assert "".join(piece for piece, weight in zip(spoken, weights, strict=True) if weight == 2) == " red"


@torch.no_grad()
def test_a_packed_branch_is_what_the_model_sees_alone(learner) -> None:
    from training.data import shrink
    from training.packing import pack
    from training.phases import patches_of

    model, wording = learner.model, learner.wording
    packed = pack([SCENE], np.random.default_rng(0), wording=wording)
    picture = draw_scene(SCENE)
    tokens = model.model.multi_modal_projector(patches_of(model, shrink(picture)[None]))
    embedded = model.get_input_embeddings()(packed.ids)
    start, shared = wording.prefix.index(model.config.image_token_id), len(wording.prefix)
    embedded[:, start:shared] = tokens
    hidden = model.model.language_model(
        inputs_embeds=embedded, attention_mask=packed.mask(torch.float32), position_ids=packed.positions
    ).last_hidden_state
    logits = model.lm_head(hidden)[0]
    pixels = learner.processor.image_processor(picture, return_tensors="pt")["pixel_values"]
    assert packed.branch.max() >= 3
    for branch in range(1, int(packed.branch.max()) + 1):
        where = packed.branch[0] == branch
        alone = torch.cat([packed.ids[0, :shared], packed.ids[0, where]])[None]
        expected = model(input_ids=alone, pixel_values=pixels).logits[0, shared:]
        torch.testing.assert_close(logits[where], expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_what_is_written_is_what_was_trained(learner, decoder: Path, tmp_path: Path) -> None:
    from training.decoder.train import export
    from training.evaluate import inputs_for

    for part in learner.trained.parts.values():
        part.add_(torch.randn_like(part), alpha=0.1)  # adapters begin at zero
    learner.trained.give_values()
    inputs = inputs_for(learner.processor, [SCENE], ["What do you see?"])
    trained = learner.model(**inputs).logits
    export(learner, SimpleNamespace(decoder=decoder, scenes=SCENES, out=tmp_path))
    written = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(tmp_path)
    again = inputs_for(processor, [SCENE], ["What do you see?"])
    assert torch.equal(again["input_ids"], inputs["input_ids"])
    torch.testing.assert_close(written(**again).logits, trained, rtol=1e-4, atol=1e-4)
    assert not [name for name, _ in written.named_parameters() if "lora" in name]


def test_only_projector_and_adapters_move(learner) -> None:
    from training.data import shrink
    from training.decoder.train import TALK

    before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
    optimiser = learner.optimiser(TALK)
    for seed in range(2):  # the first step moves one side of an adapter only: the other is zero
        loss, _ = learner.loss(
            TALK, shrink(draw_scene(SCENE))[None], np.zeros((1, 4, 64), np.uint8), [SCENE], np.random.default_rng(seed)
        )
        loss.backward()
        learner.trained.take_gradients()
        optimiser.step()
        learner.trained.give_values()
    moved = {name for name, p in learner.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if "projector" in name or "lora" in name}


@pytest.mark.slow
def test_the_recipe_runs_from_nothing_to_a_card(decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.decoder import train

    phases = [replace(phase, steps=3, warmup=1, batch=4, evaluated=2) for phase in train.PHASES]
    for name, value in {"PHASES": phases, "N_TRAIN": 64, "N_DEV": 2, "N_TEST": 3}.items():
        monkeypatch.setattr(train, name, value)
    arguments = ["train", "--decoder", str(decoder), "--run", str(tmp_path / "run"), "--out", str(tmp_path / "model")]
    monkeypatch.setattr("sys.argv", [*arguments, "--threads", "1"])
    train.main()
    card = (tmp_path / "model/README.md").read_text()
    assert "| object recall |" in card
    assert "at least 0.85" in card
    log = (tmp_path / "run/log.jsonl").read_text()
    train.main()  # all is done: nothing is trained again
    assert (tmp_path / "run/log.jsonl").read_text().startswith(log)
    assert len((tmp_path / "run/log.jsonl").read_text().splitlines()) == len(log.splitlines()) + 1


def test_a_folder_without_a_model_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from training.decoder import train

    monkeypatch.setattr("sys.argv", ["train", "--decoder", str(tmp_path), "--run", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as ended:
        train.main()
    assert ended.value.code == 2
    assert "is no folder of a model" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
