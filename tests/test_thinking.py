"""Thinking and answer are told apart by the tokenizer's own template, or by the table of marks."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lvlm_saliency as ls
from lvlm_saliency.errors import SettingError
from lvlm_saliency.model.thinking import ANSWER, MARK, TABLE, THINKING, Marks, marks_of, parts_of
from lvlm_saliency.report.content import Case, Report, Run
from lvlm_saliency.report.page import page_data
from zoo import FAMILIES
from zoo.tokenizer import build_tokenizer

QWEN = Marks("<think>", ("</think>",), "<|im_start|>assistant\n")
PLAIN = Marks("<think>", ("</think>",))
GEMMA, MINIMAX, MISTRAL, MUSE, KIMI, ERNIE = TABLE[:6]


def kinds(marks: Marks, prompt: str, text: str) -> str:
    """The parts with their kind's first letter, every character a token."""
    return " ".join(f"{kind[0]}[{text[first:end]}]" for kind, first, end in parts_of(marks, prompt, list(text)))


@pytest.mark.parametrize(
    ("marks", "prompt", "text", "wanted"),
    [
        # the model opens it
        (QWEN, "<|im_start|>assistant\n", "<think>hm</think>ok", "m[<think>] t[hm] m[</think>] a[ok]"),
        # the prompt opens it
        (QWEN, "<|im_start|>assistant\n<think>\n", "hm</think>ok", "t[hm] m[</think>] a[ok]"),
        (PLAIN, "<|assistant|>\n<think>\n", "hm</think>ok", "t[hm] m[</think>] a[ok]"),
        # the prompt closes it at once: thinking is off
        (QWEN, "<|im_start|>assistant\n<think>\n\n</think>\n\n", "ok", "a[ok]"),
        (PLAIN, "<|assistant|>\n<think></think>", "ok", "a[ok]"),
        # marks of an earlier turn, or in the question, are not the model's own
        (QWEN, "<think>old<|im_start|>assistant\n", "ok", "a[ok]"),
        (PLAIN, "what is <think>?<|assistant|>", "ok", "a[ok]"),
        # a limit ends the text in the midst of it
        (QWEN, "<|im_start|>assistant\n<think>\n", "hm", "t[hm]"),
        # closed though nobody was seen to open it
        (PLAIN, "", "hm</think>ok", "t[hm] m[</think>] a[ok]"),
        (MINIMAX, "", "</mm:think>ok", "m[</mm:think>] a[ok]"),
        (
            GEMMA,
            "<|turn>model\n",
            "<|channel>thought\nhm<channel|>ok",
            "m[<|channel>thought] t[\nhm] m[<channel|>] a[ok]",
        ),
        (MISTRAL, "", "[THINK]hm[/THINK]ok", "m[[THINK]] t[hm] m[[/THINK]] a[ok]"),
        (
            KIMI,
            "<|im_assistant|><think>",
            "hm<|tool_calls_section_begin|>x",
            "t[hm] m[<|tool_calls_section_begin|>] a[x]",
        ),
        (ERNIE, "<think>\n", "hm</think><response>ok</response>", "t[hm] m[</think><response>] a[ok] m[</response>]"),
        (
            MUSE,
            "",
            "<|start|>assistant to=self<|message|>hm<|eom|><|start|>assistant to=user<|message|>ok",
            "m[<|start|>assistant to=self<|message|>] t[hm] m[<|eom|><|start|>assistant to=user<|message|>] a[ok]",
        ),
        (QWEN, "", "", ""),
    ],
)
def test_parts(marks, prompt, text, wanted):
    assert kinds(marks, prompt, text) == wanted


