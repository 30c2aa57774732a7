"""The rows of a trace equal the definition: one full eager forward and backward pass per generated token."""

from __future__ import annotations

import functools

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency import hf
from lvlm_saliency.attention import row_backward
from lvlm_saliency.attention import rows as attention_rows
from lvlm_saliency.attention import saliency as attention_saliency
from lvlm_saliency.errors import NumericalError, SequenceError, SettingError, UnsupportedModelError
from lvlm_saliency.tracing import one_pass
from zoo import FAMILIES

from .reference import alone, softmax_in_its_own_precision
from .reference import rows_of as rows_in_one_precision

TOLERANCE = 1e-4
ROUGH = ("gemma4", "gemma4_unified")
"""Families whose small models magnify float32's own rounding beyond the tolerance; float64 shows what is exact."""
COARSE = {"gemma4_large": 2e-3}
"""The same with experts, whose product torch has in float32 alone: how far roundings alone move their rows."""


def rows_of(*args, **kwargs):
    """The definition, with a softmax of the model's own precision."""
    with softmax_in_its_own_precision():
        return rows_in_one_precision(*args, **kwargs)


def near(family):
    return COARSE.get(family.name, TOLERANCE)


def edited(family):
    """Edited rows are made in float32 whatever the model's dtype."""
    return 1e-3 if family.name in ROUGH else near(family)


@functools.cache
def precise(family):
    """The family's model, shared; in float64 where float32 is too rough for it."""
    return family.fresh()[0].double() if family.name in ROUGH else family.build()[0]


def fitting(family, inputs):
    """The inputs for `precise(family)`."""
    if family.name not in ROUGH:
        return inputs
    return {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}


def windowed(model):
    """Whether some layer forgets keys, or keeps a state in their place."""
    config = hf.text_config(model)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return config.model_type == "mistral" and config.sliding_window is not None
    return any(kind != "full_attention" for kind in kinds)


def answer(model, inputs, tokens=7):
    return model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)


def test_rows_equal_the_definition(family):
    model = precise(family)
    inputs = fitting(family, family.inputs(n=1))
    sequences = answer(model, inputs)
    trace = ls.trace(model, inputs, sequences)
    rows, attention = rows_of(model, inputs, sequences)
    assert rows.abs().max() > 0.1
    torch.testing.assert_close(trace.rows[0], rows.float(), atol=near(family), rtol=0)
    torch.testing.assert_close(trace.attention[0], attention.float(), atol=near(family), rtol=0)


@pytest.mark.each_kind
def test_a_left_padded_batch_gives_each_samples_own_rows(family):
    model = precise(family)
    inputs = fitting(family, family.inputs(n=3))
    sequences = answer(model, inputs)
    trace = ls.trace(model, inputs, sequences)
    pads = (inputs["attention_mask"] == 0).sum(1).tolist()
    assert max(pads) > 0
    for sample, pad in enumerate(pads):
        single = fitting(family, alone(family, 3, sample))
        rows, attention = rows_of(model, single, sequences[sample : sample + 1, pad:])
        assert not trace.rows[sample, ..., :pad].any()
        torch.testing.assert_close(trace.rows[sample, ..., pad:], rows.float(), atol=near(family), rtol=0)
        torch.testing.assert_close(trace.attention[sample, ..., pad:], attention.float(), atol=near(family), rtol=0)


@pytest.mark.each_kind
@pytest.mark.parametrize("space", ["probability", "unnormalised", "logit"])
def test_rows_under_locore_equal_the_definition_of_both(family, space):
    model = precise(family)
    inputs = fitting(family, family.inputs(n=1))
    method = ls.LocoRE(beta=0.8, window=3, space=space)
    sequences = ls.generate(model, inputs, [method], max_new_tokens=7, min_new_tokens=7, do_sample=False).sequences
    rows, _ = rows_of(model, inputs, sequences, gain=(0.8, 3, space))
    torch.testing.assert_close(
        ls.trace(model, inputs, sequences, methods=[method]).rows[0], rows.float(), atol=edited(family), rtol=0
    )
    with method(model):
        torch.testing.assert_close(
            ls.trace(model, inputs, sequences).rows[0], rows.float(), atol=edited(family), rtol=0
        )
    plain = ls.trace(model, inputs, sequences)
    assert (plain.rows[0] - rows).abs().max() > 10 * edited(family)


