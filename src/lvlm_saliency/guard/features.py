"""Features of a causal risk model, read from the forward passes that choose tokens: no further pass is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lvlm_saliency.attention.state import Capture
from lvlm_saliency.errors import InputError, SettingError
from lvlm_saliency.model.regions import Regions
from lvlm_saliency.risk.model import RiskModel
from lvlm_saliency.risk.signals import BEFORE, CAUSAL, concentration, names_of, place_of, repetition_of, shares

if TYPE_CHECKING:
    from lvlm_saliency.guard.claims import Note
    from lvlm_saliency.guard.row import Row


def check_causal(model: RiskModel) -> None:
    """Refuse a risk model that needs what is not known yet when a word is chosen.

    Raises:
        SettingError: the groups of features that are not causal.
        InputError: its features are not those of this version's groups.
    """
    if late := [group for group in model.groups if group not in CAUSAL]:
        raise SettingError(
            f"guard: the risk model reads {', '.join(late)}, which is not known as a word is drawn: take one that was "
            "made for a guard (lvlm-saliency guard calibrate)"
        )
    if tuple(name for group in model.groups for name in names_of(group, model.layers)) != model.features:
        raise InputError("the risk model was made by another version of this package: calibrate the guard again")


class Reader:
    """Reads the features of one generation.

    Args:
        model: the risk model.
        regions: of the prompt, bool `[B, n0]` each.
    """

    def __init__(self, model: RiskModel, regions: Regions):
        self.model, self.regions = model, regions
        self.length = regions.image.shape[1]

    def rows(self, numbers: Sequence[int]) -> Reader:
        """A reader of these samples alone."""
        rows = torch.tensor(numbers, device=self.regions.image.device)
        return Reader(self.model, self.regions.rows(rows))

    def capture(self) -> Capture:
        """What a forward pass has to keep."""
        return Capture(frozenset(self.model.layers), graph=False, later=True)

    def features(
        self, capture: Capture, shift: Sequence[int], total: int, first: Sequence[int], samples: Sequence[int]
    ) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """The feature groups "attention" and "attention concentration" of the newest row, by sample.

        Args:
            capture: of the latest forward pass.
            shift: for each sample of the batch, its columns of padding on the left.
            total: columns (keys) of that pass.
            first: for each sample of the batch, the token with which its answer begins; thinking before it counts as
                part of the prompt.
            samples: the samples whose features are wanted.
        """
        if not samples:
            return {}
        chosen = torch.tensor(samples, device=self.regions.image.device)
        rows = torch.stack([self._row(capture, layer, total, chosen) for layer in self.model.layers], dim=1)
        members = self._members([shift[n] for n in samples], total, [first[n] for n in samples], chosen).to(rows.device)
        attention = shares(rows, members).float().cpu().numpy()
        spread = concentration(rows, members[:, None, -1]).flatten(1).float().cpu().numpy()
        return dict(zip(samples, zip(attention, spread, strict=True), strict=True))

    def _row(self, capture: Capture, layer: int, total: int, samples: Tensor) -> Tensor:
        rows = capture.rows[layer]
        weights = rows.weights_of(samples.to(rows.query.device)).mean(1)[:, -1]  # over heads; the newest row
        start = capture.contexts[layer].offset
        found = weights.new_zeros((len(weights), total))
        stop = min(start + weights.shape[1], total)
        found[:, start:stop] = weights[:, : stop - start]
        return found

    def _members(self, shift: Sequence[int], total: int, first: Sequence[int], samples: Tensor) -> Tensor:
        """The columns of the regions output, previous, prompt, system and image, bool `[S, 5, K]`."""
        device = self.regions.image.device
        position = torch.arange(total, device=device)[None] - torch.tensor(shift, device=device)[:, None]
        inside = (position >= 0) & (position < self.length)
        at = position.clamp(0, self.length - 1)
        prompt, system, image = (
            region[samples].gather(1, at) & inside
            for region in (self.regions.prompt, self.regions.system, self.regions.image)
        )
        answer = self.length + torch.tensor(first, device=device)[:, None]
        output = position >= answer
        prompt = prompt | ((position >= self.length) & ~output)
        previous = output.clone()
        previous[:, :-1] = False
        return torch.stack([output, previous, prompt, system, image], dim=1)

    def odds(self, row: Row, token: int) -> float | None:
        """The first-stage log-odds of the word whose first token has this number.

        None where its rows were not read, because no known name begins with that token.
        """
        notes, first = row.notes, row.draft.first
        if token and notes[token].features is None:
            return None
        missing = (np.full(5 * len(self.model.layers), np.nan), np.full(2 * len(self.model.layers), np.nan))

        def note(at: int) -> Note | None:
            return notes[at] if first <= at < len(notes) else None

        def features(at: int) -> tuple[np.ndarray, np.ndarray]:
            found = note(at)
            return missing if found is None or found.features is None else found.features

        def surprise(at: int) -> tuple[float, float]:
            found = note(at)
            return (np.nan, np.nan) if found is None else (found.log_p, found.entropy)

        before = [value for at in range(token - BEFORE, token) for value in surprise(at)]
        ids = torch.tensor([row.draft.ids[first : token + 1]])
        groups = {
            "log-probability": [surprise(token)[0]],
            "entropy": [surprise(token)[1]],
            "position": place_of(torch.tensor(token - first)).numpy(),
            "repetition": repetition_of(ids)[0, -1].numpy(),
            "attention": features(token)[0],
            "attention concentration": features(token)[1],
            "words before": before,
            "attention, at": features(token + 1)[0],
            "attention concentration, at": features(token + 1)[1],
            "entropy, at": [surprise(token + 1)[1]],
        }
        values = np.concatenate([np.asarray(groups[name], dtype=np.float64) for name in self.model.groups])
        found = self.model.log_odds(values[None].astype(np.float32))
        return float(self.model.calibrated(found)[0])
