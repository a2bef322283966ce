"""The baselines as backtrader strategies, one class each, beside the rules'."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from baselines import BASELINES, load
from baselines.baseline import Array, Baseline
from mmdrex.engines.backtrader import RULES
from mmdrex.engines.sleeve import Sleeve
from mmdrex.engines.sleeve_strategy import SleeveStrategy
from strategies.rule import did_you_mean


class BaselineStrategy(SleeveStrategy):
    """Base of the baselines: trade what one baseline wants on every feed.

    Parameters
    ----------
    model : Baseline or path, optional
        A fitted baseline, or the folder that ``save`` or ``mmdrex fit`` wrote. A baseline that
        learns nothing trades with its default settings unless given.
    """

    baseline: str
    params = (("model", None),)

    def __init__(self, *args: Any, **unknown: Any) -> None:
        super().__init__(*args, **unknown)
        self.model = _model(type(self).baseline, self.p.model)

    def plan_ahead(self, bars: dict[str, pd.DataFrame]) -> dict[str, Array]:
        """Return the baseline's targets over all bars."""
        return {symbol: self.model.targets(frame).to_numpy() for symbol, frame in bars.items()}

    def decide(self, due: Sequence[Sleeve]) -> Iterable[float]:
        """Return the last target over the bars so far."""
        return [self.model.targets(sleeve.buffer.frame()).iloc[-1] for sleeve in due]


def _model(name: str, given: Baseline | str | Path | None) -> Baseline:
    if given is None:
        model = BASELINES[name]()
        if model.learns:
            raise ValueError(
                f"{name} has to be fitted: pass model=, a fitted baseline or the folder that "
                f"`mmdrex fit {name}` wrote"
            )
        return model
    model = load(given) if isinstance(given, str | Path) else given
    if not isinstance(model, BASELINES[name]):
        raise TypeError(f"model must be a {name}, or the folder of one; got {model!r}")
    return model


# One class per baseline, written out: a class made in a function can't be pickled by optstrategy.


class BuyAndHold(BaselineStrategy):
    """Long with all the capital from the first bar (Appendix D.4)."""

    baseline = "buy_and_hold"


class MACD(BaselineStrategy):
    """The side of the fast exponential average (Appendix D.5)."""

    baseline = "macd"


class KDJRSI(BaselineStrategy):
    """Against what KDJ and RSI agree on (Appendix D.6)."""

    baseline = "kdj_rsi"


class CR(BaselineStrategy):
    """The close against the mean of its bar (Appendix D.7)."""

    baseline = "cr"


class BBI(BaselineStrategy):
    """The close against the bull-bear index (Appendix D.8)."""

    baseline = "bbi"


class WR(BaselineStrategy):
    """Against the outer fifths of the range (Appendix D.9)."""

    baseline = "wr"


class BIAS(BaselineStrategy):
    """Against the distance from the average (Appendix D.10)."""

    baseline = "bias"


class LGBM(BaselineStrategy):
    """Boosted trees (Appendix D.11); needs ``model``."""

    baseline = "lgbm"


class LSTM(BaselineStrategy):
    """A recurrent network (Appendix D.12); needs ``model``."""

    baseline = "lstm"


class Transformer(BaselineStrategy):
    """A network of self-attention (Appendix D.13); needs ``model``."""

    baseline = "transformer"


class SAC(BaselineStrategy):
    """Soft actor-critic (Appendix D.14); needs ``model``."""

    baseline = "sac"


class PPO(BaselineStrategy):
    """Proximal policy optimisation (Appendix D.15); needs ``model``."""

    baseline = "ppo"


class DQN(BaselineStrategy):
    """A deep Q-network (Appendix D.16); needs ``model``."""

    baseline = "dqn"


class FinAgent(BaselineStrategy):
    """FinAgent (Zhang et al. 2024, arXiv 2402.18485)."""

    baseline = "finagent"


class FinMem(BaselineStrategy):
    """FinMem (Yu et al. 2024, arXiv 2311.13743)."""

    baseline = "finmem"


class LLMoE(BaselineStrategy):
    """LLMoE, a router that reads and two feed-forward experts; outside the paper's table."""

    baseline = "llmoe"


STRATEGIES: dict[str, type[BaselineStrategy]] = {
    "buy_and_hold": BuyAndHold,
    "macd": MACD,
    "kdj_rsi": KDJRSI,
    "cr": CR,
    "bbi": BBI,
    "wr": WR,
    "bias": BIAS,
    "lgbm": LGBM,
    "lstm": LSTM,
    "transformer": Transformer,
    "sac": SAC,
    "ppo": PPO,
    "dqn": DQN,
    "finagent": FinAgent,
    "finmem": FinMem,
    "llmoe": LLMoE,
}


def backtrader_strategy(name: str) -> type[SleeveStrategy]:
    """Return the ``bt.Strategy`` subclass of a rule or a baseline.

    Parameters
    ----------
    name : str
        A key of ``strategies.POOL`` or ``baselines.BASELINES``. A rule takes its parameters as
        params; a baseline takes ``model=``.

    Raises
    ------
    ValueError
        For an unknown name.

    Examples
    --------
    >>> import mmdrex
    >>> mmdrex.backtrader_strategy("macd").__name__
    'MACD'
    """
    known: dict[str, type[SleeveStrategy]] = {**RULES, **STRATEGIES}
    if name not in known:
        raise ValueError(
            f"no rule {name!r}; the rules are {', '.join(RULES)}, the baselines "
            f"{', '.join(STRATEGIES)}.{did_you_mean(name, known)}"
        )
    return known[name]
