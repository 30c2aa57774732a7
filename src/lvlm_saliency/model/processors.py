"""Loading a checkpoint's processor: images and text together, or a tokenizer alone for a text model.

Several families (Qwen-VL, InternVL, OneVision, SmolVLM) carry a video processor that transformers only builds when
torchvision is installed. Those families must load for pictures without torchvision too: the video processor is then
replaced by one that keeps the settings and refuses videos.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoProcessor, AutoTokenizer, PreTrainedConfig
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING, processor_class_from_name
from transformers.processing_utils import ProcessorMixin
from transformers.utils import cached_file, is_torchvision_available
from transformers.video_processing_utils import VideoProcessorMixin

from lvlm_saliency.errors import InputError
from lvlm_saliency.files import read_json

_VIDEO_SETTINGS = {"num_frames": None, "fps": None, "merge_size": 2}


class PicturesOnly(VideoProcessorMixin):
    """Stands where a video processor belongs when torchvision is missing: keeps its settings, refuses videos."""

    def __init__(self, **settings: Any) -> None:
        self.video_processor_type = settings.pop("video_processor_type", type(self).__name__)
        for name, value in {**_VIDEO_SETTINGS, **settings}.items():
            setattr(self, name, value)

    def __call__(self, videos: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        raise InputError("videos need torchvision: pip install 'lvlm-saliency[video]', or give frames as pictures")

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


def without_videos(processor_class: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """`processor_class` whose constructor also takes a `PicturesOnly` as its video processor."""

    def check(self: ProcessorMixin, name: str, argument: Any) -> Any:
        if isinstance(argument, PicturesOnly):
            return PicturesOnly
        return processor_class.check_argument_for_proper_class(self, name, argument)

    return type(processor_class.__name__, (processor_class,), {"check_argument_for_proper_class": check})


def load_processor(name_or_path: str, config: PreTrainedConfig, **hub: Any) -> Any:
    """The processor of a checkpoint, or its tokenizer when `config` is a text model's.

    `hub` goes to every `from_pretrained` (`revision`, `local_files_only`). Raises what transformers raises; remote code
    is never run.
    """
    auto = {**hub, "trust_remote_code": False}
    processor_class = _processor_class(name_or_path, config, **hub)
    if processor_class is None:
        return AutoTokenizer.from_pretrained(name_or_path, **auto)
    if "video_processor" not in processor_class.get_attributes() or is_torchvision_available():
        return AutoProcessor.from_pretrained(name_or_path, **auto)
    settings, _ = processor_class.get_processor_dict(name_or_path, **hub)
    parts = {
        "image_processor": lambda: AutoImageProcessor.from_pretrained(name_or_path, **auto),
        "tokenizer": lambda: AutoTokenizer.from_pretrained(name_or_path, **auto),
        "feature_extractor": lambda: AutoFeatureExtractor.from_pretrained(name_or_path, **auto),
        "video_processor": lambda: PicturesOnly(**_video_settings(name_or_path, settings, **hub)),
    }
    loaded = [parts[attribute]() for attribute in processor_class.get_attributes()]
    return without_videos(processor_class).from_args_and_dict(loaded, settings)


def _processor_class(name_or_path: str, config: PreTrainedConfig, **hub: Any) -> type[ProcessorMixin] | None:
    """The class of the checkpoint's processor; None for a text model.

    transformers lists most families. Some that borrow another family's processor (GLM-OCR) are not in its list, and the
    checkpoint alone names the class.
    """
    if type(config) in PROCESSOR_MAPPING:
        listed: Any = PROCESSOR_MAPPING[type(config)]  # transformers' annotation is that of its table of tokenizers
        return listed
    if not hasattr(config, "vision_config"):
        return None
    for name in ("processor_config.json", "preprocessor_config.json"):
        file = cached_file(name_or_path, name, _raise_exceptions_for_missing_entries=False, **hub)
        named = read_json(Path(file)).get("processor_class") if file else None
        if isinstance(named, str) and (found := processor_class_from_name(named)) is not None:
            return found
    return None


def _video_settings(name_or_path: str, settings: dict[str, Any], **hub: Any) -> dict[str, Any]:
    if isinstance(settings.get("video_processor"), dict):
        return settings["video_processor"]
    file = cached_file(
        name_or_path, "video_preprocessor_config.json", _raise_exceptions_for_missing_entries=False, **hub
    )
    return read_json(Path(file)) if file else {}
