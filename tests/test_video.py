"""Videos from folders, lists, animations and files: which frames are taken, when they were shown, what is refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import lvlm_saliency as ls
from lvlm_saliency import extras
from lvlm_saliency.errors import ImageError, InputError
from lvlm_saliency.model.video import Video, evenly, stamp


def frame(number: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A grey whose brightness is its number."""
    return Image.new("RGB", size, (10 * number,) * 3)


def numbers(video: Video) -> list[int]:
    """Which frames these are, by their brightness."""
    return [round(np.asarray(sheet).mean() / 10) for sheet in video.frames]


@given(st.integers(1, 400), st.integers(1, 60))
def test_frames_are_spread_evenly(total, count):
    chosen = evenly(total, count)
    assert len(chosen) == min(total, count)
    assert chosen == sorted(set(chosen))
    assert chosen[0] == 0
    assert chosen[-1] == (total - 1 if len(chosen) > 1 else 0)
    gaps = np.diff(chosen)
    assert not len(gaps) or gaps.max() - gaps.min() <= 1


def test_a_folder_in_the_order_of_its_numbers(tmp_path):
    for number in range(12):
        frame(number).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    video = ls.open_video(tmp_path, frames=12)
    assert numbers(video) == list(range(12))
    assert not video.timed
    assert video.times == list(range(12))  # one a second, where nobody says
    video = ls.open_video(str(tmp_path), frames=4, rate=8.0)
    assert video.timed
    assert numbers(video) == list(video.indices) == [0, 4, 7, 11]
    assert video.times == [0, 0.5, 0.875, 1.375]
    assert video.duration == 1.5


def test_a_list_of_pictures_and_paths(tmp_path):
    frame(1).save(tmp_path / "1.png")
    video = ls.open_video([frame(0), tmp_path / "1.png", frame(2)], rate=2.0)
    assert numbers(video) == [0, 1, 2]
    assert video.times == [0, 0.5, 1.0]


@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_animations(tmp_path, kind):
    frames = [frame(number) for number in range(20)]
    for lengths, rate in (([40] * 20, 25.0), ([40 + 10 * number for number in range(20)], 1000.0)):
        path = tmp_path / f"one.{kind}"
        more = {"lossless": True} if kind == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=lengths, **more)
        video = ls.open_video(path, frames=5)
        assert numbers(video) == evenly(20, 5) == [0, 5, 10, 14, 19]
        assert video.rate == rate
        assert video.timed
        starts = np.concatenate([[0], np.cumsum(lengths)]) / 1000
        assert video.times == pytest.approx(starts[[0, 5, 10, 14, 19]].tolist())
        assert video.duration == pytest.approx(starts[-1])


def written(path, rate, count=20, codec="libx264", times=None):
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(count):
            sheet = av.VideoFrame.from_image(frame(number))
            if times is not None:
                sheet.pts, sheet.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(sheet))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_video_file(tmp_path, suffix):
    """Frames come in the order in which they are shown, whatever the order in which they are coded."""
    video = ls.open_video(written(tmp_path / f"one.{suffix}", Fraction(30000, 1001)), frames=4)
    assert numbers(video) == list(video.indices) == [0, 6, 13, 19]
    assert video.times == pytest.approx([number * 1001 / 30000 for number in (0, 6, 13, 19)], abs=2e-3)
    assert video.duration == pytest.approx(20 * 1001 / 30000, abs=2e-3)


def test_a_video_file_whose_frames_do_not_come_at_one_rate(tmp_path):
    times = [0, 40, 80, 500, 540, 1500, 1540, 3000]
    video = ls.open_video(written(tmp_path / "one.mkv", 25, 8, times=times), frames=8)
    assert numbers(video) == list(range(8))
    assert video.times == pytest.approx([time / 1000 for time in times], abs=2e-3)


def test_files_that_are_no_videos(tmp_path):
    pytest.importorskip("av")
    (tmp_path / "text.mp4").write_bytes(b"hello" * 100)
    whole = written(tmp_path / "whole.mp4", 25).read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")
    for name in ("text.mp4", "half.mp4", "list.m3u8"):
        with pytest.raises(InputError, match=rf"{name}.*(not a video that can be read|holds no video|damaged)"):
            ls.open_video(tmp_path / name)


def test_what_is_no_video(tmp_path, monkeypatch):
    frame(1).save(tmp_path / "one.png")
    with pytest.raises(InputError, match="is one picture, not a video"):
        ls.open_video(tmp_path / "one.png")
    with pytest.raises(InputError, match="no such video"):
        ls.open_video(tmp_path / "none.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match="is empty"):
        ls.open_video(tmp_path / "empty.mp4")
    with pytest.raises(InputError, match="is an address, not a file"):
        ls.open_video("https://example.org/a.mp4")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="holds no frames"):
        ls.open_video(tmp_path / "folder")
    frame(1).save(tmp_path / "folder" / "1.png")
    frame(1, (32, 48)).save(tmp_path / "folder" / "2.png")
    with pytest.raises(InputError, match=r"2\.png' is 32 x 48 pixels and the first 64 x 48"):
        ls.open_video(tmp_path / "folder")
    (tmp_path / "folder" / "2.png").write_bytes(b"broken")
    with pytest.raises(ImageError, match="is not a picture that can be read"):
        ls.open_video(tmp_path / "folder")
    for frames in (0, 2000, True, 1.5):
        with pytest.raises(InputError, match="frames must be a whole number from 1 to 1024"):
            ls.open_video(tmp_path, frames)
    (tmp_path / "real.mp4").write_bytes(b"anything")
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"a video file \(real.mp4\) needs av, which is not installed: .*\[video\]"):
        ls.open_video(tmp_path / "real.mp4")
    with pytest.raises(InputError, match="says itself when its frames are shown"):
        ls.open_video(tmp_path / "real.mp4", rate=3)


def test_frames_that_are_at_hand():
    video = Video.of([frame(0), frame(1), frame(2)], times=[0.0, 0.25, 2.0])
    assert video.times == [0.0, 0.25, 2.0]
    assert video.duration == 3.75
    assert video.pixels().shape == (3, 3, 48, 64)
    assert video.pixels().dtype == torch.uint8
    assert video.metadata()["frames_indices"] == [0, 250, 2000]
    assert repr(video) == "Video(frames=3, size=[64, 48], seconds=3.8)"
    for bad, told in (
        ({"frames": []}, "at least one frame"),
        ({"frames": [frame(0), frame(1, (9, 9))]}, "9 x 9 pixels and the first 64 x 48"),
        ({"frames": [frame(0), "x.png"]}, "frame 1 is str, not a picture"),
        ({"frames": [frame(0)], "rate": 0.0}, "above 0"),
        ({"frames": [frame(0)], "rate": float("nan")}, "above 0"),
        ({"frames": [frame(0)], "times": [1.0, 2.0]}, "1 frames need as many times"),
        ({"frames": [frame(0), frame(1)], "times": [2.0, 1.0]}, "ascending"),
        ({"frames": [frame(0)], "times": [0.0], "rate": 1.0}, "a rate or times"),
    ):
        with pytest.raises(InputError, match=told):
            Video.of(**bad)


def test_times_as_people_read_them():
    assert [stamp(seconds) for seconds in (0, 3.46, 59.9, 60, 127.8, 3727)] == [
        "0.0 s", "3.5 s", "59.9 s", "1:00", "2:07", "1:02:07",
    ]  # fmt: skip
