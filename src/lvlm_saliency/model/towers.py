"""Vision towers: how many tokens they make beside those of their patches, and which pack pictures of any shape."""

from __future__ import annotations

from typing import Any

_BESIDE_PATCHES = {
    "clip_vision_model": 1,
    "siglip_vision_model": 0,
    "siglip2_vision_model": 0,
    "pixtral": 0,
    "aimv2_vision_model": 0,
    "mlcd_vision_model": 1,
    "metaclip_2_vision_model": 1,
    "vit": 1,
    "deit": 2,
    "dinov2": 1,
    "dinov2_with_registers": 1,
    "dinov3_vit": 1,
}
"""Class and distillation tokens that a vision tower puts before its patches, by `model_type`; registers are counted
from its configuration."""


def beside_patches(vision: Any) -> int | None:
    """How many tokens of a vision tower stand for no patch; None for a tower that is not listed."""
    known = _BESIDE_PATCHES.get(getattr(vision, "model_type", ""))
    return None if known is None else known + (getattr(vision, "num_register_tokens", None) or 0)


def packs_pictures(config: Any) -> bool:
    """Whether the vision tower reads pictures of any shape, told by `image_sizes` what of a padded batch is picture."""
    return getattr(getattr(config, "vision_config", None), "model_type", None) == "pixtral"