def test_two_pictures_in_one_prompt(family):
    if family.text_only:
        pytest.skip("no pictures")
    model = precise(family)
    inputs = fitting(family, family.inputs(n=1, images=2))
    sequences = answer(model, inputs, 4)
    rows, _ = rows_of(model, inputs, sequences)
    torch.testing.assert_close(ls.trace(model, inputs, sequences).rows[0], rows.float(), atol=near(family), rtol=0)


@pytest.mark.parametrize("name", ["llava", "gemma3", "qwen2_5_vl"])
def test_small_blocks_change_nothing(name, monkeypatch):
    family = FAMILIES[name]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    sequences = answer(model, inputs)
    whole = ls.trace(model, inputs, sequences)
    monkeypatch.setattr(one_pass, "MAX_ROWS", 3)
    monkeypatch.setattr(attention_rows, "BLOCK_ELEMENTS", 1500)
    parts = ls.trace(model, inputs, sequences)
    torch.testing.assert_close(parts.rows, whole.rows, atol=1e-5, rtol=0)
    torch.testing.assert_close(parts.attention, whole.attention, atol=1e-6, rtol=0)
    torch.testing.assert_close(parts.logprobs, whole.logprobs, atol=1e-5, rtol=0)


@pytest.mark.each_kind
def test_chosen_layers_are_those_of_the_whole(family):
    model, _ = family.build()
    inputs = family.inputs(n=1)
    sequences = answer(model, inputs, 4)
    whole = ls.trace(model, inputs, sequences)
    last = whole.layers[-1:]
    torch.testing.assert_close(
        ls.trace(model, inputs, sequences, layers=last).rows, whole.rows[:, -1:], atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "gemma2"])
