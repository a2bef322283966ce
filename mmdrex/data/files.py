"""Writing aside, then renaming: a file or folder is there whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success what was written there takes its place.

    Write a file to the temporary path or make a folder of it. If the block raises, ``path`` is
    as it was and the temporary one is gone.

    Parameters
    ----------
    path : path
        Its parent folders are made. An existing file or folder is replaced as a whole.

    Raises
    ------
    FileNotFoundError
        If the block wrote nothing.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid4().hex[:12]}")
    try:
        yield aside
        if not aside.exists():
            raise FileNotFoundError(f"nothing was written to {aside}, which was to become {target}")
        _move(aside, target)
    finally:
        _remove(aside)


def reserve(path: Path, size: int) -> None:
    """Give a file its bytes on the disk now: a full one is told here, not by a dying process.

    A memory-mapped file whose blocks are missing when they are written to kills the process.

    Raises
    ------
    OSError
        If there is no room.
    """
    if not hasattr(os, "posix_fallocate") or size == 0:  # macOS and Windows have none
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                return  # this file system gives none ahead
            raise OSError(
                error.errno, f"{size / 2**20:.1f} MiB can't be kept ({error.strerror})", str(path)
            ) from error


def _move(aside: Path, target: Path) -> None:
    """Rename ``aside`` to ``target``; an old folder, which can't be replaced, steps aside first."""
    if target.is_dir() or (aside.is_dir() and target.exists()):
        old = target.with_name(f".{target.name}.{uuid4().hex[:12]}")
        target.rename(old)
        try:
            aside.rename(target)
        except OSError:
            old.rename(target)
            raise
        _remove(old)
    else:
        aside.replace(target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
