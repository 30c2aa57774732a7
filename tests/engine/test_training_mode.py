"""A model in training mode gives the rows of eval mode, or a clear error: never rows of numbers that were drawn."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.errors import UnsupportedModelError
from zoo import FAMILIES


class Adapter(torch.nn.Module):
    """What an adapter library leaves in a layer: a dropout and a small product beside the frozen projection."""

    def __init__(self, base: torch.nn.Linear, p: float):
        super().__init__()
        self.base, self.dropout = base, torch.nn.Dropout(p)
        self.down = torch.nn.Linear(base.in_features, 2, bias=False)
        self.up = torch.nn.Linear(2, base.out_features, bias=False)

    def forward(self, x):
        return self.base(x) + self.up(self.down(self.dropout(x)))


def with_adapter(model, p):
    torch.manual_seed(0)
    attention = model.get_decoder().layers[0].self_attn
    attention.q_proj = Adapter(attention.q_proj, p)
    model.eval()


def attention_dropout(model):
    for layer in model.get_decoder().layers:
        layer.self_attn.attention_dropout = 0.2


def tower_dropout(model):
    for module in model.modules():
        if type(module).__name__ == "CLIPAttention":
            module.dropout = 0.2


class LeavesOutRanks(Adapter):
    """An adapter that leaves out rows of its product, without a dropout module or a setting of that name."""

    def forward(self, x):
        kept = torch.rand(self.down.out_features) < 0.5 if self.training else 1
        return self.base(x) + self.up(self.down(x) * kept)


def ranks_left_out(model):
    torch.manual_seed(0)
    attention = model.get_decoder().layers[0].self_attn
    attention.q_proj = LeavesOutRanks(attention.q_proj, 0.0)
    model.eval()


def noise_on_embeddings(model):
    def add_noise(module, _args, output):
        return output + torch.zeros_like(output).uniform_(-1, 1) if module.training else output

    model.get_input_embeddings().register_forward_hook(add_noise)


def checkpointing(model):
    # the newer name, where the release has it: the older one warns there
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()


HARMFUL = {
    "adapter": lambda model: with_adapter(model, 0.3),
    "attention": attention_dropout,
    "picture tower": tower_dropout,
    "gradient checkpointing": checkpointing,
    "ranks left out": ranks_left_out,
    "noise on embeddings": noise_on_embeddings,
}

CALLS = {
    "trace": ls.trace,
    "trace by the definition": lambda model, inputs, seq: ls.trace(model, inputs, seq, normalise="matrix"),
    "sgrs": lambda model, inputs, seq: ls.generate(model, inputs, [ls.SGRS(seed=0)], max_new_tokens=3),
    "locore": lambda model, inputs, seq: ls.generate(model, inputs, [ls.LocoRE()], max_new_tokens=3),
    "beams": lambda model, inputs, seq: ls.generate(model, inputs, [ls.LocoRE()], max_new_tokens=3, num_beams=2),
    "vcd": lambda model, inputs, seq: ls.generate(model, inputs, [ls.VCD(seed=0)], max_new_tokens=3),
}


def in_a_block(model, inputs, seq):
    with ls.LocoRE()(model):
        model(**inputs)


def switched_on_inside_a_block(model, inputs, seq):
    model.eval()
    with ls.LocoRE()(model):
        model.train()
        model(**inputs)


CALLS |= {"block": in_a_block, "switched on inside a block": switched_on_inside_a_block}


@pytest.fixture
def llava():
    family = FAMILIES["llava"]
    model, _ = family.fresh()
    inputs = family.inputs(n=1)
    return model, inputs, model.generate(**inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [(attention_dropout, "dropout"), (noise_on_embeddings, "draw random numbers in every call")],
    ids=["dropout", "numbers are drawn"],
)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_every_call_refuses(llava, call, harm, reason):
    model, inputs, sequences = llava
    harm(model)
    model.train()
    with pytest.raises(UnsupportedModelError, match=rf"{reason}.*call model\.eval\(\) first"):
        call(model, inputs, sequences)
    model.eval()
    call_again = ls.trace(model, inputs, sequences)
    assert torch.isfinite(call_again.rows).all()


@pytest.mark.parametrize("harm", HARMFUL.values(), ids=HARMFUL.keys())
def test_every_kind_of_training_is_seen(llava, harm):
    model, inputs, sequences = llava
    harm(model)
    want = ls.trace(model, inputs, sequences).rows  # in eval mode none of it acts
    model.train()
    with pytest.raises(UnsupportedModelError, match=r"call model\.eval\(\) first"):
        ls.trace(model, inputs, sequences)
    model.eval()
    assert torch.equal(ls.trace(model, inputs, sequences).rows, want)


def test_numbers_drawn_between_the_calls_are_no_matter(llava):
    """Sampling draws from the same generators."""
    model, inputs, _ = llava
    settings = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": True}
    torch.manual_seed(0)
    want = ls.generate(model, inputs, [ls.LocoRE()], **settings).sequences
    model.train()
    torch.manual_seed(0)
    assert torch.equal(ls.generate(model, inputs, [ls.LocoRE()], **settings).sequences, want)
    with ls.LocoRE()(model):
        torch.manual_seed(0)
        assert torch.equal(model.generate(**inputs, **settings), want)


def test_one_part_in_training_is_enough_and_is_named(llava):
    model, inputs, sequences = llava
    with_adapter(model, 0.3)
    part = model.get_decoder().layers[0].self_attn.q_proj.dropout
    part.train()
    assert not model.training
    with pytest.raises(UnsupportedModelError, match=r"dropout is active \(.*layers\.0\.self_attn\.q_proj\.dropout\)"):
        ls.trace(model, inputs, sequences)


def test_training_mode_that_changes_nothing_gives_the_rows_of_eval_mode(llava):
    model, inputs, sequences = llava
    with_adapter(model, 0.0)
    want = ls.trace(model, inputs, sequences).rows
    model.train()
    assert torch.equal(ls.trace(model, inputs, sequences).rows, want)
