"""What lvlm_saliency itself writes and measures, for the plug-in to be compared with.

Runs in the environment of lvlm_saliency (vLLM's cannot hold it): `python reference.py FOLDER` writes pictures, prompts,
tokens under every setting, traces, and a small Llama with grouped queries.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

SETTINGS = {
    "plain": None,
    "paper": {"beta": 0.15, "window": 10},
    "strong": {"beta": 4.0, "window": 20},
    "layers": {"beta": 2.0, "window": 3, "layers": [1, 4]},
    "unnormalised": {"beta": 0.3, "window": 6, "space": "unnormalised"},
    "logit": {"beta": 0.4, "window": 5, "space": "logit"},
}
PICTURES, TOKENS, PROMPT = 4, 72, "Describe the image."
RUNNER_NAMES, RUNNER_TOKENS = ("plain", "strong", "logit", "layers"), 14
"""What the second model runner is tried on."""
TRACED = ("plain", "strong", "layers", "unnormalised", "logit")


def scenes(folder: Path) -> dict:
    """Pictures, and the shipped model's captions of them under every setting, with traces of two texts each."""
    import numpy as np
    import torch

    import lvlm_saliency as ls
    from lvlm_saliency.scenes import draw_scene, generate_scenes

    model, processor = ls.load_model("scenes", dtype="float32", device="cpu")
    images = [draw_scene(scene) for scene in generate_scenes(PICTURES, 7, "test")]
    for number, image in enumerate(images):
        image.save(folder / f"{number}.png")
    inputs = [ls.build_inputs(processor, [image], PROMPT, model=model) for image in images]
    message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPT}]}]
    text = processor.apply_chat_template(message, add_generation_prompt=True, tokenize=False)
    tokens, traces = {}, {}
    for name, settings in SETTINGS.items():
        methods = [ls.LocoRE(**settings)] if settings else []
        tokens[name] = []
        for number, one in enumerate(inputs):
            out = ls.generate(model, one, methods, max_new_tokens=TOKENS, do_sample=False)
            tokens[name].append(out.sequences[0, one["input_ids"].shape[1] :].tolist())
            if number < 2 and name in TRACED:
                trace = ls.trace(model, one, out.sequences, methods=methods)
                regions = ("system", "image", "prompt", "output", "previous")
                scores = [trace.attention_scores(region, [layer])[0] for layer in trace.layers for region in regions]
                traces[f"{name} {number} attention"] = torch.stack(scores, 1).numpy()
                traces[f"{name} {number} image"] = trace.attention[0][:, :, trace.regions.image[0][:-1]].numpy()
                traces[f"{name} {number} logprobs"] = trace.logprobs[0].numpy()
                traces[f"{name} {number} entropy"] = trace.entropy[0].numpy()
    np.savez(folder / "traces.npz", **traces)
    return {"prompt": text, "prompt_ids": inputs[0]["input_ids"][0].tolist(), "tokens": tokens}


def grouped(folder: Path) -> dict:
    """A small Llama with four query heads on two key heads, random, and its tokens under every setting."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import lvlm_saliency as ls

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=320,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        initializer_range=0.15,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder / "llama")
    prompts = torch.randint(3, 320, (3, 21), generator=torch.Generator().manual_seed(2))
    tokens = {}
    for name, settings in SETTINGS.items():
        methods = (
            [ls.LocoRE(**{**settings, "layers": [1, 3]} if "layers" in settings else settings)] if settings else []
        )
        tokens[name] = []
        for ids in prompts:
            given = {"input_ids": ids[None], "attention_mask": torch.ones_like(ids[None])}
            out = ls.generate(model, given, methods, max_new_tokens=40, do_sample=False)
            tokens[name].append(out.sequences[0, len(ids) :].tolist())
    return {"prompts": prompts.tolist(), "tokens": tokens}


def main(folder: Path) -> None:
    """Write everything to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"settings": SETTINGS, "scenes": scenes(folder), "grouped": grouped(folder)}
    (folder / "reference.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
