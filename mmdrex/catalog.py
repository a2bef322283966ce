"""Names to things: the public names of ``mmdrex`` and the producers of targets.

``PUBLIC`` says where each public name lives; ``mmdrex.<name>`` imports it on first use.
``producer`` turns a name, of a rule or a baseline, or the user's own function into a function from
bars to targets, the only thing an engine knows.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import ArrayLike

import strategies
from baselines import BASELINES, load
from strategies.rule import did_you_mean

if TYPE_CHECKING:
    from baselines.baseline import Baseline

Producer = Callable[[pd.DataFrame], pd.Series]

PUBLIC: dict[str, str] = {
    "Decision": "mmdrex.router.decision",
    "MMDREXStrategy": "mmdrex.engines.backtrader",
    "Observation": "mmdrex.observation.observation",
    "Returns": "mmdrex.engines.backtrader",
    "Router": "mmdrex.router.router",
    "Routing": "mmdrex.engines.backtrader",
    "Weights": "mmdrex.engines.backtrader",
    "backtrader_strategy": "baselines.backtrader",
    "compare": "mmdrex.engines.comparison",
    "load_bars": "mmdrex.data.bars",
    "make_cerebro": "mmdrex.engines.backtrader",
    "plan": "mmdrex.engines.planning",
    "sample_bars": "mmdrex.data.sample",
    "simulated_bars": "mmdrex.data.simulated",
    "tearsheet": "mmdrex.evaluation.tearsheet",
    "vectorbt_portfolio": "mmdrex.engines.vectorbt",
}


def public(name: str) -> Any:
    """Return the object behind the public name ``mmdrex.<name>``.

    Raises
    ------
    AttributeError
        When there is no such name; a near one is suggested.
    """
    if name not in PUBLIC:
        raise AttributeError(
            f"module 'mmdrex' has no attribute {name!r}.{did_you_mean(name, list(PUBLIC))}"
        )
    return getattr(importlib.import_module(PUBLIC[name]), name)


def producers() -> tuple[str, ...]:
    """Return the names ``producer`` knows: the 11 rules, then the baselines."""
    return (*strategies.POOL, *BASELINES)


def baseline(source: str, **settings: Any) -> Baseline | None:
    """Return the baseline of a name, or the fitted one of a folder; None where it is neither.

    Parameters
    ----------
    source : str
    **settings
        Of the baseline. A fitted one takes those that do not touch what it learned.

    Raises
    ------
    ValueError
        For an unknown setting, a value that does not fit, or a folder of something else.
    """
    try:
        if source in BASELINES:
            return BASELINES[source].with_settings(**settings)
        return load(source).changed(**settings) if Path(source).is_dir() else None
    except TypeError as error:
        raise ValueError(str(error)) from None


def producer(source: str | Callable[[pd.DataFrame], ArrayLike], **settings: Any) -> Producer:
    """Return a function from bars to targets (T,) in [-1, 1], known after the close of each bar.

    Parameters
    ----------
    source : str or callable
        Name of a rule or of a baseline that needs no fitting, the folder of a fitted one,
        ``"mine.py:my_targets"``, or a function of bars (T rows) that returns a Series or array of
        shape (T,).
    **settings
        Of a rule or a baseline, such as ``k=2.5``.

    Raises
    ------
    ValueError
        For an unknown name or setting, or a baseline that has to be fitted; by the returned
        function, for targets of a wrong shape or range.

    Examples
    --------
    >>> import mmdrex
    >>> producer("cash")(mmdrex.sample_bars("sp500")).abs().max()
    np.float64(0.0)
    """
    if callable(source):
        return _checked(source)
    if source in strategies.POOL:
        try:
            strategies.POOL[source].with_params(**settings)
        except TypeError as error:
            raise ValueError(str(error)) from None
        return partial(strategies.targets, source, **settings)
    found = baseline(source, **settings)
    if found is not None:
        if found.learns and found.trained is None:
            raise ValueError(
                f"{source} has to be fitted: `mmdrex fit {source}`, then give the folder it wrote"
            )
        return _checked(found.targets)
    if settings:
        raise ValueError(f"{source} takes no settings; a rule or a baseline does")
    if ".py:" in source:
        from mmdrex.engines.contract import targets_of

        return _checked(targets_of(from_file(source)))
    raise ValueError(f"no strategy {source!r}.{did_you_mean(source, producers())}")


def from_file(source: str) -> Any:
    """Return the object that ``"mine.py:Name"`` says.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file has no such name; a near one is suggested.
    """
    path, _, name = source.rpartition(":")
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}; check the path in {source!r}")
    spec = importlib.util.spec_from_file_location(f"user_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # backtrader looks a strategy's module up there
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        known = [other for other in vars(module) if not other.startswith("_")]
        raise ValueError(f"no {name!r} in {path}.{did_you_mean(name, known)}")
    return getattr(module, name)


def _checked(targets: Callable[[pd.DataFrame], ArrayLike]) -> Producer:
    from mmdrex.engines.guard import checked_target  # numba is not needed to look up a name

    def produce(bars: pd.DataFrame) -> pd.Series:
        given = targets(bars)
        series = pd.Series(checked_target(bars, given), index=bars.index, name="target")
        if isinstance(given, pd.Series):
            series.attrs = given.attrs  # the training dates of a fitted baseline
        return series

    return produce
