"""Results are written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from lvlm_saliency.errors import InputError
from lvlm_saliency.files import append_bytes, check_writable, make_folder, replacing, write_text
from lvlm_saliency.files.json_lines import locked


def test_writes_into_folders_that_did_not_exist(tmp_path):
    path = write_text(tmp_path / "a" / "b" / "c.txt", "\u00e4")
    assert path.read_text(encoding="utf-8") == "\u00e4"
    assert os.listdir(path.parent) == ["c.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "old.txt"
    path.write_text("old")

    def fail_halfway():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["old.txt"]


def test_new_files_have_ordinary_permissions(tmp_path):
    (tmp_path / "plain").touch()
    write_text(tmp_path / "written", "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "written")]
    assert modes[0] == modes[1]


def test_a_folder_and_an_impossible_place_are_refused_beforehand(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        check_writable(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        check_writable(tmp_path / "file" / "below.html")


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("moment", ["write", "rename"])
def test_a_full_disk_is_one_line_and_leaves_no_temporary_file(tmp_path, monkeypatch, moment):
    path = write_text(tmp_path / "kept.txt", "old")
    if moment == "rename":
        monkeypatch.setattr(Path, "replace", full_disk)
    else:

        def half(self, content):
            with self.open("wb") as file:
                file.write(content[:2])
            full_disk()

        monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(InputError, match=r"cannot write '.*kept\.txt': No space left on device"):
        write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["kept.txt"]


def test_an_appended_piece_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    append_bytes(path, b"one\n")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(InputError, match="No space left"):
        append_bytes(path, b"two\n")
    monkeypatch.undo()
    append_bytes(path, b"three\n")
    assert path.read_bytes() == b"one\nthree\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_place_for_a_result(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no ordinary file"):
        check_writable(tmp_path / "pipe")


def test_a_pipe_is_neither_appended_to_nor_locked(tmp_path):
    """Opening one for writing would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no ordinary file"):
        append_bytes(tmp_path / "pipe", b"x")
    with pytest.raises(InputError, match="no ordinary file"), locked(tmp_path / "pipe"):
        pass


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "below", tmp_path / "file", f"{tmp_path}/\0"):
        with pytest.raises(InputError, match="cannot make"):
            make_folder(path)
