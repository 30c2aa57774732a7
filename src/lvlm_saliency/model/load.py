"""Loading a model and its processor by name: the one in the package, a folder, or a hub id."""

from __future__ import annotations

import os
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
)

from lvlm_saliency.errors import ModelError
from lvlm_saliency.model.checkpoints import SCENES, Checkpoint, find_checkpoint, first_line, shards_of
from lvlm_saliency.model.devices import placement
from lvlm_saliency.model.input_checks import check_inputs
from lvlm_saliency.model.inputs import build_inputs
from lvlm_saliency.model.processors import load_processor
from lvlm_saliency.model.sizes import check_processor, check_settings, check_weights

__all__ = ["build_inputs", "check_inputs", "load_model"]


def load_model(
    name_or_path: str | os.PathLike[str],
    *,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device | dict[str, Any] | None = None,
    revision: str | None = None,
    local_files_only: bool | None = None,
    quantization_config: Any = None,
    attn_implementation: str | None = None,
) -> tuple[Any, Any]:
    """Load a generative model and its processor (a tokenizer for a text model).

    Args:
        name_or_path: "scenes" for the model inside this package, a folder, or a hub id such as
            "llava-hf/llava-1.5-7b-hf".
        dtype: "auto" is the checkpoint's own (float32 for "scenes" on the CPU); else a torch dtype or its name.
        device: None or "auto" for the GPU when there is one, else the CPU; a device; "spread" for all GPUs, then main
            memory; or a `device_map`.
        revision: branch, tag or commit of a hub id.
        local_files_only: True never asks the hub, False requires it, None uses the local cache where the hub cannot be
            reached.
        quantization_config: passed on to `from_pretrained` (bitsandbytes, torchao). bitsandbytes' own packing of 4-bit
            weights for inference on some processors is switched off, because it has no backward pass.
        attn_implementation: passed on to `from_pretrained`.

    Returns:
        (model, processor), the model in eval mode.

    Raises:
        ModelError: in one line, why it cannot be loaded. Pickles and remote code are never run.
        InputError: this machine does not have the device.
    """
    place, spread = placement(device)
    checkpoint = find_checkpoint(os.fspath(name_or_path), revision, local_files_only)
    shown = str(name_or_path)
    config = _config(checkpoint, shown)
    options = {"quantization_config": quantization_config, "attn_implementation": attn_implementation}
    given = {name: value for name, value in options.items() if value is not None}
    model = _model(checkpoint, shown, config, _dtype(dtype, checkpoint, place), place, spread, given)
    return _unpacked(model.eval()), _processor(checkpoint, config, shown)


def load_structure(
    name_or_path: str | os.PathLike[str], *, revision: str | None = None, local_files_only: bool | None = None
) -> tuple[Any, Any]:
    """A model's modules and configuration without its weights, which take no memory (torch's meta device), and its
    processor. Arguments and errors as in `load_model`."""
    checkpoint = find_checkpoint(os.fspath(name_or_path), revision, local_files_only)
    shown = str(name_or_path)
    config = _config(checkpoint, shown)
    with torch.device("meta"):
        model: Any = _auto(config).from_config(config, trust_remote_code=False)
    return model.eval(), _processor(checkpoint, config, shown)


def _processor(checkpoint: Checkpoint, config: PreTrainedConfig, shown: str) -> Any:
    try:
        processor = load_processor(checkpoint.source, config, **checkpoint.hub)
        check_processor(processor, shown)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{shown} has no processor or tokenizer that can be loaded ({first_line(error)}): "
            "it needs the files that processor.save_pretrained writes"
        ) from error
    return processor


def _auto(config: PreTrainedConfig) -> Any:
    """The class that reads checkpoints of this configuration."""
    seen = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    return AutoModelForImageTextToText if seen else AutoModelForCausalLM


