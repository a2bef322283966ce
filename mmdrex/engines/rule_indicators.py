"""Every rule as a vectorbt ``IndicatorFactory`` class, for grids of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import vectorbt as vbt
from numpy.typing import NDArray

from strategies import POOL
from strategies.rule import Rule, did_you_mean

Array = NDArray[np.float64]
INPUTS = ("open", "high", "low", "close", "volume")


def rule_indicator(rule: Rule, class_name: str, module: str = __name__) -> Any:
    """Return the ``IndicatorFactory`` class of a rule; its output is ``target``.

    ``run(bars, k=[1.5, 2.0], n=[10, 20], param_product=True)`` takes bars, a dict from symbol to
    bars, or open, high, low, close and volume as Series or as DataFrames with the symbols as
    columns. The columns of ``target`` have a level per parameter (``bollinger_k``) and ``symbol``;
    on a union calendar the target is NaN where an asset has no bar.

    Parameters
    ----------
    rule : Rule
    class_name, module : str
        Where the class will be found; pickling needs it.
    """
    names = sorted(rule.params._fields, key=str.lower)  # the order of the column levels
    defaults = rule.params._asdict()

    def apply(*args: Any) -> Array:
        columns, params = args[: len(INPUTS)], dict(zip(names, args[len(INPUTS) :], strict=True))
        variant = rule.with_params(**params)
        return np.column_stack(
            [
                _column(variant, [values[:, i] for values in columns])
                for i in range(columns[0].shape[1])
            ]
        )

    base = vbt.IndicatorFactory(
        class_name=class_name,
        module_name=module,
        short_name=rule.name,
        input_names=list(INPUTS),
        param_names=names,
        output_names=["target"],
    ).from_apply_func(apply, **{name: defaults[name] for name in names})

    def run(cls: Any, *data: Any, **params: Any) -> Any:
        for name in params:
            if name not in names and name not in _RUN_SETTINGS:
                raise TypeError(
                    f"rule {rule.name} has no parameter {name!r}; it has "
                    f"{', '.join(names) or 'none'}.{did_you_mean(name, names)}"
                )
        # vectorbt would take a range for one value.
        lists = {k: list(v) if isinstance(v, range) else v for k, v in params.items()}
        return base.run.__func__(cls, *_wide(data), **lists)

    indicator = type(
        class_name,
        (base,),
        {
            "run": classmethod(run),
            "__doc__": f"``IndicatorFactory`` class of ``strategies.POOL[{rule.name!r}]``.",
            "__module__": module,
        },
    )
    return indicator


_RUN_SETTINGS = ("param_product", "short_name", "hide_params", "hide_default", "per_column")


def _column(rule: Rule, columns: list[Array]) -> Array:
    target = np.full(len(columns[0]), np.nan)
    known = ~np.isnan(columns[0])
    bars = pd.DataFrame({name: values[known] for name, values in zip(INPUTS, columns, strict=True)})
    target[known] = rule.targets(bars)
    return target


def _wide(data: tuple[Any, ...]) -> list[pd.DataFrame]:
    """Return open, high, low, close, volume, each of shape (T, A) with columns ``symbol``."""
    if len(data) == 1:
        frames = data[0]
        if isinstance(frames, pd.DataFrame):
            frames = {str(frames.attrs.get("symbol") or "asset"): frames}
        if not isinstance(frames, Mapping):
            raise TypeError(f"run takes bars, a dict of bars or five series, not {type(frames)}")
        return [
            pd.concat({symbol: frame[name] for symbol, frame in frames.items()}, axis=1)
            .sort_index()
            .rename_axis(columns="symbol")
            for name in INPUTS
        ]
    if len(data) != len(INPUTS):
        raise TypeError(f"run takes bars, or {', '.join(INPUTS)}; got {len(data)} series")
    wide = []
    for values in data:
        if isinstance(values, pd.Series):
            values = values.to_frame(str(values.attrs.get("symbol") or "asset"))
        wide.append(values.rename_axis(columns="symbol"))
    return wide


MA_CROSS = rule_indicator(POOL["ma_cross"], "MA_CROSS")
MOMENTUM = rule_indicator(POOL["momentum"], "MOMENTUM")
TURTLE = rule_indicator(POOL["turtle"], "TURTLE")
BOLLINGER = rule_indicator(POOL["bollinger"], "BOLLINGER")
RSI_SWING = rule_indicator(POOL["rsi_swing"], "RSI_SWING")
KDJ = rule_indicator(POOL["kdj"], "KDJ")
VOLUME_BREAKOUT = rule_indicator(POOL["volume_breakout"], "VOLUME_BREAKOUT")
ATR_BREAKOUT = rule_indicator(POOL["atr_breakout"], "ATR_BREAKOUT")
LONG_ONLY = rule_indicator(POOL["long_only"], "LONG_ONLY")
SHORT_ONLY = rule_indicator(POOL["short_only"], "SHORT_ONLY")
CASH = rule_indicator(POOL["cash"], "CASH")
