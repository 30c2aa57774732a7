"""The effective settings of one `generate` call, the generation mode that they ask for, and a call without any."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from transformers import GenerationConfig
from transformers.generation import GenerationMode

from lvlm_saliency.errors import SettingError
from lvlm_saliency.hf.call import with_cache_named
from lvlm_saliency.hf.watch import watched_as

_MOVED = {
    GenerationMode.CONTRASTIVE_SEARCH: ("contrastive search", "penalty_alpha", ""),
    GenerationMode.DOLA_GENERATION: ("DoLa", "dola_layers", ", and use ls.method('dola')"),
    GenerationMode.GROUP_BEAM_SEARCH: ("group beam search", "num_beam_groups", ""),
    GenerationMode.CONSTRAINED_BEAM_SEARCH: ("constrained beam search", "force_words_ids and constraints", ""),
}
_ONE_BY_ONE = (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)


def call_settings(model: Any, settings: dict[str, Any]) -> GenerationConfig:
    """The effective settings: the keywords of a call, its configuration, and the checkpoint's own settings.

    Raises:
        SettingError: settings that `generate` itself refuses.
    """
    rest = {name: value for name, value in settings.items() if name != "generation_config"}
    try:
        config, _ = model._prepare_generation_config(settings.get("generation_config"), **rest)
    except (ValueError, TypeError) as error:
        raise SettingError(f"generate refuses these settings: {' '.join(str(error).split())}") from error
    return config


def token_by_token(config: GenerationConfig, assistant: Any) -> bool:
    """Whether `generate` chooses token by token under these settings (else it runs beams or an assistant).

    Raises:
        SettingError: a mode that this release of transformers no longer contains.
    """
    mode = config.get_generation_mode(assistant)
    if mode in _MOVED:
        name, setting, instead = _MOVED[mode]
        raise SettingError(
            f"{name} has moved out of transformers into code on the Hub, which is not run here: set {setting}=None "
            f"(it stands in the call or in the checkpoint's generation_config){instead}"
        )
    return mode in _ONE_BY_ONE


def prepared_plainly(model: Any, inputs: dict[str, Any], loop: Callable[..., Any], **settings: Any) -> Any:
    """`prepared`, with nothing of what a checkpoint's generation settings ask for (stop strings, kinds of caches,
    beams, ...) but the ids of its special tokens, which tell padding from text. No thread sees the model changed."""
    own = getattr(model, "generation_config", None)
    ids = {name: getattr(own, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    named = {name: settings.pop(name) for name in list(settings) if name in vars(_DEFAULTS)}
    plain = copy.copy(model)  # shares every weight, hook and submodule
    plain.generation_config = GenerationConfig(**ids, **named)

    def for_the_model(found: Any, *args: Any, **kwargs: Any) -> Any:
        return loop(model if found is plain else found, *args, **kwargs)

    keywords = with_cache_named({**inputs, **settings})
    with watched_as(plain, model):  # a block that is open for the model holds for this call too
        return plain.generate(**keywords, generation_config=plain.generation_config, custom_generate=for_the_model)


_DEFAULTS = GenerationConfig()
