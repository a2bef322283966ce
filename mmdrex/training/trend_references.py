"""What the router's labels are measured against: the most frequent one, a logistic regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from mmdrex.observation.series import FEATURES
from mmdrex.router.vocabulary import LABELS
from mmdrex.training.sft_data import Sample

Array = NDArray[np.float64]

RIDGE = 1e-4  # on weights of standardised features
REACH = 10.0  # standardised features are clipped here, as the router's are
BEFORE = (-1, -6, -21, -61)  # rows of the series given: today, 5, 20 and 60 bars earlier


def indicators_of(samples: Sequence[Sample]) -> Array:
    """Return the series' features at four bars of the look-back side by side: (N, 68).

    The same indicators that the router reads (Table 12), without what only a chart shows.
    """
    rows = [one.observation.series[list(BEFORE)].ravel() for one in samples]
    return np.stack(rows).astype(np.float64).reshape(len(rows), len(BEFORE) * len(FEATURES))


def shares(samples: Sequence[Sample]) -> Array:
    """Return each label's share, shape (3,)."""
    counts = np.bincount([one.label for one in samples], minlength=len(LABELS))
    total: Array = counts / counts.sum()
    return total


def majority(fit: Sequence[Sample], count: int) -> Array:
    """Return the shares of the labels in training as probabilities (count, 3) for every window."""
    return np.tile(shares(fit), (count, 1))


def logistic(fit: Array, labels: NDArray[np.int64], scored: Array) -> Array:
    """Return probabilities (M, 3) of a multinomial logistic regression fitted on other windows.

    Parameters
    ----------
    fit : ndarray of shape (N, d)
        Features of the training split; they also standardise.
    labels : ndarray of int of shape (N,)
    scored : ndarray of shape (M, d)
    """
    mean, deviation = fit.mean(axis=0), fit.std(axis=0)
    deviation[deviation == 0.0] = 1.0

    def ready(values: Array) -> torch.Tensor:
        standard = np.clip((values - mean) / deviation, -REACH, REACH)
        return torch.from_numpy(np.column_stack([standard, np.ones(len(values))]))

    known, truth = ready(fit), torch.from_numpy(labels)
    weights = torch.zeros(known.shape[1], len(LABELS), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(known @ weights, truth)
        loss = loss + RIDGE * weights[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        probabilities: Array = torch.softmax(ready(scored) @ weights, dim=1).numpy()
    return probabilities
