"""What tests of several packages share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: a core per worker
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from mmdrex import cli


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str, str]]:
    """Return what calls ``mmdrex`` with arguments and returns exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "200")

    def called(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["mmdrex", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return called
