"""Results are written whole or not at all."""

from __future__ import annotations

import os
import stat

import pytest

from lvlm_saliency.errors import InputError
from lvlm_saliency.report.files import check_writable, replacing, write_text


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
