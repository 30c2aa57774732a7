"""The model families that are supported: what was tested, how their image tokens lie, and the settings to start from.

Data only, and quick to import. A family that is not listed is still traced when its attention goes through
transformers' attention interface and its cache is of a known kind. What is known to stand in the way is refused with
the reason; `docs/architectures.md` says which language models of transformers were held against the definition, and
`lvlm-saliency check` does it for any checkpoint. What a row adds is heat maps and presets. A new family is a row.
"""

from __future__ import annotations

from lvlm_saliency.model.families.info import FamilyInfo
from lvlm_saliency.model.families.one_grid import ONE_GRID
from lvlm_saliency.model.families.others import OTHERS
from lvlm_saliency.model.families.tiles import TILES

FAMILIES: tuple[FamilyInfo, ...] = (*ONE_GRID, *TILES, *OTHERS)
DEFAULT = FamilyInfo("", "not listed")

__all__ = ["DEFAULT", "FAMILIES", "FamilyInfo", "find", "of_processor", "presets"]


def find(model_type: str) -> FamilyInfo | None:
    """The family of that `config.model_type`, or None."""
    return next((family for family in FAMILIES if family.model_type == model_type), None)


def of_processor(class_name: str) -> FamilyInfo | None:
    """The family whose processor has that class name, or None."""
    return next((family for family in FAMILIES if class_name in family.processors), None)


def presets(model_type: str) -> FamilyInfo:
    """The family's row, or one with the general settings for a family that is not listed."""
    return find(model_type) or DEFAULT