def test_matrix_normalisation_divides_by_the_norm_of_the_whole_map(name):
    family = FAMILIES[name]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    sequences = answer(model, inputs, 3)
    matrix = ls.trace(model, inputs, sequences, normalise="matrix").rows
    row = ls.trace(model, inputs, sequences).rows
    size = matrix.norm(dim=-1, keepdim=True)
    assert (size[:, :-1] < 0.999).all(), "a row is a part of the map, so its share of the Frobenius norm is below one"
    # In the last layer the loss depends on the query row alone: the other rows of the map are zero.
    torch.testing.assert_close(size[:, -1], torch.ones_like(size[:, -1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(matrix / size, row, atol=TOLERANCE, rtol=0)


def test_an_early_end_of_text_ends_that_sample_only():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    sequences = answer(model, inputs).clone()
    full = ls.trace(model, inputs, sequences)
    n0 = inputs["input_ids"].shape[1]
    sequences[0, n0 + 3] = family.eos_token_id
    sequences[0, n0 + 4 :] = model.generation_config.pad_token_id
    trace = ls.trace(model, inputs, sequences)
    assert trace.valid.tolist() == [[True] * 4 + [False] * 3, [True] * 7]
    assert trace.logprobs[0, 4:].isnan().all()
    assert trace.scores("output")[0, 4:].isnan().all()
    assert not trace.rows[0, :, 4:].any()
    torch.testing.assert_close(trace.rows[1], full.rows[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(trace.rows[0, :, :3], full.rows[0, :, :3], atol=1e-5, rtol=0)


@pytest.mark.each_kind
def test_the_cache_of_a_generation_is_reused_and_left_alone(family, monkeypatch):
    model = precise(family)
    inputs = fitting(family, family.inputs(n=2))
    settings = {"max_new_tokens": 7, "min_new_tokens": 7, "do_sample": False}
    out = ls.generate(model, inputs, [ls.LocoRE(beta=0.5)], **settings)
    want = ls.trace(model, inputs, out.sequences, methods=[ls.LocoRE(beta=0.5)])
    length = out.past_key_values.get_seq_length()
    prefills = []
    prefill = one_pass._prefill
    monkeypatch.setattr(one_pass, "_prefill", lambda *args: prefills.append(1) or prefill(*args))
    got = ls.trace(model, inputs, out, methods=[ls.LocoRE(beta=0.5)])
    assert bool(prefills) == windowed(model)  # windows have dropped keys that the trace needs
    torch.testing.assert_close(got.rows, want.rows, atol=1e-5, rtol=0)
    torch.testing.assert_close(got.logprobs, want.logprobs, atol=1e-5, rtol=0)
    assert out.past_key_values.get_seq_length() == length
    torch.testing.assert_close(
        ls.trace(model, inputs, out, methods=[ls.LocoRE(beta=0.5)]).rows, want.rows, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("trainable", [True, False])
def test_parameters_may_be_frozen_and_get_no_gradient(trainable):
    family = FAMILIES["llava"]
    model, _ = family.fresh()
    model.requires_grad_(trainable)
    inputs = family.inputs(n=1)
    sequences = answer(model, inputs)
    rows = ls.trace(model, inputs, sequences).rows
    torch.testing.assert_close(rows, ls.trace(family.build()[0], inputs, sequences).rows, atol=1e-6, rtol=0)
    assert all(p.grad is None and p.requires_grad is trainable for p in model.parameters())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.15), (torch.float16, 0.03)])
@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "mistral"])
def test_half_precision_stays_near_float32(name, dtype, tolerance):
    """Stated tolerance, on unit rows: the largest difference from float32 rows of the same weights."""
    family = FAMILIES[name]
    model, _ = family.fresh()
    model = model.to(dtype)
    same = family.fresh()[0]
    same.load_state_dict({k: v.float() for k, v in model.state_dict().items()})
    inputs = family.inputs(n=1)
    sequences = answer(same, inputs)
    half = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    got = ls.trace(model, half, sequences)
    want = ls.trace(same, inputs, sequences)
    assert torch.isfinite(got.rows).all()
    assert (got.rows - want.rows).abs().max() < tolerance


def test_a_very_confident_token_still_has_a_row():
    """p = 1 in float32 leaves no gradient in the plain loss; the row must be what it is just below certainty."""
    model, _ = FAMILIES["llama"].fresh()
    inputs = FAMILIES["llama"].inputs(n=1)
    with torch.no_grad():
        model.lm_head.weight.mul_(60)
    sequences = answer(model, inputs, 4)
    trace = ls.trace(model, inputs, sequences)
    assert (trace.logprobs.exp() == 1).any()
    torch.testing.assert_close(trace.rows.norm(dim=-1), torch.ones(trace.rows.shape[:-1]), atol=1e-4, rtol=0)


def test_model_split_over_a_device_map(tmp_path):
    from transformers import AutoModelForImageTextToText

    family = FAMILIES["llava"]
    whole, _ = family.build()
    parts = {name: "cpu" for name, _ in whole.named_modules() if name.startswith(("model.vision", "model.multi"))}
    names = ["embed_tokens", "rotary_emb", "norm", "layers.1"]
    parts |= {f"model.language_model.{name}": "cpu" for name in names} | {"lm_head": "cpu"}
    parts |= {"model.language_model.layers.0": "disk", "model.language_model.layers.2": "disk"}
    model = AutoModelForImageTextToText.from_pretrained(
        family.folder(), device_map=parts, offload_folder=tmp_path
    ).eval()
    assert "disk" in model.hf_device_map.values()
    inputs = family.inputs(n=1)
    sequences = answer(whole, inputs)
    torch.testing.assert_close(
        ls.trace(model, inputs, sequences).rows, ls.trace(whole, inputs, sequences).rows, atol=1e-5, rtol=0
    )


@pytest.mark.filterwarnings("ignore")  # the quantiser's own notices
def test_four_bit_weights():
    pytest.importorskip("bitsandbytes")
    from transformers import BitsAndBytesConfig

    family = FAMILIES["llava"]
    quantised = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model, _ = ls.load_model(family.folder(), device="cpu", quantization_config=quantised)
    assert "4bit" in type(model.get_decoder().layers[0].mlp.up_proj.weight).__name__
    inputs = family.inputs(n=1)
    sequences = answer(model, inputs)
    row = ls.trace(model, inputs, sequences).rows
    matrix = ls.trace(model, inputs, sequences, normalise="matrix").rows
    torch.testing.assert_close(row, matrix / matrix.norm(dim=-1, keepdim=True), atol=TOLERANCE, rtol=0)


def test_memory_is_linear_in_the_context():
    """No tensor of a trace has an n x n face, and the largest grows with n, not with its square."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Sizes(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.largest, self.square = 0, False

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for x in out if isinstance(out, (tuple, list)) else [out]:
                if isinstance(x, torch.Tensor) and self.watch:
                    self.largest = max(self.largest, x.numel())
                    self.square |= x.dim() >= 2 and min(x.shape[-2:]) >= self.length
            return out

    model, _ = FAMILIES["llama"].build()
    vocabulary = model.config.vocab_size
    largest = {}
    for length in (256, 512, 1024):
        ids = torch.randint(10, vocabulary, (1, length + 4), generator=torch.Generator().manual_seed(0))
        inputs = {"input_ids": ids[:, :length], "attention_mask": torch.ones(1, length, dtype=torch.long)}
        with Sizes() as sizes:
            sizes.length, sizes.watch = length, False
            # The prompt's own pass belongs to the model (its backend may do as it likes); watch what comes after it.
            prefill = one_pass._prefill

            def watched(*args, prefill=prefill, sizes=sizes):
                out = prefill(*args)
                sizes.watch = True
                return out

            one_pass._prefill = watched
            try:
                ls.trace(model, inputs, ids)
            finally:
                one_pass._prefill = prefill
        assert not sizes.square
        largest[length] = sizes.largest
    assert largest[1024] <= 2.2 * largest[512] <= 2.2 * 2.2 * largest[256]


def test_bad_input_is_named():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    sequences = answer(model, inputs, 3)
    n0 = inputs["input_ids"].shape[1]
    with pytest.raises(SequenceError, match="nothing was generated"):
        ls.trace(model, inputs, sequences[:, :n0])
    with pytest.raises(SequenceError, match="1 sequences for 2 prompts"):
        ls.trace(model, inputs, sequences[:1])
    wrong = sequences.clone()
    wrong[1, n0 - 2] += 1
    with pytest.raises(SequenceError, match="sequence 1 does not start with its prompt"):
        ls.trace(model, inputs, wrong)
    with pytest.raises(SequenceError, match="LongTensor"):
        ls.trace(model, inputs, sequences.float())
    with pytest.raises(SettingError, match=r"layers \[9\].*0\.\.2"):
        ls.trace(model, inputs, sequences, layers=[1, 9])
    with pytest.raises(SettingError, match="did you mean 'matrix'"):
        ls.trace(model, inputs, sequences, normalise="matrx")


def test_nan_logits_are_reported():
    model, _ = FAMILIES["llama"].fresh()
    inputs = FAMILIES["llama"].inputs(n=1)
    sequences = answer(model, inputs, 3)
    with torch.no_grad():
        model.lm_head.weight[3] = float("nan")
    with pytest.raises(NumericalError, match="not finite"):
        ls.trace(model, inputs, sequences)


def test_a_prompt_that_ends_with_a_picture_is_refused():
    family = FAMILIES["llava"]
    model, _ = family.build()
    inputs = family.inputs(n=1)
    last = int((inputs["input_ids"][0] == model.config.image_token_id).nonzero().max()) + 1
    cut = {k: v[:, :last] if k in ("input_ids", "attention_mask") else v for k, v in inputs.items()}
    with pytest.raises(UnsupportedModelError, match="ends with a picture"):
        ls.trace(model, cut, answer(model, cut, 3))


def test_heads_in_pieces_give_the_same_rows(monkeypatch):
    """Long rows are worked on a few heads at a time; short ones, as everywhere in these tests, all at once."""
    family = FAMILIES["qwen2_vl"]
    model, _ = family.build()
    inputs = family.inputs(n=2)
    out = model.generate(**inputs, max_new_tokens=5, do_sample=False)
    whole = ls.trace(model, inputs, out)
    pieces = []
    few = attention_saliency.few_heads
    for module in (attention_saliency, row_backward):
        monkeypatch.setattr(module, "few_heads", lambda x: pieces.append(len(few(x))) or few(x))
    monkeypatch.setattr(attention_saliency, "SMALL_ELEMENTS", 1)
    torch.testing.assert_close(ls.trace(model, inputs, out).rows, whole.rows, atol=1e-6, rtol=1e-5)
    assert min(pieces) > 1
