"""The layout of image and video tokens: which part of the original picture, or of which frame, each stands for."""

from lvlm_saliency.model.layout.build import image_layouts
from lvlm_saliency.model.layout.film import VideoLayout, VideoStep
from lvlm_saliency.model.layout.films import video_layouts
from lvlm_saliency.model.layout.tiles import ImageLayout, ImageTile

__all__ = ["ImageLayout", "ImageTile", "VideoLayout", "VideoStep", "image_layouts", "video_layouts"]
