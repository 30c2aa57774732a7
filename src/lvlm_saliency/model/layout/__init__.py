"""Where image tokens lie in the original picture, for every family with a spatial grid."""

from lvlm_saliency.model.layout.build import image_layouts
from lvlm_saliency.model.layout.tiles import ImageLayout, ImageTile

__all__ = ["ImageLayout", "ImageTile", "image_layouts"]