@given(
    st.lists(st.sampled_from(["", "a", "bc", "<thi", "nk>", "<think>", "</think>", "x</th", "ink>y"])), st.booleans()
)
def test_parts_are_all_tokens_in_order_however_marks_are_cut(tokens, opened):
    parts = parts_of(QWEN, "<|im_start|>assistant\n" + "<think>\n" * opened, tokens)
    covered = [number for _, first, end in parts for number in range(first, end)]
    assert covered == list(range(len(tokens)))
    assert all(a[0] != b[0] for a, b in itertools.pairwise(parts))


def test_a_tokenizers_own_template_comes_first():
    tokenizer = build_tokenizer("<think>", "</think>")
    assert marks_of(tokenizer).open == "<think>"
    tokenizer.response_template = {
        "start_anchor": "MODEL:",
        "fields": {"reasoning_content": {"open": "[[", "close": "]]"}, "content": {}},
    }
    assert marks_of(tokenizer) == Marks("[[", ("]]",), "MODEL:")
    tokenizer.response_template = {"fields": {"content": {}}}
    assert marks_of(tokenizer) is None, "a template without thinking says that there is none"
    assert marks_of(FAMILIES["llava"].tokenizer) is None


def thinking_trace():
    """A trace of a text that thinks, by a tokenizer that knows the marks."""
    model, _ = FAMILIES["llama"].build()
    tokenizer = build_tokenizer("<think>", "</think>")
    ids = lambda text: tokenizer.encode(text, add_special_tokens=False)  # noqa: E731
    prompt = torch.tensor([[1, *ids("What colour is the boat?<think>")]])
    text = ids("A dog on the grass") + ids("</think>") + ids("The boat is white.")
    inputs = {"input_ids": prompt, "attention_mask": torch.ones_like(prompt)}
    return ls.trace(model, inputs, torch.cat([prompt, torch.tensor([text])], 1)), tokenizer


def test_regions_of_a_trace(tmp_path):
    plain, tokenizer = thinking_trace()
    with pytest.raises(SettingError, match="with_thinking"):
        plain.scores("thinking")
    trace = plain.with_thinking(tokenizer)
    (first, mark, last) = trace.parts[0]
    assert (first[0], mark[0], last[0]) == (THINKING, MARK, ANSWER)
    thinking, answer = trace.scores("thinking")[0], trace.scores("answer")[0]
    n0 = trace.prompt_length
    for t in range(last[1] + 1, last[2]):
        wanted = trace.rows[0, :, t, n0 : n0 + first[2]].mean()
        torch.testing.assert_close(thinking[t], wanted)
        torch.testing.assert_close(answer[t], trace.rows[0, :, t, n0 + last[1] : n0 + t].mean())
    assert answer[: last[1] + 1].isnan().all(), "before its first token there is no answer to depend on"
    torch.testing.assert_close(trace.scores(), plain.scores(), equal_nan=True)
    assert trace.to_dict()["parts"] == [list(part) for part in trace.parts[0]]
    assert trace.sample(0, length=3).parts == [[(THINKING, 0, 3)]]
    for form in (None, "half"):
        trace.save(tmp_path / "t.safetensors", form)
        assert ls.SaliencyTrace.load(tmp_path / "t.safetensors").parts == trace.parts
    plain.save(tmp_path / "p.safetensors")
    assert ls.SaliencyTrace.load(tmp_path / "p.safetensors").parts is None


def test_pages_show_the_parts():
    plain, tokenizer = thinking_trace()
    trace, tokens = plain.with_thinking(tokenizer), plain.tokens(tokenizer)[0]
    runs = [Run("with", trace, tokens), Run("without", plain, tokens)]
    data = page_data(Report("t", [Case(title="c", images=[], runs=runs)]))
    assert data["regions"][-2:] == ["thinking", "answer"]
    assert [part[0] for part in data["cases"][0]["runs"][0]["parts"]] == [THINKING, MARK, ANSWER]
    assert data["cases"][0]["runs"][1]["parts"] == []
    assert "thinking" not in page_data(Report("t", [Case(title="c", images=[], runs=runs[1:])]))["regions"]
