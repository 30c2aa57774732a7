"""Which questions about the texts of a batch are due, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Sequence

from lvlm_saliency.guard.answers import confirmed
from lvlm_saliency.guard.questions import Asker
from lvlm_saliency.guard.row import Row
from lvlm_saliency.risk.asked import question

PATIENCE = 4
"""Steps that a question may wait for questions of other samples in the batch; a single sample's is asked at once."""


def ask(asker: Asker, rows: Sequence[Row], numbers: Sequence[int], step: int, patience: int) -> None:
    """Ask what is due, and tell the rows.

    Args:
        asker: asks the model.
        rows: the samples.
        numbers: their positions in the batch of prompts.
        step: tokens that have been chosen for each sample so far.
        patience: steps that a question may wait.
    """
    checks = [(n, check) for n, row in enumerate(rows) for check in row.checks.values() if check.confirmed is None]
    if checks:  # the sentence cannot be settled without them
        found = confirmed(asker, [(numbers[n], check.said) for n, check in checks])
        for (_, check), same in zip(checks, found, strict=True):
            check.confirmed = same
    waiting = [(n, claim) for n, row in enumerate(rows) for claim in row.claims if claim.waiting]
    if not any(step - claim.since >= patience or rows[n].ended for n, claim in waiting):
        return
    pairs = list(dict.fromkeys((n, claim.mention.name) for n, claim in waiting))
    margins = asker.margins([(numbers[n], question(name)) for n, name in pairs])
    known = dict(zip(pairs, margins, strict=True))
    for n, claim in waiting:
        rows[n].answered(claim, known[n, claim.mention.name])
