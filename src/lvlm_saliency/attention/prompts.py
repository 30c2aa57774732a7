"""The prompt of a forward call, and what is known of the rows that a cache holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.errors import PromptError, SettingError
from lvlm_saliency.hf import caches
from lvlm_saliency.model.regions import PIXELS, placeholder_ids

if TYPE_CHECKING:
    from lvlm_saliency.attention.parts import PromptTraits

_ORIGIN = "lvlm_saliency_origin"


@dataclass
class Prompt:
    """The prompt of a call.

    Attributes:
        length: n0, padding included.
        image: bool `[batch, n0]`, the positions of image tokens; None where there are none.
        padding: bool `[batch, n0]`, the positions of padding; None where there is none.
        shift: see `RowContext`.
        told: whether the token ids were known, which alone say where pictures stand.
    """

    length: int
    image: Tensor | None = None
    padding: Tensor | None = None
    shift: Tensor | None = None
    told: bool = True

    @classmethod
    def read(cls, model: Any, ids: Tensor | None, mask: Tensor | None, length: int) -> Prompt:
        """The prompt that token ids `[batch, n0]` and an attention mask describe."""
        image = padding = None
        told = False
        if isinstance(ids, Tensor) and ids.dim() == 2 and ids.shape[1] >= length:
            told, ids = True, ids[:, :length]
            image = torch.isin(ids, torch.tensor(placeholder_ids(model), dtype=ids.dtype, device=ids.device))
        if isinstance(mask, Tensor) and mask.dim() == 2 and mask.shape[1] >= length:
            padding = mask[:, :length] == 0
        image, padding = (m if m is not None and bool(m.any()) else None for m in (image, padding))
        return cls(length, image, padding, told=told)

    def rows(self, rows: Tensor) -> Prompt:
        """The prompt of these samples (repeats allowed), int64 `[R]`, whose cache has no columns of padding more."""
        image, padding = (None if m is None else m[rows.to(m.device)] for m in (self.image, self.padding))
        return Prompt(self.length, image, padding)


@dataclass(frozen=True)
class Origin:
    """What is known of the rows whose keys and values a cache holds. Stored on the cache, so that copies keep it.

    Attributes:
        prompt: the prompt that the cache began with.
        edited: position of the first row that a method has changed; None where none has.
    """

    prompt: Prompt
    edited: int | None = None


def origin_of(cache: Any) -> Origin | None:
    """What is known of a cache's rows; None where they were computed outside of any session."""
    return getattr(cache, _ORIGIN, None)


def note_origin(cache: Any, prompt: Prompt, past: int, edited: int | None) -> None:
    """Note on the cache what a call over `past` tokens has added to it; `edited` as in `Origin`."""
    known = None if past == 0 else origin_of(cache)
    if known is not None and known.edited is not None:
        edited = known.edited if edited is None else min(edited, known.edited)
    if known is None or known.edited != edited or known.prompt is not prompt:
        setattr(cache, _ORIGIN, Origin(prompt, edited))


def prompt_of(model: Any, given: Mapping[str, Any]) -> Prompt:
    """The prompt of a `generate` call with these arguments.

    All of `input_ids` (or `inputs_embeds`) is the prompt; where only the tokens after a cache are given, the attention
    mask tells how long all of it is.
    """
    given_ids, embeddings = given.get("input_ids"), given.get("inputs_embeds")
    ids = given.get("inputs") if given_ids is None else given_ids
    if embeddings is not None:
        length = embeddings.shape[1]
        ids = ids if isinstance(ids, Tensor) and ids.shape[1] == length else None
    else:
        length = 1 if ids is None else ids.shape[1]  # without ids, generate begins with the start token
    mask = given.get("attention_mask")
    if mask is None and embeddings is None and isinstance(ids, Tensor):
        mask = hf.inferred_mask(model, ids, given)
    if hf.cache_of(given) is not None and isinstance(mask, Tensor) and mask.dim() == 2:
        length = max(length, mask.shape[1])
    return Prompt.read(model, ids, mask, length)


def check_told(acting: Iterable[PromptTraits], model: Any, prompt: Prompt) -> None:
    """Check that parts which act on the picture can tell where it stands in the prompt.

    Raises:
        SettingError: the prompt's ids are not known; the message names the method.
    """
    if prompt.told or not placeholder_ids(model):
        return
    for part in acting:
        if part.needs_picture:
            raise SettingError(
                f"{part.name} acts on the picture, and only the ids of the whole prompt tell where that stands: "
                "pass all of input_ids (beside inputs_embeds, where you give those)"
            )


