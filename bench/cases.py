"""The rows of the table that time decoding. Each takes a model and a prompt, and returns `Row`s."""

from __future__ import annotations

import functools

import lvlm_saliency as ls
from lvlm_saliency import hf

from .models import size
from .timing import paired, row

ALPHAS = (0.0, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)


def plain(model, inputs, tokens, **settings):
    """`model.generate`, exactly `tokens` long."""
    return model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, **settings)


def ours(model, inputs, methods, tokens, **settings):
    """`ls.generate`, exactly `tokens` long."""
    return ls.generate(model, inputs, methods, max_new_tokens=tokens, min_new_tokens=tokens, **settings)


def upper_half(model) -> list[int]:
    known = hf.attention_layers(model)
    return known[len(known) // 2 :]


def decoding(model, inputs, tokens: int, pairs: int):
    """The loop itself, and LocoRE in it."""
    greedy = {"do_sample": False}
    loop = paired(
        lambda: plain(model, inputs, tokens, **greedy), lambda: ours(model, inputs, [], tokens, **greedy), pairs
    )
    locore = paired(
        lambda: plain(model, inputs, tokens, **greedy),
        lambda: ours(model, inputs, [ls.LocoRE(beta=0.15, window=10)], tokens, **greedy),
        pairs,
    )
    return [
        row("our loop, no method", "model.generate", "not slower", *loop, 1.01),
        row("LocoRE", "model.generate", "at most 1 % on top", *locore, 1.01),
    ]


def sgrs(model, inputs, tokens: int, pairs: int, alphas=ALPHAS):
    """SGRS step by step and in blocks over a range of refusal rates, beside the theory of blocks, sqrt(2 r (1 + f)).

    Each pair has a seed of its own, so that the refusal rate of a row is that of several texts."""
    layers = upper_half(model)
    known = hf.attention_layers(model)
    share = len([n for n in known if n >= layers[0]]) / len(known)
    floor = 1 + _bytes_from(model, layers[0]) / size(model)[1]
    sampled = {"do_sample": True, "top_k": 50}
    rows = []
    for execution, alpha in [("stepwise", alphas[0]), *(("auto", alpha) for alpha in alphas)]:
        run = _Runs(model, inputs, tokens, execution, alpha, layers)
        ratios, own = paired(lambda: plain(model, inputs, tokens, **sampled), run, pairs)
        limit = 1.15 * floor if execution == "stepwise" else _limit(run.rate)
        rows.append(
            row(
                f"SGRS {execution}, alpha {alpha}",
                "sampled model.generate",
                f"at most {limit:.2f}" if limit else "-",
                ratios,
                own,
                limit,
                refused=run.rate,
                floor=floor,
                theory=1 + (2 * run.rate * (1 + share)) ** 0.5,
                **run.passes,
            )
        )
    stepwise, auto = (_Runs(model, inputs, tokens, execution, alphas[-1], layers) for execution in ("stepwise", "auto"))
    ratios, own = paired(stepwise, auto, pairs)
    rows.append(
        row(f"SGRS auto, alpha {alphas[-1]}", "SGRS stepwise", "never slower", ratios, own, 1.02, refused=auto.rate)
    )
    return rows


class _Runs:
    """Generations under SGRS with one seed after the other, and what they came to."""

    def __init__(self, model, inputs, tokens, execution, alpha, layers):
        self.call = functools.partial(ours, model, inputs, tokens=tokens, do_sample=True, top_k=50)
        self.method = functools.partial(ls.SGRS, alpha=alpha, layers=layers, execution=execution)
        self.outs = []

    def __call__(self):
        out = self.call(methods=[self.method(seed=len(self.outs))])
        self.outs.append((out.steps[0], out.cost))

    @property
    def rate(self) -> float:
        """The share of tokens whose first draw was refused."""
        steps = [step for steps, _ in self.outs for step in steps]
        return sum(bool(step.rejected) for step in steps) / len(steps)

    @property
    def passes(self) -> dict[str, float]:
        kept = sum(cost.kept for _, cost in self.outs)
        names = ("forwards", "backwards", "drafted")
        return {f"{name}_per_token": sum(getattr(cost, name) for _, cost in self.outs) / kept for name in names}


def curve_of(rows) -> dict[str, list[tuple[float, float, float, float]]]:
    """The points of `curve.curve` from the rows of `sgrs`."""
    points: dict[str, list] = {}
    for found in rows:
        if "theory" in found.notes:
            execution = found.what.split()[1].rstrip(",")
            points.setdefault(execution, []).append((found.notes["refused"], found.ratio, found.low, found.high))
    return points


def _limit(rate: float) -> float | None:
    return 1.12 if rate <= 0.005 else 1.25 if rate <= 0.02 else None


def _bytes_from(model, layer: int) -> int:
    parts = [p for block in model.get_decoder().layers[layer:] for p in block.parameters()]
    return sum(p.numel() * p.element_size() for p in [*parts, *model.lm_head.parameters()])
