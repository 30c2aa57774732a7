"""The model card beside the weights, written from the run's own figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers import LlavaForConditionalGeneration

from training.card import table
from training.evaluate import PROMPT, Figures
from training.phases import Phase

ABOUT = {
    "near words": "the projector learns to point at the word embeddings of what a patch shows and where that is",
    "talk": "projector and adapters: two captions and about six questions share one picture behind a block mask; a "
    "caption's words that the picture decides weigh {decided_weight:g}, those of place and relation {place_weight:g}, "
    "an answer's {question_weight:g}",
    "finish": "the same, the rate down to its end",
}
FLOOR = {"recall": "at least 0.85", "pope_random": "at least 0.90"}

_TEMPLATE = Path(__file__).with_name("card.md")


def write_card(
    path: Path,
    model: LlavaForConditionalGeneration,
    phases: Sequence[Phase],
    figures: Figures,
    facts: Mapping[str, str | int | float],
) -> None:
    """Write the card in Markdown. facts: what the template names and neither the model nor the phases tell."""
    text = model.config.text_config
    steps = [
        f"{number}. *{phase.name}*: {ABOUT[phase.name].format(**phase.settings)}. "
        f"{phase.steps} steps of {phase.batch} scenes, peak learning rate {phase.adam_lr:g} (AdamW)"
        for number, phase in enumerate(phases, start=1)
    ]
    values = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        "layers": text.num_hidden_layers,
        "width": text.hidden_size,
        "prompt": PROMPT,
        "phases": "\n".join(steps),
        "table": table(figures, FLOOR),
    }
    path.write_text(_TEMPLATE.read_text(encoding="utf-8").format(**facts, **values), encoding="utf-8", newline="\n")
