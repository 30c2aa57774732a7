"""What `explain` and `generate` do alike: open pictures, load a model, write answers, trace them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import ImageError, InputError, PromptError
from .output import say

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..decoding.steps import GenerateOutput
    from ..tracing.result import SaliencyTrace
    from .asked import Asked


@dataclass
class Session:
    """A loaded model with one prompt and its pictures."""

    model: Any
    processor: Any
    images: list[Image]
    prompt: str
    inputs: Any
    name: str


@dataclass
class Answer:
    """One text that the model wrote, or was given."""

    name: str
    methods: Sequence[Any]
    sequences: Any
    tokens: list[str]
    text: str
    output: GenerateOutput | None = None
    names: dict[int, str] = field(default_factory=dict)
    """Texts of the candidates that SGRS looked at."""
    finish: str | None = None
    """"stop", or "length" where the limit on new tokens ended the text; None for a text that was brought."""

    @property
    def cut(self) -> bool:
        """Whether the limit on new tokens ended the text."""
        return self.finish == "length"


def open_images(asked: Asked) -> list[Image]:
    """Every picture, before a model is loaded for nothing; the prompt is looked at as well."""
    from lvlm_saliency.model.images import open_image

    if not asked.prompt.strip():
        raise PromptError("the prompt is empty; say what to do, for example --prompt 'Describe this picture.'")
    if list(asked.images).count("-") > 1:
        raise ImageError("only one picture can be read from stdin; give the others as files")
    return [open_image(sys.stdin.buffer if path == "-" else path, frame=asked.frame) for path in asked.images]


def begin(asked: Asked, images: list[Image]) -> Session:
    """Load the model and encode the prompt with its pictures."""
    from lvlm_saliency import build_inputs, load_model

    from ..interventions.preset_files import notes
    from .notes import about_pictures

    model, processor = load_model(asked.model, dtype=asked.dtype, device=asked.device, revision=asked.revision)
    for line in notes(asked.methods, model):
        say(f"note: {line}", err=True)
    about_pictures(model, processor, images)
    inputs = build_inputs(processor, images, asked.prompt, model=model)
    return Session(model, processor, images, asked.prompt, inputs, asked.model)


def seeded(methods: Sequence[Any], seed: int) -> list[Any]:
    """The methods, each that draws and was given no seed of its own with `seed`."""
    return [
        dataclasses.replace(method, seed=seed) if getattr(method, "seed", seed) is None else method
        for method in methods
    ]


def sampling(temperature: float | None, top_p: float | None) -> dict[str, Any]:
    """Settings of `generate`: sampling when a temperature above 0 or a nucleus is asked for, greedy otherwise."""
    if temperature == 0 or (temperature is None and top_p is None):
        if top_p is not None:
            raise InputError("--top-p samples and --temperature 0 does not; leave one of them out")
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {
        "do_sample": True,
        "temperature": temperature or 1.0,
        "top_p": top_p if top_p is not None else 1.0,
        "top_k": 0,
    }


def write_answer(
    session: Session, name: str, methods: Sequence[Any], seed: int, streamer: Any = None, **settings: Any
) -> Answer:
    """Generate one answer; `settings` as for `generate`."""
    import torch

    from lvlm_saliency import generate
    from lvlm_saliency.model.cut_off import finish
    from lvlm_saliency.model.regions import end_token_ids

    torch.manual_seed(seed)
    output = generate(session.model, session.inputs, methods=seeded(methods, seed), streamer=streamer, **settings)
    answer = answer_of(session, name, output.sequences, methods, output)
    ids = [step.token_id for step in output.steps[0]]
    answer.finish = finish(ids, end_token_ids(session.model), settings["max_new_tokens"])
    return answer


def given_answer(session: Session, text: str, methods: Sequence[Any]) -> Answer:
    """An answer that the user brought, as tokens after the prompt."""
    import torch

    from lvlm_saliency.model.regions import end_token_ids
    from lvlm_saliency.model.templates import answer_ids

    tokenizer = getattr(session.processor, "tokenizer", session.processor)
    ids = answer_ids(tokenizer, text, end_token_ids(session.model))
    prompt = session.inputs["input_ids"]
    sequences = torch.cat([prompt, torch.tensor([ids], dtype=prompt.dtype, device=prompt.device)], dim=1)
    return answer_of(session, "given text", sequences, methods)


def answer_of(
    session: Session, name: str, sequences: Any, methods: Sequence[Any], output: GenerateOutput | None = None
) -> Answer:
    """Tokens and text of the first sample of `sequences`."""
    from ..report.content import candidate_texts
    from ..tracing.result import token_texts

    tokenizer = getattr(session.processor, "tokenizer", session.processor)
    ids = sequences[0, session.inputs["input_ids"].shape[1] :].tolist()
    text = tokenizer.decode(ids, skip_special_tokens=True).strip()
    steps = output.steps[0] if output is not None else ()
    return Answer(
        name, methods, sequences, token_texts(tokenizer, ids), text, output, candidate_texts(tokenizer, steps)
    )


def trace_answer(
    session: Session, answer: Answer, layers: Sequence[int] | None = None, normalise: str = "row"
) -> SaliencyTrace:
    """The trace of an answer, under the methods that shaped attention while it was written."""
    from lvlm_saliency import trace

    shaping = [method for method in answer.methods if hasattr(method, "edit_rows")]
    # What was generated here brings its cache along, so the prompt is not computed again.
    written = answer.sequences if answer.output is None else answer.output
    found = trace(session.model, session.inputs, written, layers=layers, normalise=normalise, methods=shaping)
    found.settings["model"] = session.name
    return found


def layouts_of(session: Session) -> list[Any]:
    """Where the image tokens lie in each picture; none without pictures."""
    if not session.images:
        return []
    from lvlm_saliency import image_layouts

    return image_layouts(session.processor, session.inputs, [session.images], model=session.model)[0]
