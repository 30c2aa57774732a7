"""Runs all checks; one that fails does not stop the others."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers

from lvlm_saliency import hf
from lvlm_saliency.checks import lines
from lvlm_saliency.checks.report import CheckReport, CheckRow
from lvlm_saliency.checks.state import differences, in_evaluation_mode, state_of
from lvlm_saliency.checks.subject import TOKENS, Subject, sees
from lvlm_saliency.errors import InputError, LvlmSaliencyError, UnsupportedModelError
from lvlm_saliency.interventions.locore import LocoRE
from lvlm_saliency.interventions.sgrs import SGRS

STUMBLES = (
    *(RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError),
    *(AssertionError, ArithmeticError, ImportError, OSError),
)
"""Exceptions that a model's own code raises for calls that it does not support: reported as a failed check."""


def check(model: Any, processor: Any) -> CheckReport:
    """Verify this package's guarantees on a model, in seconds.

    It uses a short prompt (with a small drawn picture where the model takes any) and four tokens. The checks: the model
    can be traced; rows equal the definition (eager attention and autograd); LocoRE, SGRS and a method that hooks into
    layers, with neutral settings, are bit-identical to `model.generate`; image tokens are found and have positions;
    LocoRE gives the same with a cache and without; nothing is left on the model.

    Args:
        model: a loaded transformers model, on any device, in any dtype, in either mode. It is as before afterwards.
        processor: the model's processor, or the tokenizer of a text model.

    Returns:
        CheckReport: one row per check.

    Raises:
        InputError: `model` is not a model, or `processor` not a processor.
    """
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"check takes a loaded model, not {type(model).__name__}: load it with ls.load_model(...)")
    if not callable(getattr(processor, "tokenizer", processor)):
        raise InputError(
            f"check takes the model's processor or tokenizer, not {type(processor).__name__}: ls.load_model gives both"
        )
    begin = time.perf_counter()
    rows: list[CheckRow] = [_line("can be traced", lambda: _traceable(model))]
    seeing = hasattr(model, "config") and sees(model, processor)
    if rows[0].state == "pass":
        with in_evaluation_mode(model):
            rows += _measured(model, processor)
    dtype, device = getattr(model, "dtype", "?"), getattr(model, "device", "?")
    return CheckReport(
        type(model).__name__,
        str(dtype).removeprefix("torch."),
        str(device),
        not seeing,
        time.perf_counter() - begin,
        tuple(rows),
    )


def _traceable(model: Any) -> CheckRow:
    hf.supported_decoder(model)
    layers, depth = len(hf.attention_layers(model)), len(hf.decoder_layers(model))
    detail = f"{layers} of {depth} layers have attention; transformers {transformers.__version__}"
    return CheckRow("can be traced", "pass", detail=detail)


def _measured(model: Any, processor: Any) -> list[CheckRow]:
    found: list[Subject] = []

    def begin() -> CheckRow:
        subject = Subject.of(model, processor)
        subject.plain = subject.written()
        found.append(subject)
        return CheckRow("writes a text", "pass", detail=f"{TOKENS} tokens of its own, which all lines are about")

    rows = [_line("writes a text", begin)]
    if not found:
        return rows
    subject = found[0]
    before = state_of(model)
    hooked = lines.hooked_method(subject)
    neutral = [LocoRE(beta=0), SGRS(alpha=0, order="greedy"), *([] if hooked is None else [hooked])]
    rows.append(_line("rows = definition", lambda: lines.rows_are_exact(subject)))
    for method in neutral:
        name = f"neutral {type(method).__name__}"
        rows.append(_line(name, functools.partial(lines.neutral_is_plain, subject, method)))
    if hooked is None:
        rows.append(CheckRow("neutral hooks", "not possible", detail="no method that hooks into layers serves it"))
    if subject.images:
        rows.append(_line("image tokens found", lambda: lines.image_tokens_are_found(subject)))
        rows.append(_line("image tokens laid out", lambda: lines.image_tokens_are_laid_out(subject)))
    rows.append(_line("cached = recomputed", lambda: lines.cached_is_recomputed(subject)))
    rows.append(_line("nothing left", lambda: _nothing_left(subject, before)))
    return rows


def _nothing_left(subject: Subject, before: dict[str, Any]) -> CheckRow:
    """Hooks, attributes, settings, training flags and weights after all of the above, and some more."""
    lines.use_everything(subject)
    left = differences(before, state_of(subject.model))
    detail = f"of {len(before)} attributes, hooks, settings and weights"
    if left:
        detail = f"changed or left behind: {', '.join(left[:3])}" + (", ..." if len(left) > 3 else "")
    return CheckRow("nothing left", "fail" if left else "pass", float(len(left)), 0.0, detail)


def _line(name: str, measure: Callable[[], CheckRow]) -> CheckRow:
    """The row that `measure` returns, or one that says why it could not be measured."""
    try:
        return measure()
    except torch.OutOfMemoryError:
        return CheckRow(name, "not possible", detail="it does not fit into memory here: try a smaller dtype")
    except UnsupportedModelError as error:
        return CheckRow(name, "refused", detail=str(error))
    except LvlmSaliencyError as error:
        return CheckRow(name, "fail", detail=str(error))
    except STUMBLES as error:
        return CheckRow(
            name, "fail", detail=f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"
        )
