"""What LightGBM, LSTM and Transformer share: labels, samples, the dead zone on ``select``."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from baselines.baseline import Array, Baseline, Frames, outcome_rows, training_dates
from baselines.features import warm_rows

Inputs = NDArray[np.float32]

ZONES = (0.0, 0.01, 0.02, 0.03, 0.05)  # half-widths around a probability of one half
MOST_IDLE = 0.8  # share of the bars of select that a dead zone may leave in cash


class Samples(NamedTuple):
    """Bars whose outcome is known, of all assets together; N in all."""

    inputs: Inputs  # (N, ...)
    returns: Array  # (N,), over the next bars

    @property
    def rose(self) -> Array:
        """The label: 1.0 where the price rose, else 0.0."""
        return (self.returns > 0.0).astype(np.float64)


@dataclass
class Supervised(Baseline):
    """Base of the baselines that predict the sign of the return of the next ``horizon`` bars.

    Long where a rise is likelier than a fall by more than the dead zone, short the other way
    round, else in cash. The dead zone is the one with the best ratio of mean to deviation of the
    signed returns on ``select``, among those that trade at least a fifth of its bars.
    """

    learns = True

    horizon: int = 5
    seed: int = 42

    def fit(self, train: Frames, select: Frames) -> Self:
        """Learn the sign of the next bars' return; see ``Baseline.fit``."""
        fitted = self._samples(train, {})
        chosen = self._samples(select, train)
        self.learn(fitted, chosen)
        self.trained = training_dates(train, select)
        self.dead_zone = _best_zone(self.probability(chosen.inputs), chosen.returns)
        return self

    def decide(self, bars: pd.DataFrame) -> Array:
        """Return 1, 0 or -1 by the probability of a rise; 0 until the features are warm."""
        self.require_fitted()
        inputs = self.inputs(bars)
        targets = np.zeros(len(bars))
        warm = warm_rows(inputs)
        if warm.any():
            targets[warm] = _sides(self.probability(inputs[warm]), self.dead_zone)
        return targets

    def learned(self) -> dict[str, Any]:
        """Return the dead zone."""
        return {} if self.trained is None else {"dead_zone": self.dead_zone}

    @abstractmethod
    def inputs(self, bars: pd.DataFrame) -> Inputs:
        """Return what the model sees after each bar, shape (T, ...), NaN until warm."""

    @abstractmethod
    def learn(self, train: Samples, select: Samples) -> None:
        """Fit the model, stopping where the loss on ``select`` is lowest."""

    @abstractmethod
    def probability(self, inputs: Inputs) -> Array:
        """Return the probability of a rise (N,); a row's does not depend on the later rows."""

    def _samples(self, frames: Frames, before: Frames) -> Samples:
        """Return the samples of all frames, without the rows that ``before`` covers."""
        inputs, returns = [], []
        for symbol, bars in frames.items():
            seen = self.inputs(bars)
            usable = warm_rows(seen) & outcome_rows(bars, before.get(symbol))
            usable[-self.horizon :] = False  # the outcome lies after the end
            close = bars["close"].to_numpy(dtype=np.float64)
            rows = np.flatnonzero(usable)
            inputs.append(seen[rows])
            returns.append(close[rows + self.horizon] / close[rows] - 1.0)
        samples = Samples(np.concatenate(inputs), np.concatenate(returns))
        if not len(samples.returns):
            raise ValueError(
                f"{self.name}: no bar to learn from; MA100 and the look-back need about 120 rows "
                f"before the first, and the outcome {self.horizon} after it"
            )
        return samples


def _sides(probability: Array, zone: float) -> Array:
    apart = probability - 0.5
    sides: Array = np.where(np.abs(apart) > zone, np.sign(apart), 0.0)
    return sides


def _best_zone(probability: Array, returns: Array) -> float:
    best, zone = -np.inf, ZONES[0]
    for candidate in ZONES:
        sides = _sides(probability, candidate)
        earned = sides * returns
        deviation = float(earned.std())
        if candidate and np.mean(sides == 0.0) > MOST_IDLE:
            break
        if deviation > 0.0 and earned.mean() / deviation > best:
            best, zone = float(earned.mean()) / deviation, candidate
    return zone
