"""The faces of a video: the strip of frames in the page, the lines of the terminal, the plot, the file."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from lvlm_saliency.chat.explanation import Explanation, frames_of
from lvlm_saliency.errors import InputError
from lvlm_saliency.model.layout import ImageLayout, ImageTile, VideoLayout, VideoStep
from lvlm_saliency.model.video import Video
from lvlm_saliency.report.content import Report
from lvlm_saliency.report.film import print_films
from lvlm_saliency.report.page import page_data

from .browser import complaints, open_page, requests, wait_until
from .fabricated import CAPTION, fabricated, picture

SIDE = 8
NONE = np.array([], np.int64)


def film(first=1, pairs=False):
    """64 positions as four grids of 4 x 4: one frame each, or two."""
    steps = []
    for number in range(4):
        frames = (2 * number, 2 * number + 1) if pairs else (number,)
        positions = np.arange(first + 16 * number, first + 16 * (number + 1)).reshape(4, 4)
        tile = ImageTile(positions, (0.0, 0.0, 64.0, 48.0), "full")
        times = tuple(frame / 2 for frame in frames)
        steps.append(VideoStep(frames, times, ImageLayout(64, 48, (tile,), NONE)))
    return VideoLayout(64, 48, tuple(steps), NONE)


def explained(pairs=False, name="answer"):
    trace = fabricated(side=SIDE)[0]
    count = 8 if pairs else 4
    frames = [picture(64, 48) for _ in range(count)]
    for number, frame in enumerate(frames):
        frame.paste((30 * number, 0, 0), (0, 0, 8, 8))
    layout = film(pairs=pairs)
    return Explanation(
        name=name,
        prompt="What happens?",
        images=[],
        text=" ".join(CAPTION),
        tokens=[f" {word}" for word in CAPTION],
        trace=trace.with_videos([[layout]]),
        videos=[Video.of(frames, rate=2.0)],
        films=[layout],
    )


@pytest.mark.parametrize("pairs", [False, True])
def test_page_data_of_a_video(pairs):
    one = explained(pairs)
    data = page_data(Report("A page", [one.case()]))
    (case,) = data["cases"]
    assert data["seen"] == "video"
    assert "video" not in data["regions"]  # the region of pictures is the video here
    (shown,) = case["videos"]
    assert shown["times"] == [f"{number / 2:.1f} s" for number in range(8 if pairs else 4)]
    assert all(frame["src"].startswith("data:image/") for frame in shown["frames"])
    (run,) = case["runs"]
    assert [step["frames"] for step in run["films"][0]] == [list(step.frames) for step in one.films[0].steps]
    assert [p for step in run["films"][0] for tile in step["tiles"] for p in tile["positions"]] == list(range(1, 65))
    assert run["seen"] == {1: "video"}


def test_terminal_says_the_times():
    out = io.StringIO()
    row = np.zeros(200)
    row[1:17], row[49:65] = 1, 3
    print_films(Console(file=out, width=80), [film(pairs=True)], row)
    lines = out.getvalue().splitlines()
    assert [re.findall(r"[\d.]+ s|\d+%", line) for line in lines[1:]] == [
        ["0.0 s", "0.5 s", "25%"],
        ["1.0 s", "1.5 s", "0%"],
        ["2.0 s", "2.5 s", "0%"],
        ["3.0 s", "3.5 s", "75%"],
    ]
    assert lines[4].count("\u2588") == 3 * lines[1].count("\u2588") == 24
    explained().show(Console(file=out, width=80))
    assert "1.5 s" in out.getvalue()


def test_a_row_without_weight_divides_over_nothing():
    out = io.StringIO()
    print_films(Console(file=out, width=80), [film(), film()], np.zeros(200))
    assert out.getvalue().count("0%") == 8
    assert "video 2" in out.getvalue()


def test_saved_and_loaded_it_is_the_same(tmp_path):
    one = explained(pairs=True)
    one.save(tmp_path / "film.safetensors")
    back = Explanation.load(tmp_path / "film.safetensors")
    assert back.trace.videos == one.trace.videos == [[(1, 65)]]
    assert back.scores("video") == one.scores("video")
    (video,), (again,) = one.videos, back.videos
    assert again.times == video.times
    assert all(np.array_equal(a, b) for a, b in zip(video.frames, again.frames, strict=True))
    assert frames_of(back.films) == frames_of(one.films)
    assert json.dumps(back.to_dict()["video_frames"]) == json.dumps(frames_of(one.films))
    values = np.arange(200.0)
    assert np.array_equal(back.films[0].heatmap(values, 3), one.films[0].heatmap(values, 3))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"indices": [0, 1]}, "as many ascending numbers"),
        ({"rate": 0}, "frames per second"),
        ({"steps": [{"frames": [99], "layout": {"width": 64, "height": 48, "tiles": []}}]}, "a step shows no frame"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, wrong, told, monkeypatch):
    from lvlm_saliency.chat import saved

    one = explained()
    one.save(tmp_path / "film.safetensors")
    real = saved.parse_json

    def bent(text, **how):
        found = real(text, **how)
        if "videos" in found and isinstance(found["videos"][0], dict):
            found["videos"][0].update(wrong)
        return found

    monkeypatch.setattr(saved, "parse_json", bent)
    with pytest.raises(InputError, match=told):
        Explanation.load(tmp_path / "film.safetensors")


def test_plot_of_a_token(tmp_path):
    pytest.importorskip("matplotlib")
    path = explained(pairs=True).plot(tmp_path / "film.png", token=5)
    assert path.read_bytes().startswith(b"\x89PNG")


FRAMES = "return [...document.querySelectorAll('.film canvas')].map((canvas) => canvas.toDataURL())"


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_a_click_on_a_word_heats_every_frame(driver, tmp_path, width, height):
    one = explained(pairs=True)
    open_page(driver, one.to_html(tmp_path / "page.html"), width, height)
    requests(driver), complaints(driver)
    before = driver.execute_script(FRAMES)
    assert len(set(before)) == len(before) == 8
    driver.execute_script("document.querySelectorAll('.answer .word')[9].click()")
    wait_until(driver, "return document.querySelector('.case').dataset.shown.endsWith(':9')")
    after = driver.execute_script(FRAMES)
    assert all(a != b for a, b in zip(before, after, strict=True))
    shares = one.films[0].shares(one.trace.rows[0, :, 9].mean(0).numpy())
    told = driver.execute_script("return [...document.querySelectorAll('.weight')].map((one) => one.textContent)")
    assert [int(text.removesuffix(" %")) for text in told] == pytest.approx((100 * shares).tolist(), abs=1)
    most = driver.execute_script(
        "return [...document.querySelectorAll('.step')].map((s) => s.classList.contains('most'))"
    )
    assert most.index(True) == shares.argmax()
    labels = driver.execute_script("return [...document.querySelectorAll('.film canvas')].map((c) => c.ariaLabel)")
    assert all(f"Frame at {number / 2:.1f} s" in label for number, label in enumerate(labels))
    driver.execute_script("document.querySelector('.step').click()")
    assert driver.execute_script("return document.querySelector('.step.large').ariaPressed") == "true"
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert [
        address for address in requests(driver) if not address.startswith(("file:", "data:", "blob:", "chrome"))
    ] == []
    assert complaints(driver) == []
