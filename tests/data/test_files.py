import errno
import os

import pytest

from mmdrex.data.files import replacing, reserve


def test_file_appears_only_when_the_block_is_done(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with replacing(path) as aside:
        aside.write_text("done")
        assert aside.parent == path.parent and not path.exists()
    assert path.read_text() == "done"
    assert list(path.parent.iterdir()) == [path]


def test_interrupted_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_replaces_a_folder_as_a_whole(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / "stale.csv").write_text("old")
    with replacing(path) as aside:
        aside.mkdir()
        (aside / "fresh.csv").write_text("new")
    assert [file.name for file in path.iterdir()] == ["fresh.csv"]
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_folder_leaves_the_old_one(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / "stale.csv").write_text("old")
    with pytest.raises(ValueError, match="stop"), replacing(path) as aside:
        aside.mkdir()
        (aside / "half.csv").write_text("half")
        raise ValueError("stop")
    assert [file.name for file in path.iterdir()] == ["stale.csv"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("old", ["file", "folder"])
def test_file_and_folder_replace_each_other(tmp_path, old):
    path = tmp_path / "x"
    if old == "file":
        path.write_text("old")
    else:
        path.mkdir()
    with replacing(path) as aside:
        if old == "file":
            aside.mkdir()
        else:
            aside.write_text("new")
    assert path.is_dir() == (old == "file")


def test_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing was written"), replacing(tmp_path / "a"):
        pass


def test_reserved_bytes_are_there_and_nothing_is_overwritten(tmp_path):
    path = tmp_path / "folder" / "file"
    reserve(path, 5000)
    assert path.stat().st_size == 5000 and path.stat().st_blocks * 512 >= 5000
    path.write_bytes(b"kept")
    reserve(path, 9)
    assert path.read_bytes() == b"kept" + bytes(5)


def test_a_file_system_that_reserves_nothing_is_no_error(tmp_path, monkeypatch):
    def refuse(descriptor, offset, size):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    reserve(tmp_path / "file", 9)
    assert (tmp_path / "file").stat().st_size == 0
