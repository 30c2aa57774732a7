"""Everything that touches transformers' private names, in one place.

When a new transformers release renames something, only this package has to change; `docs/versions.md` says which
releases it was tested with. Callers write `hf.name`, whichever file defines it: `backends` (our attention function and
its names), `decoder` (the language model inside a model), `mode` (training or not), `switch` (our function on and off),
`call` (one forward call), `settings` (of a `generate` call), `generation` (what it prepares).
"""

# ruff: noqa: F401 (this file gives other files' names one address)

from lvlm_saliency.hf.backends import BACKENDS, NAMES, register
from lvlm_saliency.hf.call import CACHE, CACHE_NAMES, cache_of, lengths, window_of, with_cache_named, without_cache
from lvlm_saliency.hf.decoder import (
    attention_layers,
    decoder_layers,
    decoder_of,
    differentiable_embeddings,
    eager_language,
    eager_vision,
    final_norm,
    forget_held_states,
    is_hybrid,
    known_layers,
    last_to_write,
    maps_asked_for,
    refuse_held_states,
    rows_apart,
    running_layers,
    runs_apart,
    state_bytes,
    supported_decoder,
    text_config,
    tied_head,
    vision_layers,
)
from lvlm_saliency.hf.generation import (
    PER_TOKEN,
    TYPES,
    advanced,
    cut,
    decode_call,
    end_tokens,
    extended,
    inferred_mask,
    moved,
    next_inputs,
    offsets_kept,
    only_warpers,
    pad_token,
    picture_lengths,
    plain_limits,
    prefill,
    prefill_calls,
    prefill_inputs,
    prepared,
    prepared_alone,
    processed_rows,
    row_inputs,
    setting,
    warpers_apart,
    whole_inputs,
    without_compiling,
    without_prompt_inputs,
)
from lvlm_saliency.hf.layers import HELD_STATES
from lvlm_saliency.hf.mode import Draws, in_training, refuse_inference_weights, refuse_training
from lvlm_saliency.hf.settings import call_settings, prepared_plainly, token_by_token
from lvlm_saliency.hf.switch import _switches, bind_to_model, switched
from lvlm_saliency.hf.target_layers import target_layers
from lvlm_saliency.hf.watch import watched
