"""MM-DREX for backtrader and vectorbt: a vision-language router trades four experts.

Names resolve on first use (see ``mmdrex.catalog``), so that ``import mmdrex`` stays light: neither
engine, nor torch, nor transformers is imported here.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from baselines.backtrader import backtrader_strategy as backtrader_strategy
    from mmdrex.data.bars import load_bars as load_bars
    from mmdrex.data.sample import sample_bars as sample_bars
    from mmdrex.data.simulated import simulated_bars as simulated_bars
    from mmdrex.engines.backtrader import MMDREXStrategy as MMDREXStrategy
    from mmdrex.engines.backtrader import Returns as Returns
    from mmdrex.engines.backtrader import Routing as Routing
    from mmdrex.engines.backtrader import Weights as Weights
    from mmdrex.engines.backtrader import make_cerebro as make_cerebro
    from mmdrex.engines.comparison import compare as compare
    from mmdrex.engines.planning import plan as plan
    from mmdrex.engines.vectorbt import vectorbt_portfolio as vectorbt_portfolio
    from mmdrex.evaluation.tearsheet import tearsheet as tearsheet
    from mmdrex.observation.observation import Observation as Observation
    from mmdrex.router.decision import Decision as Decision
    from mmdrex.router.router import Router as Router

__version__ = "0.1.0"


def _check_neighbours(home: Path) -> None:
    """Raise ImportError when ``strategies`` or ``baselines`` is somebody else's package."""
    for name in ("strategies", "baselines"):
        spec = find_spec(name)
        if spec is None:
            raise ImportError(
                f"mmdrex needs its package {name!r} in {home}, where it is missing; "
                "install mmdrex again"
            )
        found = Path(spec.origin or next(iter(spec.submodule_search_locations or ["?"]))).resolve()
        if found != home / name / "__init__.py":
            raise ImportError(
                f"mmdrex needs its package {name!r} in {home}, but Python finds {found} first; "
                "rename that one or run from another folder"
            )


_check_neighbours(Path(__file__).resolve().parent.parent)


def __getattr__(name: str) -> Any:
    # Dunder look-ups come from the import system and pickle, never from a misspelling.
    if name.startswith("__"):
        raise AttributeError(f"module 'mmdrex' has no attribute {name!r}")
    value = importlib.import_module("mmdrex.catalog").public(name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *importlib.import_module("mmdrex.catalog").PUBLIC})
