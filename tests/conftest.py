"""The command line, called as a user would."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

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
