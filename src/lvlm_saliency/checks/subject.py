"""The model under check, a prompt for it, and its answer without any method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from lvlm_saliency.model.inputs import build_inputs
from lvlm_saliency.model.regions import placeholder_ids

TOKENS = 4
"""How many tokens are written: the third is the first that LocoRE can act on."""
PROMPT = "Describe this picture."
PROMPT_OF_TEXT = "The names of three animals are"
SETTINGS: dict[str, Any] = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS, "do_sample": False, "num_beams": 1}

OTHER_LOOPS = (
    *("penalty_alpha", "dola_layers", "num_beam_groups", "diversity_penalty", "force_words_ids", "constraints"),
    *("assistant_early_exit", "prompt_lookup_num_tokens", "prefill_chunk_size", "guidance_scale"),
    *("stop_strings", "max_time", "cache_implementation", "token_healing"),
)
"""Generation settings that ask for another way to generate, or need more than a model."""


@dataclass
class Subject:
    """inputs: one sample, with a drawn picture where the model sees any; plain: `model.generate` of it, with logits."""

    model: Any
    processor: Any
    inputs: Any
    images: Sequence[Any]
    plain: Any = field(default=None)

    @classmethod
    def of(cls, model: Any, processor: Any) -> Subject:
        """A short prompt, as the processor makes it.

        Raises:
            InputError: the processor makes none that fits this model.
        """
        if sees(model, processor):
            from lvlm_saliency.scenes import demo_scenes, draw_scene

            images = [draw_scene(demo_scenes(1)[0])]
            return cls(model, processor, build_inputs(processor, images, PROMPT, model=model), images)
        return cls(model, processor, build_inputs(processor, None, PROMPT_OF_TEXT, model=model), [])

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of every call: short and greedy, whatever the checkpoint's own generation settings ask for."""
        own = getattr(self.model, "generation_config", None)
        found = [name for name in OTHER_LOOPS if getattr(own, name, None) is not None]
        several = (getattr(own, "num_return_sequences", None) or 1) > 1
        return {**SETTINGS, **dict.fromkeys(found), **({"num_return_sequences": 1} if several else {})}

    def written(self, **settings: Any) -> Any:
        """What `model.generate` writes, with its logits."""
        with torch.no_grad():
            return self.model.generate(
                **self.inputs, **self.settings, **settings, output_logits=True, return_dict_in_generate=True
            )


def sees(model: Any, processor: Any) -> bool:
    """Whether the model reads pictures and the processor makes them."""
    return hasattr(processor, "image_processor") and bool(placeholder_ids(model))
