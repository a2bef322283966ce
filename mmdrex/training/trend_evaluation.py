"""How well a router tells the trend: its labels scored against two references on one split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mmdrex.router.router import ADAPTER, Router
from mmdrex.router.vocabulary import LABELS
from mmdrex.training.answers import label_ids
from mmdrex.training.seeing import see
from mmdrex.training.sft_data import Sample
from mmdrex.training.trend_references import indicators_of, logistic, majority, shares
from mmdrex.training.trend_scores import Scores, adjusted, intervals, scores

Array = NDArray[np.float64]

ROUTER, MAJORITY, LOGISTIC = "router", "majority class", "logistic regression"


@dataclass(frozen=True)
class Evaluation:
    """Figures of the router and its references on the same windows.

    Attributes
    ----------
    split : str
    windows : int
    seed : int
        Of the bootstrap.
    balance : ndarray of shape (3,)
        Share of each true label.
    scores : dict of name to Scores
    intervals : dict of name to (low, high)
        95 % of each balanced accuracy, and of the router's less each reference's.
    """

    split: str
    windows: int
    seed: int
    balance: Array
    scores: dict[str, Scores]
    intervals: dict[str, tuple[float, float]]

    def table(self) -> pd.DataFrame:
        """Return one row per predictor."""
        rows = {
            name: {
                "accuracy": one.accuracy,
                "balanced": one.balanced,
                "low": self.intervals[name][0],
                "high": self.intervals[name][1],
                "log loss": one.log_loss,
                "calibration error": one.calibration_error,
            }
            for name, one in self.scores.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def record(self) -> dict[str, Any]:
        """Return the figures as plain JSON types."""
        return {
            "split": self.split,
            "windows": self.windows,
            "seed": self.seed,
            "share": dict(zip(LABELS, self.balance.round(4).tolist(), strict=True)),
            "figures": self.table().round(4).to_dict(orient="index"),
            "confusion": {name: one.confusion.tolist() for name, one in self.scores.items()},
            "calibration": self.scores[ROUTER].calibration.round(4).to_dict(orient="index"),
            "intervals": {name: list(pair) for name, pair in self.intervals.items()},
        }


@torch.inference_mode()
def label_probabilities(
    router: Router,
    samples: Sequence[Sample],
    folder: Path | None = None,
    progress: bool = False,
) -> Array:
    """Return the likelihood of each label's token after the prompt, of all three: (N, 3).

    Read exactly where the router decides: at the prompt's last token, under its own adapter.
    """
    router.eval()
    vision = see(router, [one.observation for one in samples], folder, progress)
    inputs = router.processor([one.observation for one in samples])
    lengths: dict[int, list[int]] = {}
    for row, one in enumerate(inputs):
        lengths.setdefault(len(one.ids), []).append(row)
    labels = label_ids(router.processor.tokenizer)
    head = router.backbone.lm_head.weight[labels]
    result = np.empty((len(samples), len(LABELS)))
    for rows in lengths.values():
        for start in range(0, len(rows), 32):
            part = rows[start : start + 32]
            dtype = router.backbone.dtype
            seen = [] if vision is None else [vision[row].to(router.device, dtype) for row in part]
            states = router.states(router.trunk([inputs[row] for row in part], seen), (ADAPTER,))
            logits = states[0] @ head.float().T
            result[part] = torch.softmax(logits.double(), dim=1).cpu().numpy()
    return result


def evaluate(
    router: Router,
    fit: Sequence[Sample],
    scored: Sequence[Sample],
    split: str,
    seed: int = 42,
    folder: Path | None = None,
    progress: bool = False,
) -> Evaluation:
    """Return the figures of a router on a split, against its references.

    Parameters
    ----------
    router : Router
    fit : sequence of Sample
        Windows of the training split: the references are fitted on them, and the labels' shares
        among them are what each probability is judged against.
    scored : sequence of Sample
    split : str
        What ``scored`` is, for the record.
    """
    truth = np.array([one.label for one in scored], dtype=np.int64)
    known = np.array([one.label for one in fit], dtype=np.int64)
    prior = np.maximum(shares(fit), 1e-6)
    told: Mapping[str, Array] = {
        ROUTER: label_probabilities(router, scored, folder, progress),
        MAJORITY: majority(fit, len(scored)),
        LOGISTIC: logistic(indicators_of(fit), known, indicators_of(scored)),
    }
    labels = {name: adjusted(one, prior) for name, one in told.items()}
    # All labels are as likely as in training there: it tells the most frequent one.
    labels[MAJORITY] = told[MAJORITY].argmax(axis=1).astype(np.int64)
    times = pd.DatetimeIndex([one.observation.time for one in scored])
    figures = {name: scores(one, truth, prior) for name, one in told.items()}
    return Evaluation(
        split,
        len(scored),
        seed,
        np.bincount(truth, minlength=len(LABELS)) / len(truth),
        figures,
        intervals(labels, truth, times, seed=seed),
    )