def _unpacked(model: Any) -> Any:
    """The model, with repacking of its weights switched off: with AVX512-BF16, bitsandbytes packs 4-bit weights at the
    first call without gradient into a format that has no backward pass, which a trace needs."""
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False
    return model


def _config(checkpoint: Checkpoint, shown: str) -> PreTrainedConfig:
    try:
        settings, _ = PreTrainedConfig.get_config_dict(checkpoint.source, **checkpoint.hub)
        check_settings(settings, shown)
    except ModelError:
        raise
    # Here and below, damaged files make transformers, its tokenizers and the configurations raise errors of almost any
    # type.
    except Exception as error:
        if checkpoint.folder is None:
            raise ModelError(
                f"the hub cannot be reached and {shown} is not in the local cache: give a folder that holds it"
            ) from error
        raise ModelError(f"the config.json of {shown} cannot be read ({first_line(error)})") from error
    kind = settings.get("model_type")
    if not isinstance(kind, str):
        raise ModelError(f"the config.json of {shown} names no model_type: it is not a checkpoint of transformers")
    if kind not in CONFIG_MAPPING:
        if settings.get("auto_map"):
            raise ModelError(
                f"{shown} needs its own Python code to be run (remote code), which is refused: "
                "use a checkpoint in the format of transformers, often named ...-hf"
            )
        raise ModelError(
            f"{shown} is of the kind {kind!r}, which this version of transformers does not know: try a newer one"
        )
    try:
        config = AutoConfig.from_pretrained(checkpoint.source, trust_remote_code=False, **checkpoint.hub)
    except Exception as error:
        raise ModelError(
            f"the config.json of {shown} does not describe a {kind} model ({first_line(error)})"
        ) from error
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING and type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ModelError(f"{shown} is a {kind} model, which does not continue a prompt with text: nothing to trace")
    return config


def _dtype(dtype: str | torch.dtype, checkpoint: Checkpoint, device: Any) -> str | torch.dtype:
    if isinstance(dtype, str) and dtype != "auto":
        chosen = getattr(torch, dtype, None)
        if not isinstance(chosen, torch.dtype) or not chosen.is_floating_point:
            raise ModelError(f"unknown dtype {dtype!r}: one of auto, float32, bfloat16, float16")
        return chosen
    # "scenes" is kept small on disk in half precision, in which a CPU is slow.
    small = checkpoint.source == str(SCENES) and str(device).startswith("cpu")
    return torch.float32 if dtype == "auto" and small else dtype


def _model(
    checkpoint: Checkpoint,
    shown: str,
    config: PreTrainedConfig,
    dtype: Any,
    place: Any,
    spread: Any,
    options: dict[str, Any],
) -> Any:
    auto = _auto(config)
    if spread is not None:
        options["device_map"] = spread
    elif "quantization_config" in options or getattr(config, "quantization_config", None) is not None:
        # A quantised model is put in its place while it is read, not afterwards.
        options["device_map"] = {"": place}
    try:
        if checkpoint.folder is not None:
            names = shards_of(checkpoint.folder, {file.name for file in checkpoint.folder.iterdir()})
            check_weights(auto, config, [checkpoint.folder / name for name in names], shown)
        loaded: Any = auto.from_pretrained(
            checkpoint.source,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            # Both are refused below, by name: transformers would fill in what is missing, and only warn.
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
            **checkpoint.hub,
        )
        model, report = loaded
        if "device_map" not in options:
            model = model.to(place)
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"{shown} does not fit into the memory of {'this machine' if place is None else place}: "
            "try device='spread', a smaller dtype or a quantised checkpoint"
        ) from error
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"the weights of {shown} cannot be loaded: {first_line(error)}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"the weights of {shown} lack {len(missing)} tensors that its config.json asks for (first: {missing[0]})"
        )
    if report["mismatched_keys"]:
        name, found, expected = sorted(report["mismatched_keys"])[0]
        raise ModelError(
            f"the weights of {shown} do not fit its config.json: {name} is {list(found)}, not {list(expected)}"
        )
    return model
