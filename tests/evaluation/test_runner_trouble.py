"""Runs in trouble: memory that does not suffice, broken pictures, models that cannot be evaluated."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from lvlm_saliency import load_model
from lvlm_saliency.benchmarks.opening import open_benchmark
from lvlm_saliency.errors import ImageError
from lvlm_saliency.evaluation import evaluate
from lvlm_saliency.evaluation.decoding import Batches, Decoder, MemoryExhausted
from lvlm_saliency.files.json_lines import as_json

from .conftest import Notes, lines


def test_out_of_memory_halves_the_batch_and_changes_nothing(settings, double, monkeypatch):
    plain = settings("plain", n=8, batch_size=8)
    evaluate(plain, model=double[0], processor=double[1])
    decode = Decoder.decode
    sizes = []

    def limited(self, benchmark, system, items):
        sizes.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(self, benchmark, system, items)

    monkeypatch.setattr(Decoder, "decode", limited)
    small, notes = settings("small", n=8, batch_size=8), Notes()
    evaluate(small, model=double[0], processor=double[1], listener=notes)
    assert lines(plain.out) == lines(small.out)
    assert sizes[:4] == [8, 4, 2, 2]
    assert max(sizes[2:]) == 2  # halved for good
    assert any(note.startswith("out of memory with 8 items") for note in notes.notes)
    assert notes.begun == (24, 0)
    assert notes.advanced == 24


def test_what_never_fits_is_an_error():
    def work(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    class One:
        id = "one"

    with pytest.raises(MemoryExhausted, match="item one"):
        list(Batches(4, lambda text: None).run([One()], work))


def test_other_errors_of_the_model_are_not_taken_for_memory():
    def work(batch):
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        list(Batches(4, lambda text: None).run([1, 2], work))


@pytest.fixture
def pope(tmp_path):
    """A POPE folder on four pictures, of which one is cut off and one is missing."""
    data, images = tmp_path / "data", tmp_path / "images"
    data.mkdir(), images.mkdir()
    names = [f"COCO_val2014_{number:012d}.jpg" for number in range(4)]
    for kind in ("random", "popular", "adversarial"):
        rows = [
            {"question_id": 2 * i + j, "image": name, "text": f"Is there a {thing} in the image?", "label": label}
            for i, name in enumerate(names)
            for j, (thing, label) in enumerate((("dog", "yes"), ("snowboard", "no")))
        ]
        (data / f"coco_pope_{kind}.json").write_text("\r\n".join(map(json.dumps, rows)))
    for name in names[:3]:
        Image.new("RGB", (40, 30), "green").save(images / name)
    whole = (images / names[1]).read_bytes()
    (images / names[1]).write_bytes(whole[: len(whole) // 2])
    return {"data": data, "images": images, "benchmarks": ["pope"], "n": None}


def test_a_broken_or_missing_picture_is_an_error(settings, tiny, pope):
    with pytest.raises(ImageError, match=r"000003\.jpg.*--skip-errors"):
        evaluate(settings(**pope), model=tiny[0], processor=tiny[1])
    with pytest.raises(ImageError, match=r"000001\.jpg.*--skip-errors"):
        evaluate(settings(**{**pope, "n": 3}), model=tiny[0], processor=tiny[1])


def test_skipped_pictures_are_counted_in_every_table(settings, tiny, pope):
    chosen, notes = settings(**pope, skip_errors=True), Notes()
    scores = evaluate(chosen, model=tiny[0], processor=tiny[1], listener=notes)
    held = scores["benchmarks"]["pope"]
    assert (held["items"], held["scored"], held["skipped"]) == (24, 12, 12)
    assert len(held["skipped_pictures"]) == 2
    assert held["parts"]["random"]["greedy"]["counts"]["fp"] <= 2
    assert sum("left out" in note for note in notes.notes) == 12 * 3
    summary = (chosen.out / "summary.md").read_text()
    assert "12 skipped" in summary
    for line in summary.splitlines():
        if line.startswith("| greedy"):
            assert line.endswith("| 12 |")


def test_text_models_are_refused(settings):
    from lvlm_saliency.errors import ModelError
    from zoo import FAMILIES

    model, tokenizer = FAMILIES["llama"].build()
    with pytest.raises(ModelError, match="text model"):
        evaluate(settings(), model=model, processor=tokenizer)


def test_of_a_model_that_thinks_the_answer_alone_is_scored(settings, monkeypatch):
    """The scenes model with a template by which its first sentences are its thinking."""
    model, processor = load_model("scenes")
    asked = {"model": "scenes", "methods": [], "n": 4, "max_new_tokens": 60}
    plain = evaluate(settings("plain", **asked), model=model, processor=processor)
    field = {"thinking": {"open": "ASSISTANT:", "close": ". There"}}  # the prompt ends with the mark that opens
    monkeypatch.setattr(processor.tokenizer, "response_template", {"fields": field}, raising=False)
    thinks = settings("thinks", **asked)
    scores = evaluate(thinks, model=model, processor=processor)
    before, after = (
        [json.loads(row) for row in lines(thinks.out.parent / name)["scenes-caption/greedy"]]
        for name in ("plain", "thinks")
    )
    for whole, row in zip(before, after, strict=True):
        thought, _, answer = whole["text"].partition(". There")
        assert row["token_ids"] == whole["token_ids"]
        assert (row["text"], row["thinking"]) == (answer.replace(". There", "").strip(), thought.strip())
        assert "thinking" not in whole
    texts = {row["index"]: row["text"] for row in after}
    benchmark = open_benchmark("scenes-caption", n=4)
    assert scores["benchmarks"]["scenes-caption"] != plain["benchmarks"]["scenes-caption"]
    details = json.loads((thinks.out / "details" / "scenes-caption" / "greedy.json").read_text())
    assert details == json.loads(as_json(benchmark.score(texts)))
    # The same command again reads the lines that hold a thinking.
    assert evaluate(thinks, model=model, processor=processor) == scores
