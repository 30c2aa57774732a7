"""`explain --video` and `generate --video`."""

from __future__ import annotations

import json

import pytest

from lvlm_saliency.chat import Chat
from zoo import FAMILIES
from zoo.family import picture
from zoo.videos import filming


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "frames").mkdir()
    for number in range(6):
        picture(number, (70, 44)).save(tmp_path / "frames" / f"{number}.png")
    return tmp_path / "frames"


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    """Families of the zoo by their names, with video processors that need no torchvision."""

    def load(name, **options):
        model, processor = FAMILIES[name].build()
        return Chat(model, filming(processor) if hasattr(processor, "video_processor") else processor, name)

    monkeypatch.setattr(Chat, "load", staticmethod(load))


def test_explain_names_frames_and_times(run, folder, tmp_path):
    page = tmp_path / "page.html"
    given = ("--model", "qwen3_vl", "--video", folder, "--fps", 2, "--frames", 4, "--prompt", "What happens?")
    done = run("explain", *given, "--text", "A red car.", "--html", page, "--region", "video")
    assert done.status == 0, done.err
    assert "saliency on video" in done.out
    assert all(time in done.out for time in ("0.0 s, 1.0 s", "1.5 s, 2.5 s"))
    assert "note:" not in done.err
    assert "<canvas" not in page.read_text()  # the strip is drawn by the page's script
    assert '"times":["0.0 s","1.0 s","1.5 s","2.5 s"]' in page.read_text()
    done = run("explain", *given, "--text", "A red car.", "--json")
    found = json.loads(done.out)
    assert found["videos"] == [str(folder)]
    assert [step["times"] for step in found["video_frames"][0]] == [[0.0, 1.0], [1.5, 2.5]]
    assert [step["frames"] for step in found["video_frames"][0]] == [[0, 1], [2, 3]]
    assert len(found["scores"]["video"]) == len(found["tokens"])


def test_generate_and_the_note_of_times_that_nobody_says(run, folder):
    done = run("generate", "--model", "internvl", "--video", folder, "--prompt", "What happens?", "--max-new-tokens", 3)
    assert done.status == 0, done.err
    assert "one a second is assumed; --fps says otherwise" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--frames", "4"], "give --video PATH as well"),
        (["--fps", "4"], "give --video PATH as well"),
        (["--region", "video"], "give --video PATH"),
        (["--video", "nowhere.mp4"], "no such video: 'nowhere.mp4'"),
    ],
)
def test_mistakes_are_one_line(run, arguments, told):
    done = run("explain", "--model", "qwen2_vl", "--prompt", "What?", "--text", "A", *arguments)
    assert done.status == 2
    assert told in done.err
    assert "Traceback" not in done.err


def test_a_model_of_pictures_refuses(run, folder):
    done = run("generate", "--model", "llava", "--video", folder, "--prompt", "What?")
    assert done.status == 2
    assert "LLaVA-1.5 takes pictures and no videos: give frames of it as pictures" in done.err
