"""Where image tokens lie in the original picture, for every family with a spatial grid."""

from .build import image_layouts
from .tiles import ImageLayout, ImageTile

__all__ = ["ImageLayout", "ImageTile", "image_layouts"]
