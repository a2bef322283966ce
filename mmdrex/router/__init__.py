"""The router: observation to decision.

``Router`` and what it needs of torch load on first use; ``Decision`` needs neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmdrex.router.decision import Decision

if TYPE_CHECKING:
    from mmdrex.router.router import Router

__all__ = ["Decision", "Router"]


def __getattr__(name: str) -> Any:
    if name == "Router":
        from mmdrex.router.router import Router

        return Router
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
