"""A market whose volume tells the drift of the next bars, and how often that can be right."""

import math

import numpy as np
import pandas as pd

STAY = 0.8  # of the hidden drift, from bar to bar
DRIFT, NOISE = 0.006, 0.01  # of the log price, per bar
HORIZON = 5


def planted_bars(seed, rows, shuffled=False):
    """Return bars whose log volume is the drift of the next bar's log price.

    Shuffled, the same moves come in a random order: the volume tells nothing, nor do the prices.
    """
    random = np.random.default_rng(seed)
    hidden = np.zeros(rows)
    shocks = random.standard_normal(rows) * math.sqrt(1.0 - STAY**2)
    for t in range(1, rows):
        hidden[t] = STAY * hidden[t - 1] + shocks[t]
    moves = NOISE * random.standard_normal(rows)
    moves[1:] += DRIFT * hidden[:-1]
    if shuffled:
        moves = random.permutation(moves)
    close = 100.0 * np.exp(np.cumsum(moves))
    opened = np.r_[100.0, close[:-1]]
    columns = {
        "open": opened,
        "high": np.maximum(opened, close) * 1.002,
        "low": np.minimum(opened, close) * 0.998,
        "close": close,
        "volume": 1e6 * np.exp(0.5 * hidden),
    }
    return pd.DataFrame(columns, pd.bdate_range("2000-01-03", periods=rows))


def bayes_rate():
    """Return how often the sign of the 5-bar return is foreseen by who knows the hidden drift.

    Given it, the return is normal: mean DRIFT * (1 + .. + STAY^4) * hidden; its variance is that
    of the noise and of what the later shocks add. A standard normal divided by a deviation ratio r
    has the right sign with probability 1/2 + arctan(r) / pi.
    """
    reach = [sum(STAY**i for i in range(n)) for n in range(HORIZON + 1)]
    mean = DRIFT * reach[HORIZON]
    later = sum(reach[n] ** 2 for n in range(1, HORIZON)) * (1.0 - STAY**2)
    deviation = math.sqrt(HORIZON * NOISE**2 + DRIFT**2 * later)
    return 0.5 + math.atan(mean / deviation) / math.pi
