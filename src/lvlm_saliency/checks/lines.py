"""The checks, one function each: what is measured on the model, and the limit up to which it passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lvlm_saliency import hf
from lvlm_saliency.checks.reference import NoMapsError, reference_rows
from lvlm_saliency.checks.report import CheckRow
from lvlm_saliency.checks.subject import Subject
from lvlm_saliency.decoding.loop import generate
from lvlm_saliency.errors import SettingError, UnsupportedModelError
from lvlm_saliency.interventions.dola import DoLa
from lvlm_saliency.interventions.locore import LocoRE
from lvlm_saliency.interventions.memvr import MemVR
from lvlm_saliency.interventions.sgrs import SGRS
from lvlm_saliency.model.layout import image_layouts
from lvlm_saliency.model.output import GenerateOutput
from lvlm_saliency.model.regions import token_regions
from lvlm_saliency.tracing.one_pass import trace

ROWS = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 0.05, torch.bfloat16: 0.25}
"""By dtype, the largest distance allowed between a row of unit length and the definition's; in half precision both are
rounded."""
LOGITS = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.25}
"""By dtype, the largest difference of logits allowed, in standard deviations of the model's logits."""


def rows_are_exact(subject: Subject) -> CheckRow:
    """Rows and attention of a trace against the definition: the largest distance of a row."""
    name, model = "rows = definition", subject.model
    sequences = subject.plain.sequences
    try:
        rows, attention = reference_rows(model, subject.inputs, sequences)
    except NoMapsError as error:
        return CheckRow(name, "not possible", detail=str(error))
    found = trace(model, subject.inputs, sequences)
    count = rows.shape[1]
    gaps = [
        (made[0, :, :count].double() - wanted).norm(dim=-1)
        for made, wanted in ((found.rows, rows), (found.attention, attention))
    ]
    worst = torch.maximum(*gaps)
    layer, token = divmod(int(worst.argmax()), count)
    what = f"farthest: layer {found.layers[layer]}, token {token + 1}"
    detail = f"{count} tokens, {len(found.layers)} layers with attention, {sequences.shape[1]} positions; {what}"
    return _within(name, float(worst.max()), ROWS[model.dtype], detail)


def neutral_is_plain(subject: Subject, method: Any) -> CheckRow:
    """A method with neutral settings against `model.generate`: the largest difference of a logit, which must be 0."""
    out = generate(subject.model, subject.inputs, [method], **subject.settings, output_logits=True)
    same_text = torch.equal(out.sequences.cpu(), subject.plain.sequences.cpu())
    gap = max(_gaps(_logits(out), subject.plain.logits, 1.0), default=0.0)
    detail = "bit-identical to generate" if same_text else "another text than that of generate"
    row = _within(f"neutral {type(method).__name__}", gap, 0.0, detail)
    return row if same_text else CheckRow(row.name, "fail", gap, 0.0, detail)


def image_tokens_are_found(subject: Subject) -> CheckRow:
    """Positions of the region "image" against the tokens that the processor wrote and the features that the model's
    own encoder makes."""
    regions = token_regions(subject.model, subject.inputs)
    found = int(regions.image.sum())
    counts: dict[str, int] = {"the encoder's features": sum(hf.picture_lengths(subject.model, subject.inputs))}
    token = getattr(getattr(subject.processor, "tokenizer", None), "image_token_id", None)
    if isinstance(token, int):
        counts["the processor's tokens"] = int((subject.inputs["input_ids"] == token).sum())
    told = ", ".join(f"{what}: {count}" for what, count in counts.items())
    gap = max(abs(count - found) for count in counts.values())
    row = _within("image tokens found", float(gap), 0.0, f"{found} image positions; {told}")
    return row if found else CheckRow(row.name, "fail", row.figure, 0.0, row.detail)


