"""The layout of image tokens: which part of the original picture each stands for, in families with a spatial grid."""

from lvlm_saliency.model.layout.build import image_layouts
from lvlm_saliency.model.layout.tiles import ImageLayout, ImageTile

__all__ = ["ImageLayout", "ImageTile", "image_layouts"]
