"""The 11 rules of Appendix A a second time, the way a backtrader user writes them.

Nothing is shared with ``strategies/``: indicators come from ``bt.indicators`` (from ``bt.talib``
where backtrader's formula is another one), long and short are spelled out, ``next`` is plain
Python. Each strategy records its target in ``targets`` and sends no orders, which only makes
backtrader faster.
"""

from backtrader_rules.breakout import ATR, Volume
from backtrader_rules.position import Cash, LongOnly, ShortOnly
from backtrader_rules.reversal import KDJ, RSI, Bollinger
from backtrader_rules.trend import MACross, Momentum, Turtle

STRATEGIES = {
    "ma_cross": MACross,
    "momentum": Momentum,
    "turtle": Turtle,
    "bollinger": Bollinger,
    "rsi_swing": RSI,
    "kdj": KDJ,
    "volume_breakout": Volume,
    "atr_breakout": ATR,
    "long_only": LongOnly,
    "short_only": ShortOnly,
    "cash": Cash,
}
