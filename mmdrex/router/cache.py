"""Results kept on disk by content: vision features and decisions.

One file per entry, named by the digest of all that determines it; written aside and renamed, so
that two processes can share a cache and none reads a half-written entry. A damaged entry is a miss.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from mmdrex.data.files import replacing

log = logging.getLogger(__name__)


def default_folder() -> Path:
    """Return ``$MMDREX_CACHE``, else ``mmdrex`` in the user's cache folder."""
    if own := os.environ.get("MMDREX_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mmdrex"


def digest(*parts: str | bytes) -> str:
    """Return a hex digest of the parts and of where one ends and the next begins."""
    content = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        content.update(len(data).to_bytes(8, "little"))
        content.update(data)
    return content.hexdigest()


class Cache:
    """A folder of entries; ``Cache(None)`` keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def _path(self, kind: str, key: str) -> Path | None:
        return None if self.folder is None else self.folder / kind / key[:2] / key

    def _read(self, kind: str, key: str) -> bytes | None:
        path = self._path(kind, key)
        try:
            return None if path is None else path.read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, kind: str, key: str, data: bytes) -> None:
        path = self._path(kind, key)
        if path is None:
            return
        try:
            with replacing(path) as aside:
                aside.write_bytes(data)
        except OSError as error:
            log.warning("nothing is cached in %s: %s", self.folder, error)
            self.folder = None

    def record(self, key: str) -> dict[str, Any] | None:
        """Return a decision's record, or None where there is none or it is damaged."""
        data = self._read("decisions", key)
        try:
            return None if data is None else dict(json.loads(data))
        except ValueError:
            return None

    def keep_record(self, key: str, record: dict[str, Any]) -> None:
        """Keep a decision's record."""
        self._write("decisions", key, json.dumps(record).encode())

    def features(self, key: str) -> torch.Tensor | None:
        """Return vision features, or None where there are none or they are damaged."""
        data = self._read("vision", key)
        try:
            return None if data is None else load(data)["features"]
        except (SafetensorError, KeyError):
            return None

    def keep_features(self, key: str, features: torch.Tensor) -> None:
        """Keep vision features, a tensor of shape (tokens, width)."""
        self._write("vision", key, save({"features": features.contiguous()}))
