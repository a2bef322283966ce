import logging
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch

from mmdrex.router.cache import Cache, default_folder, digest


def test_an_entry_comes_back_as_it_was(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.keep_record("ab", {"weights": [0.1, 0.9]})
    cache.keep_features("cd", torch.arange(6.0).view(2, 3))
    assert cache.record("ab") == {"weights": [0.1, 0.9]}
    features = cache.features("cd")
    assert features is not None and torch.equal(features, torch.arange(6.0).view(2, 3))


def test_a_truncated_entry_is_a_miss_and_is_mended_by_the_next_write(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.keep_record("ab", {"weights": [0.1, 0.9]})
    cache.keep_features("cd", torch.ones(4, 4))
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        path.write_bytes(path.read_bytes()[:-5])
    assert cache.record("ab") is None
    assert cache.features("cd") is None
    cache.keep_record("ab", {"weights": [1.0]})
    assert cache.record("ab") == {"weights": [1.0]}


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    cache = Cache(None)
    cache.keep_record("ab", {})
    assert cache.record("ab") is None


def test_a_folder_that_cannot_be_written_is_said_once_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    cache = Cache(blocked)
    with caplog.at_level(logging.WARNING):
        cache.keep_record("ab", {})
        cache.keep_record("ab", {})
    assert len(caplog.records) == 1 and "nothing is cached" in caplog.text


def _write_often(folder: Path) -> int:
    cache = Cache(folder)
    bad = 0
    for _ in range(200):
        cache.keep_record("ab", {"x": list(range(500))})
        bad += cache.record("ab") != {"x": list(range(500))}
    return bad


def test_two_processes_never_read_each_others_half_written_entry(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(_write_often, [tmp_path, tmp_path])) == [0, 0]


def test_the_digest_tells_where_parts_end() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab", "c") == digest(b"ab", b"c")


def test_the_cache_lies_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMDREX_CACHE", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("MMDREX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "mmdrex"
