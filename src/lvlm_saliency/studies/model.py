"""The model of a study: in this process, or with workers that hold one each."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlm_saliency.evaluation.decoding import Decoder
from lvlm_saliency.evaluation.reader import Reader, ReadsTexts
from lvlm_saliency.evaluation.settings import Settings
from lvlm_saliency.model import provenance
from lvlm_saliency.studies.settings import StudySettings

if TYPE_CHECKING:
    from lvlm_saliency.workers import Pool


class StudyModel:
    """Loaded on first use, and only where somebody asks for it.

    With a `pool`, this process holds the model's structure without weights, unless `model` or `decoder` is asked for.

    Args:
        settings: which model, and in which precision.
        model: one that is loaded already.
        processor: its processor.
        pool: workers that hold the model.
    """

    def __init__(self, settings: StudySettings, model: Any, processor: Any, pool: Pool | None):
        self.settings, self.pool = settings, pool
        self._given = (model, processor)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        self.settings.check_sources()
        if self._given[0] is not None:
            return self._given
        from lvlm_saliency.model.load import load_model

        chosen = self.settings
        return load_model(chosen.model, dtype=chosen.dtype, device=chosen.device, revision=chosen.revision)

    @cached_property
    def _structure(self) -> tuple[Any, Any]:
        from lvlm_saliency.model.load import load_structure

        self.settings.check_sources()
        return load_structure(self.settings.model, revision=self.settings.revision)

    def load(self) -> None:
        """Load the model now; without weights where workers hold it."""
        _ = self._loaded if self.pool is None else self._structure

    @property
    def _holds(self) -> bool:
        """Whether the model is in this process, or must be."""
        return self.pool is None or self._given[0] is not None or "_loaded" in vars(self)

    @property
    def model(self) -> Any:
        """The model with its weights."""
        return self._loaded[0]

    @property
    def structure(self) -> Any:
        """The model, or where workers hold it, its layers and configuration without weights."""
        return (self._loaded if self._holds else self._structure)[0]

    @property
    def processor(self) -> Any:
        """The model's processor."""
        return (self._loaded if self._holds else self._structure)[1]

    @cached_property
    def _asked(self) -> Settings:
        return self.settings.run(Path(self.settings.out), ["scenes-caption"], [])

    @property
    def reader(self) -> ReadsTexts:
        """The decoder, or where workers hold the model, what reads prompts and texts without it."""
        return self.decoder if self._holds else Reader(self.processor, self._asked)

    @cached_property
    def decoder(self) -> Decoder:
        """Pictures and prompts to inputs, as `evaluate` makes them."""
        return Decoder(self.model, self.processor, self._asked)

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 digits of the fingerprint of the weights."""
        if self.pool is not None and not self._holds:
            _ = self._structure  # tells at once what is wrong, before workers load the model
            weights: str = self.pool.one(_weights, label="what the weights are")
            return weights[:16]
        return provenance.fingerprint(self.model)[:16]


def _weights(decoder: Decoder) -> str:
    return provenance.fingerprint(decoder.model)
