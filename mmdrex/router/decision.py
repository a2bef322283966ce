"""What the router says about one window of one asset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Decision:
    """Split of the capital among the experts and the rule each expert trades, for one window.

    Known after the close of bar ``time``; traded from the open of the next bar.

    Attributes
    ----------
    symbol : str
    time : pandas.Timestamp
        The decision bar.
    weights : ndarray of shape (K,)
        Share of the capital per expert, in the order of ``rules``; sums to 1 (eq. 4).
    rules : dict of str to str
        Expert name to the rule it chose (arg-max of its probabilities).
    probabilities : dict of str to dict of str to float
        Expert name to its policy over its rules (eq. 6).
    values : dict of str to float
        Expert name to its state value (eq. 7).
    observation : str
        Digest of the observation.
    model : str
        Digest of the router's weights.
    """

    symbol: str
    time: pd.Timestamp
    weights: NDArray[np.float64]
    rules: dict[str, str]
    probabilities: dict[str, dict[str, float]]
    values: dict[str, float]
    observation: str
    model: str

    def to_json(self) -> dict[str, Any]:
        """Return a dict of plain JSON types, one line of ``decisions.jsonl``."""
        return {
            "time": self.time.isoformat(),
            "symbol": self.symbol,
            "weights": dict(zip(self.rules, self.weights.tolist(), strict=True)),
            "rules": self.rules,
            "probabilities": self.probabilities,
            "values": self.values,
            "observation": self.observation,
            "model": self.model,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Decision:
        """Return the decision that ``to_json`` wrote."""
        return cls(
            symbol=record["symbol"],
            time=pd.Timestamp(record["time"]),
            weights=np.array(list(record["weights"].values()), dtype=np.float64),
            rules=record["rules"],
            probabilities=record["probabilities"],
            values=record["values"],
            observation=record["observation"],
            model=record["model"],
        )
