"""The policy pool of MM-DREX: 11 trading rules, and the four experts that choose among them.

``POOL`` maps a name to a rule, ``EXPERTS`` an expert to the names of its rules, and
``targets("bollinger", bars, k=2.0)`` is what one rule would hold. The names load on first use, so
that importing the package stays cheap: numba, TA-Lib and pandas take most of a second together.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strategies.pool import EXPERTS, POOL, targets
    from strategies.rule import Rule

__all__ = ["EXPERTS", "POOL", "Rule", "targets"]

_HOMES = {"EXPERTS": "pool", "POOL": "pool", "Rule": "rule", "targets": "pool"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'strategies' has no attribute {name!r}")
    value = getattr(import_module(f"strategies.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
