"""Reference answers of the shipped weights (greedy), for its tests: `python -m training.golden` writes them.

An answer is used only if every word was chosen by a clear margin, so that another processor's rounding does not change
it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration, LlavaProcessor

from lvlm_saliency.scenes.world import generate_scenes
from training.evaluate import MODEL, PROMPT, inputs_for

GOLDEN = Path("tests/scenes/golden.json")
MARGIN = 0.02  # smallest lead of the chosen word's logit over the next, at every step
QUESTIONS = {
    PROMPT: 3,
    "Which objects are in the image?": 1,
    "Is there a dog in the image?": 2,
    "What color is the plate?": 1,
    "Where is the cup?": 1,
    "How many trees are there?": 1,
}
"""Number of answers to each question, for scenes of consecutive seeds."""


@torch.no_grad()
def golden_answers(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, margin: float = MARGIN
) -> list[dict[str, str | int]]:
    """The answers: one per scene; answers to the same question differ from each other."""
    found: list[dict[str, str | int]] = []
    seed = 100
    for question, wanted in QUESTIONS.items():
        answers: set[str] = set()
        while len(answers) < wanted:
            inputs = inputs_for(processor, generate_scenes(1, seed), [question])
            out = model.generate(
                **inputs, max_new_tokens=96, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
            answer = processor.decode(out.sequences[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            best = torch.cat(out.logits).topk(2).values
            if (best[:, 0] - best[:, 1]).min() >= margin and answer not in answers:
                answers.add(answer)
                found.append({"seed": seed, "question": question, "answer": answer})
            seed += 1
    return found


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--out", type=Path, default=GOLDEN)
    options = parser.parse_args()
    model = AutoModelForImageTextToText.from_pretrained(options.model, dtype=torch.float32).eval()
    answers = golden_answers(model, AutoProcessor.from_pretrained(options.model))
    options.out.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