def brought_cache(given: Mapping[str, Any]) -> Any:
    """The cache that the caller of `generate` passes, if it holds anything; else None.

    Raises:
        SettingError: it is no cache of transformers.
    """
    cache = hf.cache_of(given)
    if cache is not None and not hasattr(cache, "get_seq_length"):
        raise SettingError(
            f"past_key_values is a {type(cache).__name__}, not a Cache of transformers: leave it out or pass a "
            "DynamicCache"
        )
    return cache if cache is not None and cache.get_seq_length() else None


def fit_cache(model: Any, acting: Sequence[PromptTraits], cache: Any, prompt: Prompt, given: Mapping[str, Any]) -> int:
    """Crop a cache that the caller passes to the rows that can be used, and return how many tokens it then holds.

    Rows that a forward pass over the present prompt would compute differently are removed, with all rows after them,
    and their tokens are fed again: rows that a method edited as part of an answer that now belongs to the prompt, and
    all rows where a method edits the prompt. At least the last token is fed.

    Args:
        model: the model.
        acting: the parts that change forward calls in this generation.
        cache: the caller's cache.
        prompt: the present prompt.
        given: the arguments of `generate`.

    Raises:
        SettingError: the cache holds more than the prompt, or rows that cannot be removed or fed again.
    """
    held = int(cache.get_seq_length())
    if held > prompt.length:
        raise SettingError(
            f"the cache holds {held} tokens and the prompt is {prompt.length}: pass the whole text as input_ids, with "
            "what the cache holds at its front"
        )
    changing = next((part for part in acting if part.edits_prompt), None)
    known = origin_of(cache)
    edited = held if not acting or known is None or known.edited is None else min(held, known.edited)
    # in assisted decoding transformers feeds the whole prompt first, whatever the cache already holds
    drafting = any(
        hf.setting(model, given, name) is not None for name in ("assistant_model", "prompt_lookup_num_tokens")
    )
    fit = 0 if changing is not None or drafting else min(edited, prompt.length - 1)
    if fit == held:
        return held
    if changing is not None:
        why = f"{changing.name} edits the prompt's rows while they are read"
    elif drafting:
        why = "assisted decoding reads the whole prompt"
    else:
        why = "a method wrote them as an answer" if edited < held else "the last token has to be read"
    ids, embeddings = given.get("input_ids", given.get("inputs")), given.get("inputs_embeds")
    if embeddings is None and ids.shape[1] < prompt.length:
        raise SettingError(
            f"{held - fit} of the {held} tokens in the cache have to be fed again ({why}): pass the whole text as "
            "input_ids, not only what stands behind the cache"
        )
    if not caches.can_take_back(cache):
        raise SettingError(
            f"{held - fit} of the {held} tokens in the cache have to be fed again ({why}), and this "
            f"{type(cache).__name__} cannot take them back (static, or its sliding window is full): leave it out"
        )
    caches.crop(cache, held - fit)
    return fit


def check_pictures_in_cache(model: Any, given: Mapping[str, Any], held: int) -> None:
    """Check that the pictures passed beside a cache are exactly those after its first `held` tokens.

    Raises:
        PromptError: pictures are passed that the cache already holds, or others are missing.
    """
    ids = given.get("input_ids", given.get("inputs"))
    known = placeholder_ids(model)
    if not known or not isinstance(ids, Tensor) or ids.shape[1] <= held:
        return
    image = torch.isin(ids, torch.tensor(known, dtype=ids.dtype, device=ids.device))
    before, behind = int(image[:, :held].sum()), int(image[:, held:].sum())
    pictures = any(given.get(name) is not None for name in PIXELS)
    if pictures and before and not behind:
        raise PromptError(
            f"the cache already holds the prompt's {before} image tokens: leave their pictures out (pixel_values)"
        )
    if behind and not pictures and given.get("inputs_embeds") is None:
        raise PromptError(
            f"{behind} image tokens stand behind what the cache holds: pass their pictures (pixel_values), no others"
        )


@contextmanager
def pushed(stack: list[Any], item: Any) -> Iterator[None]:
    """Keep `item` at the end of the list `stack` for the length of the block."""
    stack.append(item)
    try:
        yield
    finally:
        stack.pop()
