"""Chat templates of every kind: the words and a placeholder for each picture come out, or one clear line."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlm_saliency.errors import PromptError
from lvlm_saliency.model.inputs import build_inputs, prompt_text
from zoo import FAMILIES
from zoo.family import picture

STRINGS = {
    "trimmed": "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }}\n{% endfor %}[assistant]",
    "added": "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% endfor %}",
    "printed": "{% for m in messages %}{{ m.content }}{% endfor %}",
    "written as JSON": "{% for m in messages %}{{ m.content | tojson }}{% endfor %}",
    "strict": "{% for m in messages %}{% if m['content'] is not string %}{{ raise_exception('text only') }}{% endif %}"
    "{{ m['content'] }}{% endfor %}",
    "text parts only": "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}{% endif %}{% endfor %}",
}
PARTS = (
    "{% for m in messages %}{% for p in m.content %}{% if p.type == 'image' %}<image>{% else %}{{ p.text }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


@pytest.fixture
def llava():
    model, processor = FAMILIES["llava"].fresh()
    processor.chat_template = None
    return model, processor


def ids_of_pictures(model, inputs):
    return int((inputs["input_ids"] == model.config.image_token_id).sum())


@pytest.mark.parametrize("where", ["tokenizer", "processor", "named"])
@pytest.mark.parametrize("template", [*STRINGS.values(), PARTS], ids=[*STRINGS, "parts"])
def test_the_words_and_the_pictures_are_in_the_prompt(llava, template, where):
    model, processor = llava
    if where == "processor":
        processor.chat_template = template
    else:
        processor.tokenizer.chat_template = {"default": template, "tool_use": "no"} if where == "named" else template
    for pictures, prompt in (
        (0, "What is this?"),
        (1, "What is this?"),
        (1, "<image>\nWhat is this?"),
        (2, "Compare <image> with <image> now."),
    ):
        images = [picture(n) for n in range(pictures)]
        inputs = build_inputs(processor, images or None, prompt, model=model)
        text = processor.tokenizer.decode(inputs["input_ids"][0])
        assert ids_of_pictures(model, inputs) == 16 * pictures
        assert all(word in text for word in prompt.replace("<image>", "").split())
        assert "type" not in text


@settings(max_examples=30, deadline=None)
@given(
    st.text(
        st.characters(codec="utf-8", exclude_characters="<>{}\0", exclude_categories=["Cc", "Cs"]), min_size=1
    ).filter(str.strip),
    st.sampled_from([*STRINGS.values(), PARTS]),
    st.integers(0, 2),
)
def test_any_words_reach_the_template(words, template, pictures):
    _, processor = FAMILIES["llava"].build()
    before, own = processor.tokenizer.chat_template, processor.chat_template
    processor.chat_template, processor.tokenizer.chat_template = None, template
    try:
        text = prompt_text(processor, processor.tokenizer, words, pictures, "auto")
    finally:
        processor.chat_template, processor.tokenizer.chat_template = own, before
    assert text.count("<image>") == pictures
    assert words.strip() in text or template == STRINGS["written as JSON"]


BROKEN = {
    "no words": ("{% for m in messages %}<image>{% endfor %}", "leaves words of the prompt out"),
    "no pictures": (
        "{% for m in messages %}{{ m.content | replace('<image>', '') }}{% endfor %}",
        "the pictures out|written out|writes the list",
    ),
    "refuses": ("{{ raise_exception('not today') }}", "not today"),
    "endless": ("{% for i in range(10**9) %}x{% endfor %}", "chat template does not take this prompt"),
    "no number": ("{{ 1 // 0 }}", "chat template does not take this prompt"),
    "too much memory": ("{{ 'x' * 10**14 }}", r"chat template does not take this prompt \(MemoryError\)"),
    "calls itself": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "chat template does not take this prompt"),
    "no sense": ("{{ messages[7].content.words }}", "chat template does not take this prompt"),
}


@pytest.mark.parametrize(("template", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_template_that_loses_something_is_named(llava, template, message):
    model, processor = llava
    processor.tokenizer.chat_template = template
    with pytest.raises(PromptError, match=message) as told:
        build_inputs(processor, [picture(1)], "What is this?", model=model)
    assert "chat='never'" in str(told.value)
    assert "\n" not in str(told.value)
    inputs = build_inputs(processor, [picture(1)], "<image> What is this?", model=model, chat="never")
    assert ids_of_pictures(model, inputs) == 16


def test_a_text_model_whose_template_wants_parts():
    tokenizer = FAMILIES["llama"].fresh()[1]
    tokenizer.chat_template = "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"
    assert prompt_text(tokenizer, tokenizer, "What is this?", 0, "auto") == "What is this?"
