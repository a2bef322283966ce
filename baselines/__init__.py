"""Strategies MM-DREX is measured against, in the order of MM-DREX, Table 2.

``BASELINES`` maps a name to its class. A baseline produces targets in [-1, 1] like every rule, so
it trades in both engines at the same fills and costs. A class is imported when it is looked up; a
new baseline is one new file here and one line below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from baselines.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    from baselines.baseline import Baseline

__all__ = ["BASELINES", "load"]

BASELINES = Table(
    {
        "buy_and_hold": "baselines.buy_and_hold:BuyAndHold",
        "macd": "baselines.macd:MACD",
        "kdj_rsi": "baselines.kdj_rsi:KDJRSI",
        "cr": "baselines.cr:CR",
        "bbi": "baselines.bbi:BBI",
        "wr": "baselines.wr:WR",
        "bias": "baselines.bias:BIAS",
        "lgbm": "baselines.lgbm:LGBM",
        "lstm": "baselines.lstm:LSTM",
        "transformer": "baselines.transformer:Transformer",
        "sac": "baselines.sac:SAC",
        "ppo": "baselines.ppo:PPO",
        "dqn": "baselines.dqn:DQN",
        "finagent": "baselines.finagent:FinAgent",
        "finmem": "baselines.finmem:FinMem",
        "llmoe": "baselines.llmoe:LLMoE",
    }
)


def load(folder: str | Path) -> Baseline:
    """Return the baseline that ``Baseline.save`` left in ``folder``, whichever it is.

    Raises
    ------
    FileNotFoundError
        If there is no saved baseline.
    ValueError
        If its record names a baseline or a setting that does not exist.
    """
    from baselines.baseline import saved_name

    return BASELINES[saved_name(folder, BASELINES)].load(folder)
