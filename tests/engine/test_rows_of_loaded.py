"""Traces of models as they are loaded (frozen or not, in half precision, split, of four bits), and what is refused."""

from __future__ import annotations

import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.attention import row_backward
from lvlm_saliency.attention import saliency as attention_saliency
from lvlm_saliency.errors import NumericalError, SequenceError, SettingError, UnsupportedModelError
from lvlm_saliency.tracing import one_pass
from zoo import FAMILIES

from .reference import answer

TOLERANCE = 1e-4


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
