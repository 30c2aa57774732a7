"""Prompts without their pictures, and with an instruction behind the pictures or at the front, on every family."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from lvlm_saliency.errors import SettingError
from lvlm_saliency.interventions.icd import ICD
from lvlm_saliency.interventions.prompts import after_pictures, at_the_front, closing_marks, without_pictures
from lvlm_saliency.model.regions import placeholder_ids
from zoo import FAMILIES
from zoo.seeing import family_of

CLOSING = {
    "qwen2_vl": "<|vision_end|>",
    "gemma3": "<end_of_image>",
    "glm4v": "<|end_of_image|>",
    "llama4": "<|image_end|>",
    "ovis2": "<IMG_END>",
    "molmo2": "<im_end>",
}
"""What stands behind a picture, where a family's configuration names it, or its token types count it as a part."""


def test_prompts_without_pictures_and_with_an_instruction(family):
    if family.text_only:
        pytest.skip("no pictures")
    model, _ = family.build()
    inputs = family.inputs(n=3)
    new = family.tokenizer.convert_tokens_to_ids([";", "<", "="])  # plain text in every family
    special = torch.tensor(sorted({*family.tokenizer.added_tokens_decoder, *family.tokenizer.all_special_ids}))
    pictures = torch.tensor(placeholder_ids(model))
    bare = without_pictures(model, inputs)
    told = after_pictures(model, inputs, new, closing_marks(model, family.tokenizer))
    for row in range(3):
        given = inputs["input_ids"][row][inputs["attention_mask"][row].bool()]
        text = bare["input_ids"][row][bare["attention_mask"][row].bool()]
        image = torch.isin(given, pictures)
        assert not torch.isin(text, pictures).any()
        gone = Counter(given[~image].tolist()) - Counter(text.tolist())
        assert Counter(text.tolist()) <= Counter(given[~image].tolist())
        assert torch.isin(torch.tensor(list(gone)), special).all(), "of the text only the ids around the picture go"
        longer = told["input_ids"][row][told["attention_mask"][row].bool()]
        assert len(longer) == len(given) + 3
        at = int(torch.isin(longer, pictures).nonzero().max()) + 1
        at += longer[at:].tolist().index(new[0])
        assert longer[at : at + 3].tolist() == new
        assert torch.equal(torch.cat([longer[:at], longer[at + 3 :]]), given)
        if family.name in CLOSING:
            mark = family.tokenizer.convert_tokens_to_ids(CLOSING[family.name])
            assert longer[at - 1] == mark
            assert mark not in text
        first = at_the_front(model, inputs, new)
        longer = first["input_ids"][row][first["attention_mask"][row].bool()]
        at = int(given[0] == model.config.get_text_config(decoder=True).bos_token_id)
        assert longer[at : at + 3].tolist() == new
        assert torch.equal(torch.cat([longer[:at], longer[at + 3 :]]), given)
    for name in ("token_type_ids", "mm_token_type_ids"):
        if name in inputs:
            for made in (told, first):
                assert made[name].sum() == inputs[name].sum()
                assert made[name].shape == made["input_ids"].shape


NAMED_BY_THE_TOKENIZER = {
    "internvl": "</img>",
    "idefics3": "<fake_token_around_image>",
    "smolvlm": "<fake_token_around_image>",
    "hunyuan_vl": "<|im_stop|>",
    "exaone4_5": "<|vision_end|>",
    "minimax_m3_vl": "]<]end of image[>[",
    "muse_glimmer": "<|image_end|>",
    "mistral3": "[IMG_END]",
    "mistral_large4": "[IMG_END]",
    "aya_vision": "<|END_OF_IMG|>",
    "cohere2_vision": "<|IMG_LINE_BREAK|><|END_OF_IMG|>",
    "step3p7": "<im_end>",
    "lfm2_vl": "<|image_end|>",
    "minicpmv4_6": "</slice> or </image>",
    "minicpmv4_7": "</slice> or </image>",
}
"""What stands behind a picture, where the configuration does not say so. MiniCPM-V cuts the larger pictures alone."""


@pytest.mark.parametrize(
    "name",
    [name if name in FAMILIES else pytest.param(name, marks=pytest.mark.slow) for name in NAMED_BY_THE_TOKENIZER],
)
def test_an_instruction_stands_behind_a_mark_that_only_the_tokenizer_knows(name, monkeypatch):
    family = family_of(name)
    model, _ = family.build()
    inputs, tokenizer = dict(family.inputs(n=2)), family.tokenizer
    pictures = torch.tensor(placeholder_ids(model))
    new = tokenizer.convert_tokens_to_ids([";", "<", "="])
    for instruction, added in ((new, new), (";;", tokenizer(";;", add_special_tokens=False)["input_ids"])):
        (branch,) = ICD(instruction=instruction).contrast_branches(model, inputs, [0, 1])
        for row in range(2):
            given = inputs["input_ids"][row][inputs["attention_mask"][row].bool()].tolist()
            longer = branch.inputs["input_ids"][row][branch.inputs["attention_mask"][row].bool()]
            behind = int(torch.isin(longer, pictures).nonzero().max()) + 1
            longer = longer.tolist()
            at = next(n for n in range(behind, len(longer)) if longer[n : n + len(added)] == added)
            assert tokenizer.decode(longer[behind:at]) in NAMED_BY_THE_TOKENIZER[name].split(" or ")
            assert longer[:at] + longer[at + len(added) :] == given
    monkeypatch.setattr(model.config, "name_or_path", "no/such-folder")
    with pytest.raises(SettingError, match=r"no tokenizer is found .*: it tells what closes a picture"):
        ICD(instruction=new).contrast_branches(model, inputs, [0, 1])
    ICD(instruction=new, mode="official_code").contrast_branches(model, inputs, [0, 1])


def test_only_marks_that_stand_there_are_passed():
    """The end of a turn right after the picture is none of its marks, and a mark further on does not count."""
    family = FAMILIES["internvl"]
    model, _ = family.build()
    tokenizer = family.tokenizer
    picture, end, turn, word, new = tokenizer.convert_tokens_to_ids(["<IMG_CONTEXT>", "</img>", "<|im_end|>", "a", ";"])
    for ids, place in (([picture, turn, end, word], 1), ([picture, end, end, turn], 3), ([word, picture], 2)):
        told = after_pictures(model, {"input_ids": torch.tensor([ids])}, [new], closing_marks(model, tokenizer))
        assert told["input_ids"][0].tolist() == [*ids[:place], new, *ids[place:]]
