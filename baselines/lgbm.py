"""LightGBM (MM-DREX, Appendix D.11)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from baselines.baseline import Array
from baselines.features import lagged_features
from baselines.supervised import Inputs, Samples, Supervised

MODEL = "model.txt"  # LightGBM's own text format


@dataclass
class LGBM(Supervised):
    """Boosted trees on the features of Table 12 and their lags, pooled over the assets given.

    Parameters
    ----------
    horizon : int
        Bars of the return whose sign is predicted.
    seed : int
        LightGBM's own; it decides nothing as long as all rows and features are used.
    learning_rate, leaves, least : float, int, int
        Rate, leaves of a tree, samples of a leaf at least.
    rounds, patience : int
        Trees at most, and trees without a better loss on ``select`` before it stops.
    threads : int
        The trees are the same with more. Threads that wait for each other on a busy machine take
        ten times as long as one.
    """

    name = "lgbm"

    # Paper silent: all of them; LightGBM's defaults of leaves and least, a smaller rate.
    learning_rate: float = 0.05
    leaves: int = 31
    least: int = 20
    rounds: int = 1000
    patience: int = 50
    threads: int = 1

    def inputs(self, bars: pd.DataFrame) -> Inputs:
        """Return the features and their lags, shape (T, 119)."""
        return lagged_features(bars)

    def learn(self, train: Samples, select: Samples) -> None:
        """Grow trees until the loss on ``select`` has not fallen for ``patience`` rounds."""
        settings = {
            "objective": "binary",
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.least,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self.threads,
            "verbosity": -1,
        }
        fitted = lightgbm.Dataset(train.inputs, train.rose, params=settings)
        stopped = lightgbm.early_stopping(self.patience, verbose=False)
        grown = lightgbm.train(
            settings,
            fitted,
            self.rounds,
            [lightgbm.Dataset(select.inputs, select.rose, reference=fitted)],
            callbacks=[stopped],
        )
        # Through its text, so that the model in memory is the one that is loaded later.
        text = grown.model_to_string(num_iteration=grown.best_iteration)
        self.booster = lightgbm.Booster(model_str=text)

    def probability(self, inputs: Inputs) -> Array:
        """Return the probability of a rise, shape (N,)."""
        chances = self.booster.predict(inputs, num_threads=self.threads)
        return np.asarray(chances, dtype=np.float64)

    def learned(self) -> dict[str, Any]:
        """Return the dead zone and the number of trees."""
        known = super().learned()
        return {**known, "trees": self.booster.num_trees()} if known else known

    def files(self) -> dict[str, bytes]:
        """Return the trees as LightGBM writes them."""
        return {} if self.trained is None else {MODEL: self.booster.model_to_string().encode()}

    def restore(self, learned: dict[str, Any], folder: Path) -> None:
        """Take back the trees and the dead zone."""
        self.dead_zone = float(learned["dead_zone"])
        self.booster = lightgbm.Booster(model_str=(folder / MODEL).read_text(encoding="utf-8"))
