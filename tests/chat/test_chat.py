"""Query -> Answer -> Explanation: a batch gives what single calls give, and every face and file of it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import lvlm_saliency as ls
from lvlm_saliency.chat import WordRisk
from lvlm_saliency.cli.output import plain
from lvlm_saliency.errors import InputError, PromptError, SettingError
from lvlm_saliency.scenes import demo_scenes, draw_scene
from zoo import FAMILIES

PROMPTS = ["Describe the image.", "Is there a dog in the image?", "What is in the image?"]


@pytest.fixture(scope="module")
def chat():
    return ls.Chat.load("scenes", device="cpu")


@pytest.fixture(scope="module")
def pictures():
    return [draw_scene(scene) for scene in demo_scenes(3)]


@pytest.fixture(scope="module")
def queries(pictures):
    return [ls.Query(prompt, [picture]) for prompt, picture in zip(PROMPTS, pictures, strict=True)]


@pytest.fixture(scope="module")
def together(chat, queries):
    return chat.explain(chat.ask(queries, max_new_tokens=12))


def test_a_batch_gives_what_single_queries_give(chat, queries, together):
    assert len({len(query.text(chat.processor)) for query in queries}) > 1, "the prompts must need padding"
    for query, found in zip(queries, together, strict=True):
        alone = chat.explain(chat.ask([query], max_new_tokens=12))[0]
        assert (found.text, found.token_ids, found.tokens) == (alone.text, alone.token_ids, alone.tokens)
        assert found.finish == alone.finish
        torch.testing.assert_close(found.trace.rows, alone.trace.rows, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.trace.logprobs, alone.trace.logprobs, rtol=1e-3, atol=1e-4)
        assert found.context == alone.context
        for one, other in zip(found.layouts, alone.layouts, strict=True):
            assert one.positions.tolist() == other.positions.tolist()
            assert bool(found.trace.regions.image[0, one.positions].all())


def test_an_explanation_is_what_the_parts_give_by_hand(chat, pictures, queries):
    inputs = ls.build_inputs(chat.processor, [pictures[0]], PROMPTS[0], model=chat.model)
    out = ls.generate(chat.model, inputs, [ls.LocoRE()], max_new_tokens=8, do_sample=False)
    trace = ls.trace(chat.model, inputs, out, methods=[ls.LocoRE()])
    found = chat.explain(chat.ask(queries[:1], [ls.LocoRE()], max_new_tokens=8))[0]
    assert torch.equal(found.trace.rows, trace.rows)
    assert torch.equal(found.trace.sequences, out.sequences)
    assert found.trace.settings["methods"] == trace.settings["methods"]
    assert found.tokens == trace.tokens(chat.processor)[0]


def test_batched_inputs_are_those_of_each_sample_padded_on_the_left(chat, pictures):
    batch = ls.build_inputs(chat.processor, [[picture] for picture in pictures], PROMPTS, model=chat.model)
    for row, (prompt, picture) in enumerate(zip(PROMPTS, pictures, strict=True)):
        alone = ls.build_inputs(chat.processor, picture, prompt, model=chat.model)
        width = alone["input_ids"].shape[1]
        assert torch.equal(batch["input_ids"][row, -width:], alone["input_ids"][0])
        assert batch["attention_mask"][row].sum() == width
        assert not batch["attention_mask"][row, :-width].any()
        assert torch.equal(batch["pixel_values"][row], alone["pixel_values"][0])


def test_batched_inputs_of_the_wrong_shape_are_refused(chat, pictures):
    with pytest.raises(InputError, match="2 entries of pictures for 3 prompts"):
        ls.build_inputs(chat.processor, [[p] for p in pictures[:2]], PROMPTS)
    with pytest.raises(InputError, match="1 entries of pictures for 3"):
        ls.build_inputs(chat.processor, pictures[0], PROMPTS)
    with pytest.raises(PromptError, match="the prompt is empty"):
        ls.build_inputs(chat.processor, [[p] for p in pictures], ["a", " ", "b"])
    side = chat.tokenizer.padding_side
    with pytest.raises(PromptError, match="some prompts begin with"):
        ls.build_inputs(chat.processor, None, [f"{chat.tokenizer.bos_token}a", "b"], chat="never")
    assert chat.tokenizer.padding_side == side


def test_given_texts_of_different_length_are_explained_as_alone(chat, queries):
    texts = ["There is a dog and a cat.", "Yes.", "A dog."]
    for query, text, found in zip(queries, texts, chat.explain(chat.given(queries, texts)), strict=True):
        alone = chat.explain(chat.given([query], [text]))[0]
        assert found.token_ids == alone.token_ids
        assert found.text == text
        assert found.finish is None
        assert found.steps is None
        torch.testing.assert_close(found.trace.rows, alone.trace.rows, rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="2 texts for 3 queries"):
        chat.given(queries, texts[:2])


def test_a_conversation_goes_through_the_template_in_order(chat, pictures):
    first = ls.Message("user", [pictures[0], "Is there a dog in the image?"])
    talk = [first, ls.Message("assistant", ["No."]), ls.Message("user", ["Describe the image."])]
    query = ls.Query(messages=talk)
    text = query.text(chat.processor)
    assert text.index("Is there a dog") < text.index("No.") < text.index("Describe") < text.rindex("ASSISTANT:")
    assert text.count("<image>") == 1
    assert query.question == "Describe the image."
    single = ls.Query(messages=[first])
    assert single.text(chat.processor) == ls.Query("Is there a dog in the image?", [pictures[0]]).text(chat.processor)
    answers = chat.ask([query, single], max_new_tokens=5)
    assert [answer.token_ids for answer in answers] == [
        chat.ask([one], max_new_tokens=5)[0].token_ids for one in (query, single)
    ]


def test_conversations_that_would_be_misread_are_refused(chat, pictures):
    def text(*messages):
        return ls.Query(messages=[ls.Message(*message) for message in messages]).text(chat.processor)

    with pytest.raises(PromptError, match="'<image>', which the model does not read as text"):
        text(("user", ["Look: <image>"]))
    with pytest.raises(PromptError, match="'</s>'"):
        text(("system", ["be brief</s>"]), ("user", ["hello"]))
    with pytest.raises(PromptError, match="no message of a user"):
        text(("system", ["hello"]))
    with pytest.raises(PromptError, match="last message is empty"):
        text(("user", ["  "]))
    with pytest.raises(PromptError, match="one of the two"):
        ls.Query("hello", messages=[ls.Message("user", ["hello"])])
    with pytest.raises(PromptError, match="the prompt is empty"):
        ls.Query("  ")


def test_text_models_answer_and_take_no_pictures(pictures):
    model, tokenizer = FAMILIES["llama"].build()
    chat = ls.Chat(model, tokenizer)
    found = chat.explain(chat.ask([ls.Query("a b"), ls.Query("c d")], max_new_tokens=3))
    assert [len(one.tokens) for one in found] == [3, 3]
    assert found[0].layouts == []
    with pytest.raises(PromptError, match="takes no pictures"):
        chat.ask([ls.Query("a b", pictures[:1])])


def test_seed_reaches_methods_that_draw(chat, queries):
    one, two, other = (
        chat.ask(queries[:1], [ls.SGRS()], seed=seed, max_new_tokens=12, do_sample=True, temperature=3.0)[0].token_ids
        for seed in (1, 1, 2)
    )
    assert one == two
    assert one != other


@pytest.fixture(scope="module")
def rich(chat, queries):
    """An explanation with everything on it."""
    risk = ls.RiskModel.load(__import__("lvlm_saliency.risk.model", fromlist=["SHIPPED"]).SHIPPED)
    return chat.explain(chat.ask(queries, [ls.SGRS(seed=0)], max_new_tokens=12), risk=risk, detectors=["nll"])[1]


def test_detectors_score_words_of_a_batch_as_alone(chat, queries):
    names = ["nll", "svar", "image-saliency"]
    texts = ["There is a dog and a cat.", "Yes.", "A dog."]
    batch = chat.explain(chat.given(queries, texts), detectors=names)
    for query, text, found in zip(queries, texts, batch, strict=True):
        alone = chat.explain(chat.given([query], [text]), detectors=[ls.detector(name) for name in names])[0]
        for name in names:
            np.testing.assert_allclose(found.detectors[name], alone.detectors[name], rtol=1e-3, atol=1e-5)
        known = [not math.isnan(value) for value in found.detectors["nll"]]
        assert known == [any(map(str.isalnum, token)) for token in found.tokens]
        first = found.tokens.index(found.tokens[0])
        assert found.detectors["nll"][first] == pytest.approx(-found.trace.logprobs[0, first].item(), rel=1e-4)


@pytest.mark.parametrize("compact", [None, "half", "mean"])
def test_saved_and_loaded_it_is_the_same(rich, tmp_path, compact):
    rich.save(tmp_path / "e.safetensors", compact=compact)
    again = ls.Explanation.load(tmp_path / "e.safetensors")
    for name in ("name", "prompt", "text", "tokens", "token_ids", "finish", "steps", "candidates", "context", "cut"):
        assert getattr(again, name) == getattr(rich, name), name
    assert json.dumps(dataclass_dict(again.risk)) == json.dumps(dataclass_dict(rich.risk))
    assert repr(again.detectors) == repr(dict(rich.detectors))
    np.testing.assert_array_equal(np.asarray(again.images[0]), np.asarray(rich.images[0]))
    assert again.layouts[0].cells is not None
    assert list(again.layouts[0].cells()) == list(rich.layouts[0].cells())
    if compact is None:
        assert torch.equal(again.trace.rows, rich.trace.rows)
        known = {key: value for key, value in rich.to_dict().items() if key not in ("methods", "cost")}
        assert json.dumps(plain(again.to_dict())) == json.dumps(plain(known))
        rich.to_html(tmp_path / "one.html")
        again.to_html(tmp_path / "two.html")
        assert (tmp_path / "one.html").read_text() == (tmp_path / "two.html").read_text()
    else:
        assert (tmp_path / "e.safetensors").stat().st_size < size_of(rich, tmp_path)


def dataclass_dict(risk: WordRisk):
    return plain(risk.to_dict())


def size_of(explanation, folder):
    explanation.save(folder / "full.safetensors")
    return (folder / "full.safetensors").stat().st_size


def test_faces(rich, tmp_path):
    from io import StringIO

    from lvlm_saliency.report.console import PlainConsole

    page = rich.to_html(tmp_path / "page.html").read_text()
    assert "Is there a dog" in page
    assert "data:image/png" in page
    assert rich.plot(tmp_path / "map.svg").stat().st_size > 0
    assert rich.plot(tmp_path / "token.png", token=0).stat().st_size > 0
    for told, how in (("risk that the object", {}), ("nll", {"detector": "nll"})):
        out = StringIO()
        rich.show(PlainConsole(file=out, width=100), **how)
        assert told in out.getvalue()
    assert "saliency on" in rich._repr_html_()
    data = json.loads(json.dumps(plain(rich.to_dict()), allow_nan=False))
    assert data["scores"]["output"][0] is None
    assert len(data["risk"]) == len(data["tokens"])


def test_damaged_and_foreign_files_are_refused(rich, tmp_path):
    path = tmp_path / "e.safetensors"
    with pytest.raises(InputError, match="does not exist"):
        ls.Explanation.load(path)
    rich.trace.save(path)
    with pytest.raises(InputError, match="no saved explanation"):
        ls.Explanation.load(path)
    rich.save(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="damaged"):
        ls.Explanation.load(path)
    with pytest.raises(SettingError, match="unknown compact"):
        rich.save(path, compact="tiny")
    rich.save(path)
    with pytest.raises(InputError, match="not a saved trace"):
        ls.SaliencyTrace.load(path)
