"""Figures of probabilities over the three labels: counts, accuracies, calibration, intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmdrex.evaluation.intervals import interval
from mmdrex.router.vocabulary import LABELS

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

CLASSES = len(LABELS)
BINS = 10  # of equal width, of the likeliest label's probability
OVERLAP = 18  # weeks that an outcome of 90 bars spans: the mean block of the bootstrap


class Scores(NamedTuple):
    """How well probabilities tell the labels of N windows."""

    accuracy: float  # of the likeliest label
    balanced: float  # mean recall of the labels, each judged against its share in training
    confusion: Rows  # (3, 3) windows by true label and by label told in `balanced`
    log_loss: float  # nats
    calibration_error: float  # mean gap of confidence and accuracy over the bins
    calibration: pd.DataFrame  # per bin: windows, confidence, accuracy


def confusion_matrix(truth: Rows, told: Rows) -> Rows:
    """Return counts (3, 3), rows by true label."""
    counts = np.bincount(CLASSES * truth + told, minlength=CLASSES**2)
    return counts.reshape(CLASSES, CLASSES).astype(np.int64)


def balanced_accuracy(confusion: NDArray[np.float64] | Rows) -> float:
    """Return the mean recall over the labels that occur; NaN where none does."""
    support = confusion.sum(axis=1)
    there = support > 0
    if not there.any():
        return float("nan")
    return float((np.diag(confusion)[there] / support[there]).mean())


def adjusted(probabilities: Array, prior: Array) -> Rows:
    """Return the label whose probability exceeds its share in training most, shape (N,).

    The likeliest label is nearly always the most frequent one; against its share each label has
    the chance that a mean of recalls asks for.
    """
    told: Rows = (probabilities / prior).argmax(axis=1).astype(np.int64)
    return told


def scores(probabilities: Array, truth: Rows, prior: Array) -> Scores:
    """Return the figures of probabilities (N, 3) against true labels (N,)."""
    likeliest = probabilities.argmax(axis=1)
    counts = confusion_matrix(truth, adjusted(probabilities, prior))
    own = probabilities[np.arange(len(truth)), truth]
    table = calibration(probabilities, truth)
    gap = (table["confidence"] - table["accuracy"]).abs()
    return Scores(
        accuracy=float((likeliest == truth).mean()),
        balanced=balanced_accuracy(counts),
        confusion=counts,
        log_loss=float(-np.log(np.maximum(own, 1e-12)).mean()),
        calibration_error=float((gap * table["windows"]).sum() / len(truth)),
        calibration=table,
    )


def calibration(probabilities: Array, truth: Rows) -> pd.DataFrame:
    """Return windows, mean confidence and accuracy per bin of confidence that holds a window."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    frame = pd.DataFrame({"bin": bins, "confidence": confidence, "accuracy": right})
    table = frame.groupby("bin").agg(
        windows=("accuracy", "size"),
        confidence=("confidence", "mean"),
        accuracy=("accuracy", "mean"),
    )
    return table


def intervals(
    told: Mapping[str, Rows],
    truth: Rows,
    times: pd.DatetimeIndex,
    samples: int = 1000,
    seed: int = 42,
) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of each predictor's balanced accuracy, and of the first over the rest.

    Weeks are drawn in blocks (stationary bootstrap, mean block as long as an outcome), with all
    windows decided in them: outcomes overlap in time and markets move together, so that windows
    are no independent draws.

    Parameters
    ----------
    told : mapping of name to ndarray of int of shape (N,)
        Labels told by each predictor, the one of interest first.
    truth : ndarray of int of shape (N,)
    times : DatetimeIndex of shape (N,)
        Decision bars.
    """
    week = ((times - times.min()).days // 7).to_numpy()
    names = list(told)
    size = CLASSES**2
    counts = np.zeros((int(week.max()) + 1, len(names) * size))
    for place, name in enumerate(names):
        np.add.at(counts, (week, place * size + CLASSES * truth + told[name]), 1.0)

    def statistic(rows: Array) -> list[float]:
        sums = rows.sum(axis=0).reshape(len(names), CLASSES, CLASSES)
        each = [balanced_accuracy(one) for one in sums]
        return each + [each[0] - other for other in each[1:]]

    low, high = interval(counts, statistic, samples=samples, seed=seed, block=OVERLAP)
    labels = names + [f"{names[0]} - {other}" for other in names[1:]]
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(labels)}
