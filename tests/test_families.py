"""The table of families agrees with what is tested and with transformers' own names."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from lvlm_saliency.model import families
from lvlm_saliency.model.families import FAMILIES, FamilyInfo
from zoo import FAMILIES as ZOO
from zoo import MORE, REFUSED


def test_every_supported_family_has_a_small_model_and_the_other_way_round():
    supported = {family.model_type for family in FAMILIES if family.tested}
    assert supported == {family.build()[0].config.model_type for family in ZOO.values()} | {
        family.model_type for family in MORE.values()
    }


def test_names_are_those_of_transformers():
    for family in FAMILIES:
        assert family.model_type in CONFIG_MAPPING_NAMES
        for processor in family.processors:
            # some borrow another family's processor, which their checkpoints name
            assert PROCESSOR_MAPPING_NAMES.get(family.model_type, processor) == processor
    assert len({family.model_type for family in FAMILIES}) == len(FAMILIES)


def test_grids_exist_for_families_that_see():
    for family in FAMILIES:
        if family.grid:
            module, function = family.grid.split(":")
            assert callable(getattr(importlib.import_module(f"lvlm_saliency.model.layout.{module}"), function))
        text_only = family.model_type not in PROCESSOR_MAPPING_NAMES or not family.processors
        assert text_only or family.grid or family.no_grid or family.refused


def test_refused_families_say_why():
    assert "cross-attention" in families.find(REFUSED["mllama"].build()[0].config.model_type).refused
    assert families.find("paligemma").refused


def test_the_document_says_how_each_row_is_proven():
    lines = (Path(__file__).parents[1] / "docs" / "families.md").read_text(encoding="utf-8").splitlines()
    rows = {line.split("`")[1]: line for line in lines if line.startswith("| ") and "`" in line}
    assert list(rows) == [family.model_type for family in FAMILIES]
    for family in FAMILIES:
        _, name, _, proof, checkpoints, _ = (cell.strip() for cell in rows[family.model_type].split("|"))
        assert name == family.name
        assert checkpoints == ", ".join(one.split("/")[1] for one in family.checkpoints)
        if family.refused:
            assert proof == f"refused: {family.refused}"
        elif family.proof:
            assert proof == ", ".join(family.proof)
        else:
            assert family.no_grid in proof


def test_presets():
    assert families.presets("llava").beta == 0.15
    assert families.presets("qwen2_vl").beta == 0.20
    assert families.presets("never-heard-of") == families.DEFAULT
    assert FamilyInfo("x", "X").target_layers(range(32)) == list(range(16, 24))
    assert FamilyInfo("x", "X").target_layers([3, 7, 11, 15]) == [11]
    assert FamilyInfo("x", "X").target_layers([]) == []


@given(
    st.lists(st.integers(0, 99), unique=True, min_size=1).map(sorted),
    st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
)
def test_target_layers_are_some_of_the_layers(layers, depth):
    chosen = FamilyInfo("x", "X", depth=tuple(depth)).target_layers(layers)
    assert chosen
    assert set(chosen) <= set(layers)
    assert chosen == sorted(chosen)


@pytest.mark.parametrize("module", ["lvlm_saliency.model.families", "lvlm_saliency.model.layout"])
def test_the_table_and_the_layouts_are_quick_to_import(module):
    code = f"import {module}, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
