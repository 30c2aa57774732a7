"""No command lets what models, files and users wrote steer the terminal: escape codes, bidi controls, markup."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from tokenizers import AddedToken

from lvlm_saliency.cli import main
from zoo import llava
from zoo.weights import randomise

from .conftest import NAME, check

WORDS = (
    "\x1b[31mRED\x1b]0;TITLE\x07",
    "\u202eevil\u202c",
    "a\x00b",
    "\nline\r\n",
    "\x9b31mC1",
    "\x85next",
    "\u2028sep",
    "\x1b[2J\x1b[H",
    "\r\x1b[Kspoof",
    "\x08\x08back",
    "\x7fdel",
    "[link=http://x]y[/link]",
    "[bold]b[/bold]",
    ":dog:",
    "\x1b",  # an escape code in two pieces
    "[32mgreen",
)


@pytest.fixture(scope="module")
def evil(tmp_path_factory) -> Path:
    """A tiny LLaVA that writes nothing but such words."""
    torch.manual_seed(0)
    model, processor = llava.llava()
    tokenizer = processor.tokenizer
    tokenizer.add_tokens([AddedToken(word, normalized=False, special=False) for word in WORDS])
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    randomise(model, tokenizer.all_special_ids, 3)
    ids = tokenizer.convert_tokens_to_ids(list(WORDS))
    with torch.no_grad():
        weight = model.get_output_embeddings().weight
        kept = weight[ids] * 3
        weight *= 0.02
        weight[ids] = kept
    for name in ("eos_token_id", "pad_token_id", "bos_token_id"):
        setattr(model.generation_config, name, getattr(tokenizer, name))
    folder = tmp_path_factory.mktemp("evil")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def command(capfd, monkeypatch):
    """`command(...)` -> (status, stdout, stderr), both looked through."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("LVLM_SALIENCY_DEBUG", raising=False)

    def run(*arguments, coloured=False):
        if coloured:
            monkeypatch.setenv("FORCE_COLOR", "1")
        capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return status, check(out, coloured), check(err, coloured)

    return run


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.new("RGB", (40, 40), "teal").save(path)
    return path


SAMPLED = ("--max-new-tokens", 12, "--temperature", 1.5, "--seed", 5)


@pytest.mark.parametrize(
    ("more", "coloured"),
    [
        (("generate",), False),
        (("generate", "--compare", "--method", "locore"), False),
        (("generate", "--explain", "--method", "sgrs:alpha=1.2"), True),
        (("generate", "--json"), False),
        (("explain",), False),
        (("explain",), True),
        (("explain", "--json"), False),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "coloured" * given,
)
def test_what_a_model_writes(command, evil, picture, more, coloured):
    asked = ("--model", evil, "--device", "cpu", "--image", picture, "--prompt", "Describe.\x1b[31m")
    status, out, _ = command(*more, *asked, *SAMPLED, coloured=coloured)
    assert status == 0
    if "--json" in more:
        found = json.loads(out)
        text = "".join(found["runs"][0]["tokens"] if "runs" in found else found["tokens"])
        assert set(text) & set("\x1b\x00\x9b\u202e\r")  # nothing is lost: it is escaped
    else:
        assert "·" in out


def test_names_of_runs_and_settings_of_methods(command, evil, tmp_path):
    """`evaluate`, its report, its progress and its notes; the folder's name and a method's label hold escape codes."""
    run = tmp_path / NAME
    config = tmp_path / "run.yaml"
    methods = [{"icd": {"instruction": "look \x1b[31m [bold]here[/bold] \u202e\nnow"}}]
    config.write_text(json.dumps({"benchmarks": ["scenes-caption"], "methods": methods, "n": 2, "resamples": 40}))
    asked = ("--model", evil, "--device", "cpu", "--max-new-tokens", 4, "--config", config)
    status, out, _ = command("evaluate", *asked, "--out", run)
    assert status == 0
    assert "[bold]here[/bold]" in out.replace("\n", " ")
    shutil.copytree(run, tmp_path / "second")
    status, out, _ = command("evaluate", "--report", run, tmp_path / "second", "--out", tmp_path / "both")
    assert status == 0
    assert "[bold]" in out
    assert not re.search(r"^error: spoof", out, re.M)
    for page in (tmp_path / "both" / "report.md", run / "summary.md"):
        check(page.read_text())
    status, out, _ = command("evaluate", "--report", run, "--json")
    assert status == 0
    assert json.loads(out)


@pytest.mark.parametrize(
    "asked",
    [
        ("explain", "--image", NAME, "--prompt", "x"),
        ("explain", "--image", "a.png", "--prompt", "x", "--model", NAME),
        ("explain", "--image", "a.png", "--prompt", "x", "--risk", NAME),
        ("explain", "--image", "a.png", "--prompt", "x", "--png", NAME),
        ("explain", "--image", "a.png", "--prompt", "x", "--layers", NAME),
        ("generate", "--image", "a.png", "--prompt", "x", "--method", NAME),
        ("generate", "--image", "a.png", "--prompt", "x", "--method", NAME + ".yaml"),
        ("generate", "--prompt", "x", "--temperature", NAME),
        ("evaluate", "--report", NAME),
        ("evaluate", "--config", NAME),
        ("evaluate", NAME),
        ("evaluate", "--model", "scenes", "--benchmark", NAME, "--out", "x"),
        ("study", NAME, "--out", "x"),
        ("study", "separation", "--labels", NAME + ".jsonl", "--out", "x"),
        ("tune", "--methods", NAME, "--out", "x"),
        ("score", "pope", NAME, "--questions", NAME),
        ("score", "mme", NAME),
        ("data", "check", NAME),
        ("data", "check", "pope", "--data", NAME),
        ("methods", NAME),
        ("models", NAME),
        (NAME,),
        (NAME, "--debug"),
    ],
    ids=lambda asked: " ".join(asked).replace(NAME, "NAME"),
)
def test_errors_are_one_line_without_any_of_it(command, asked, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, _, err = command(*asked)
    assert status in (1, 2)
    if asked[:2] != ("data", "check") and "--debug" not in asked:
        assert len(err.splitlines()) == 1
        assert err.startswith("error: ")


def test_files_are_named_in_the_tables_of_scores(command, tmp_path):
    folder = tmp_path / NAME
    folder.mkdir()
    questions = [{"question_id": n, "image": "a.jpg", "text": f"q{n}", "label": "yes"} for n in range(2)]
    (folder / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    for name in (NAME, "other" + NAME):
        rows = [{"question_id": n, "answer": "yes\x1b[31m"} for n in range(2)] + ["no record\x1b[31m"]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = [folder / NAME, folder / ("other" + NAME), "--questions", folder / "q.jsonl"]
    assert command("score", "pope", *asked)[0] == 2
    status, out, _ = command("score", "pope", *asked, "--skip-errors")
    assert status == 0
    assert not re.search(r"^error: spoof", out, re.M)
    assert command("score", "pope", *asked, "--skip-errors", "--json")[0] == 0


def test_data_and_written_files(command, evil, picture, tmp_path):
    folder = tmp_path / NAME
    assert command("data", "scenes", "--n", 1, "--out", folder)[0] == 0
    (folder / "coco_pope_random.json").write_text("[]")
    status, out, _ = command("data", "check", "pope", "--data", folder)
    assert status == 1
    assert "coco_pope_random" in out
    asked = ("--model", evil, "--device", "cpu", "--image", picture, "--prompt", "x", "--max-new-tokens", 3)
    status, _, err = command("explain", *asked, "--html", folder / "page.html", "--save", folder / "t.safetensors")
    assert status == 0
    assert len(err.splitlines()) == 2
