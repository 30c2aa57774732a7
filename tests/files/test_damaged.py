"""A damaged file of any kind opens to what it held, to values that pass the checks of its kind, or to an `InputError`
that names it. Seals find every flipped bit in traces and risk models, CRCs in what studies keep; JSON and YAML files,
which people edit, have rules: no key twice, finite numbers, known names, known types, rows that fit their items."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lvlm_saliency.benchmarks import amber, chair, mme, pope
from lvlm_saliency.errors import InputError
from lvlm_saliency.evaluation import rows
from lvlm_saliency.evaluation.settings import from_file
from lvlm_saliency.files import json_lines as store
from lvlm_saliency.files import read_json
from lvlm_saliency.files.archives import read_arrays
from lvlm_saliency.interventions.preset_files import Preset
from lvlm_saliency.interventions.registry import method
from lvlm_saliency.model.regions import Regions
from lvlm_saliency.risk.model import SHIPPED, RiskModel
from lvlm_saliency.studies.label_files import checked
from lvlm_saliency.tracing.result import SaliencyTrace

from .damage import damaged

FEW, MANY = 40, 1000


def trace_file(folder: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    rows_ = torch.rand(2, 2, 3, 6, generator=generator)
    rows_ /= rows_.norm(dim=-1, keepdim=True)
    masks = torch.nn.functional.one_hot(torch.tensor([0, 1, 1, 2, 3, 3, 3]), 4).bool().T[:, None].repeat(1, 2, 1)
    SaliencyTrace(
        rows=rows_,
        attention=rows_ / 3,
        layers=[1, 3],
        regions=Regions(*masks),
        sequences=torch.arange(14).reshape(2, 7),
        prompt_length=4,
        valid=torch.tensor([[True, True, True], [True, True, False]]),
        logprobs=-torch.rand(2, 3, generator=generator),
        entropy=torch.rand(2, 3, generator=generator),
        settings={"normalise": "row"},
    ).save(folder / "t.safetensors")
    return folder / "t.safetensors"


def same_trace(path: Path) -> None:
    found, whole = SaliencyTrace.load(path), SaliencyTrace.load(trace_file(path.parent / "whole"))
    for name in ("rows", "attention", "sequences", "valid", "logprobs", "entropy"):
        assert torch.equal(getattr(found, name), getattr(whole, name))
    for name in ("system", "image", "prompt", "output"):
        assert torch.equal(getattr(found.regions, name), getattr(whole.regions, name))
    assert (found.layers, found.prompt_length, found.settings) == (whole.layers, whole.prompt_length, whole.settings)


def risk_file(folder: Path) -> Path:
    RiskModel.load(SHIPPED).save(folder / "risk.safetensors")
    return folder / "risk.safetensors"


def same_risk(path: Path) -> None:
    found, whole = RiskModel.load(path), RiskModel.load(SHIPPED)
    for name in ("fill", "mean", "scale", "objects"):
        assert np.array_equal(getattr(found, name), getattr(whole, name))
    for name, values in whole.arrays.items():
        assert np.array_equal(found.arrays[name], values)
    assert (found.features, found.slope, found.offset, found.about) == (
        whole.features, whole.slope, whole.offset, whole.about,
    )  # fmt: skip


def archive(folder: Path) -> Path:
    np.savez_compressed(folder / "0.npz", text=np.arange(9), saliency=np.random.default_rng(0).random((9, 2, 5)))
    return folder / "0.npz"


def same_archive(path: Path) -> None:
    for name, values in read_arrays(path).items():
        assert name not in ("text", "saliency") or np.array_equal(values, read_arrays(archive_of(path))[name])


def archive_of(path: Path) -> Path:
    folder = path.parent / "whole"
    return folder / "0.npz" if (folder / "0.npz").exists() else archive(folder)


def jsonl(name: str, *lines: dict):
    def made(folder: Path) -> Path:
        path = folder / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return made


ANSWERS = [
    {"index": n, "id": str(n), "image": f"{n}.png", "text": "a dog", "token_ids": [5, 6], "finish": "stop"}
    for n in range(4)
]
COSTS = [
    {
        "forwards": 3, "backwards": 0, "steps": 2, "tokens": 4, "seconds": 0.5, "items": [0, 1], "batch_size": 2,
        "rows_per_token": 1, "wall_seconds": 0.6, "peak_bytes": 1000,
    }
]  # fmt: skip


def answers(path: Path) -> None:
    assert all(rows.check_answer(row) == "" for row in store.read_lines(path, rows.check_answer))


def costs(path: Path) -> None:
    for row in store.read_lines(path, rows.check_cost):
        assert all(row[name] >= 0 for name in ("seconds", "forwards", "peak_bytes"))


def preset(folder: Path) -> Path:
    (folder / "p.yaml").write_text(
        Preset([method("locore", beta=0.2), method("sgrs")], {"type": "llava", "layers": 4}, {"how": {"n": 3}}).text()
    )
    return folder / "p.yaml"


def run_file(folder: Path) -> Path:
    (folder / "run.yaml").write_text(
        "model: scenes\nbenchmarks: [scenes-caption, scenes-pope]\nout: runs/x\nn: 5\ntemperature: 0.7\n"
        "methods:\n  - sgrs: {alpha: 0.9}\n    locore: {beta: 0.2}\n  - locore\nseed: 3\nmax-new-tokens: 64\n"
    )
    return folder / "run.yaml"


def settings(path: Path) -> None:
    found = from_file(path, {})
    assert 0 < found.temperature <= 1e4
    assert 1 <= found.max_new_tokens <= 10**6


def labels(folder: Path) -> Path:
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    line = {"image": "a.png", "prompt": "Describe it.", "text": "A cat and a dog."}
    line["spans"] = [{"start": 2, "end": 5, "hallucinated": False}, {"start": 12, "end": 15, "hallucinated": True}]
    (folder / "l.jsonl").write_text((json.dumps(line) + "\n") * 3)
    return folder / "l.jsonl"


def label_lines(path: Path) -> None:
    for line in checked(path, path.parent):
        for span in line.spans:
            assert line.row["text"][span.start : span.end].strip()


QUESTIONS = [
    {"question_id": n, "image": f"{n // 2}.jpg", "text": f"q{n}", "label": ("yes", "no")[n % 2]} for n in range(6)
]
REPLIES = [{"question_id": n, "answer": "Yes, it is." if n % 3 else "No."} for n in range(6)]


def pope_answers(path: Path) -> None:
    finite(pope.score(jsonl("q.jsonl", *QUESTIONS)(path.parent), path))


def pope_questions(path: Path) -> None:
    finite(pope.score(path, jsonl("p.jsonl", *REPLIES)(path.parent)))


SYNONYMS = "person, man, people\ndog, puppy\ndining table, table\n"
CAPTIONS = [{"image_id": n, "caption": "A dog on a table."} for n in range(3)]


def chair_captions(path: Path) -> None:
    words = path.parent / "whole" / "words.txt"
    words.write_text(SYNONYMS)
    finite(chair.score(path, {str(n): ["dog"] for n in range(3)}, chair.Synonyms.read(words)))


def chair_words(path: Path) -> None:
    assert chair.Synonyms.read(path).nodes


def text(name: str, content: str):
    def made(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return made


def coco(path: Path) -> None:
    words = path.parent / "whole" / "words.txt"
    words.write_text(SYNONYMS)
    for nodes in chair.from_coco([path], [], chair.Synonyms.read(words)).values():
        assert set(nodes) <= {"person", "dog", "dining table"}


COCO = json.dumps(
    {
        "images": [{"id": 1}, {"id": 2}],
        "annotations": [{"image_id": 1, "category_id": 7, "bbox": [1.5, 2, 3, 4]}],
        "categories": [{"id": 7, "name": "dog"}],
    }
)


def task(folder: Path) -> Path:
    lines = [f"{n // 2}.jpg\tIs there a dog?\t{('Yes', 'No')[n % 2]}\tyes\n" for n in range(6)]
    (folder / "count.txt").write_text("".join(lines))
    return folder / "count.txt"


def task_score(path: Path) -> None:
    finite(mme.score(path.parent, tasks=["count"]))


AMBER = [{"id": n, "type": "generative", "truth": ["dog"], "hallu": ["cat"]} for n in range(1, 4)]


def amber_answers(path: Path) -> None:
    finite(amber.score_generative(path, AMBER, {"dog": ["puppy"]}, ["day"], similarity=amber.identical))


def finite(result: dict) -> None:
    for name in ("accuracy", "CHAIR_s", "CHAIR", "precision"):
        if name in result:
            assert not 0 <= result[name] <= 1 or np.isfinite(result[name])
            assert np.isnan(result[name]) or 0 <= result[name] <= 1


KINDS = {
    "trace": (trace_file, same_trace),
    "risk model": (risk_file, same_risk),
    "kept arrays": (archive, same_archive),
    "answers of a run": (jsonl("a.jsonl", *ANSWERS), answers),
    "costs of a run": (jsonl("c.jsonl", *COSTS), costs),
    "preset": (preset, Preset.read),
    "run file": (run_file, settings),
    "labels": (labels, label_lines),
    "answers to POPE": (jsonl("p.jsonl", *REPLIES), pope_answers),
    "questions of POPE": (jsonl("q.jsonl", *QUESTIONS), pope_questions),
    "captions": (jsonl("k.jsonl", *CAPTIONS), chair_captions),
    "synonyms": (text("w.txt", SYNONYMS), chair_words),
    "annotations of COCO": (text("coco.json", COCO), coco),
    "task of MME": (task, task_score),
    "configuration": (text("config.json", json.dumps({"a": [1, {"b": 2.5}], "c": None})), read_json),
}


def walk(kind: str, folder: Path, count: int) -> int:
    """Damage the file again and again; how often it was refused."""
    made, check = KINDS[kind]
    (folder / "whole").mkdir(exist_ok=True)
    path = made(folder)
    content, chance, refused = path.read_bytes(), random.Random(kind), 0
    check(path)
    for _ in range(count):
        path.write_bytes(damaged(content, chance))
        told = ""
        try:
            check(path)
        except InputError as error:
            told = str(error)
        if told:
            refused += 1
            assert folder.name in told  # whichever of two files is found not to fit the other
    return refused


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_damaged_file_is_refused_by_name_or_read_by_its_rules(kind, tmp_path):
    assert walk(kind, tmp_path, FEW) > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_thousand_times(kind, tmp_path):
    assert walk(kind, tmp_path, MANY) > 0
