"""A table of names and classes whose modules are imported when a class is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baselines.baseline import Baseline


class Table(Mapping[str, "type[Baseline]"]):
    """Maps a name to a class; ``homes`` says where each lives, as ``"module:Class"``.

    Importing the table costs nothing: torch, LightGBM and stable-baselines3 take seconds together.
    """

    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = dict(homes)

    def __getitem__(self, name: str) -> type[Baseline]:
        module, _, attribute = self._homes[name].partition(":")
        found: type[Baseline] = getattr(importlib.import_module(module), attribute)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._homes  # the inherited one would import the module

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)