def image_tokens_are_laid_out(subject: Subject) -> CheckRow:
    """Whether every image token is in the picture's layout exactly once: how many are missing, doubled or misplaced."""
    name = "image tokens laid out"
    try:
        layouts = image_layouts(subject.processor, subject.inputs, [subject.images], subject.model)[0]
    except UnsupportedModelError as error:
        return CheckRow(name, "not possible", detail=f"no heat maps: {error}")
    image = token_regions(subject.model, subject.inputs).image[0].nonzero().flatten().cpu().numpy()
    placed, times = np.unique(np.concatenate([layout.positions for layout in layouts]), return_counts=True)
    wrong = len(np.setxor1d(placed, image)) + int((times - 1).sum())
    grids = [tile.positions.shape for layout in layouts for tile in layout.tiles]
    shown = ", ".join(f"{rows} x {cols}" for rows, cols in dict.fromkeys(grids))
    return _within(
        name,
        float(wrong),
        0.0,
        f"{len(grids)} {'grid' if len(grids) == 1 else 'grids'} ({shown}) over the picture, each token once",
    )


def cached_is_recomputed(subject: Subject) -> CheckRow:
    """LocoRE, switched on, with a cache and without one: the largest difference of a logit, up to the first token in
    which the two texts differ."""
    name, method = "cached = recomputed", LocoRE(beta=1.0, window=3)
    cached, whole = (
        generate(subject.model, subject.inputs, [method], **subject.settings, output_logits=True, use_cache=use)
        for use in (True, False)
    )
    n0 = subject.inputs["input_ids"].shape[1]
    equal = (cached.sequences[0, n0:] == whole.sequences[0, n0:]).int().cumprod(0).sum()
    kept, again = _logits(cached), _logits(whole)
    upto = min(int(equal) + 1, len(kept), len(again))
    spread = float(subject.plain.logits[0].float().std())
    gap = max(_gaps(kept[:upto], again[:upto], spread))
    acts = max(_gaps(kept, subject.plain.logits, spread)) > 0
    detail = f"LocoRE(beta=1), {upto} tokens; in standard deviations of the logits"
    row = _within(name, gap, LOGITS[subject.model.dtype], detail)
    return row if acts else CheckRow(name, "fail", gap, row.limit, "LocoRE(beta=1) changes no logit: it does not act")


def use_everything(subject: Subject) -> None:
    """Use every way of acting on the model once (hooks, attention, gradients, in our own calls and in a `with` block,
    also one that ends in an error), so that `state_of` can be compared afterwards."""
    model, inputs = subject.model, subject.inputs
    hooked = hooked_method(subject, active=True)
    for methods in ([LocoRE()], [SGRS(seed=0)], [] if hooked is None else [hooked]):
        generate(model, inputs, methods, **subject.settings)
    trace(model, inputs, subject.plain.sequences, methods=[LocoRE()])
    try:
        with LocoRE()(model):
            model.generate(**inputs, **subject.settings)
            raise InterruptedError
    except InterruptedError:
        pass


def hooked_method(subject: Subject, active: bool = False) -> Any:
    """A method that acts through hooks on the layers and serves this model, switched off or on; None where there is
    none."""
    on: list[Any] = [MemVR(gamma=-1)] if subject.images else []
    off: list[Any] = [MemVR(alpha=0)] if subject.images else []
    on, off = [*on, DoLa()], [*off, DoLa(contrast=0, relative_top=0)]
    for acting, neutral in zip(on, off, strict=True):
        try:
            acting.check_model(subject.model)
            neutral.check_model(subject.model)
        except (SettingError, UnsupportedModelError):
            continue
        return acting if active else neutral
    return None


def _logits(out: GenerateOutput) -> tuple[Tensor, ...]:
    assert out.logits is not None  # output_logits=True asked for them
    return out.logits


def _gaps(some: Sequence[Tensor], others: Sequence[Tensor], unit: float) -> list[float]:
    """The largest difference of two logits at each step, in `unit`s; infinite where only one of them is, or where one
    is no number (`max` would pass over NaN)."""
    found = []
    for one, other in zip(some, others, strict=False):
        a, b = one.double().cpu(), other.double().cpu()
        gap = (a - b).abs().masked_fill(a == b, 0.0)  # two infinities of one sign are equal
        found.append(float(gap.nan_to_num(nan=math.inf, posinf=math.inf).max()) / max(unit, 1e-12))
    return found


def _within(name: str, figure: float, limit: float, detail: str) -> CheckRow:
    return CheckRow(name, "pass" if figure <= limit else "fail", figure, limit, detail)
