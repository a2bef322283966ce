"""What made a router: the records of its stages, those of earlier runs under their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SHIPPED_ON = "data"  # assets and days of a shipped router: another run has its own
# What was measured of the router that a run left, and is not true of what comes after.
MEASURED = (
    "confusion",
    "figures",
    "figures of",
    "goal",
    "limits",
    "minutes",
    "read",
    "validation",
)


def earlier_runs(training: Mapping[str, Any], stages: Sequence[str]) -> dict[str, Any]:
    """Return what made a router so far, before some of its stages are run again.

    Parameters
    ----------
    training : mapping of str to record
        ``router.config.training``.
    stages : sequence of str
        Stages whose outcome is about to be overwritten: the one to be run and those that follow.

    Returns
    -------
    dict
        Without the assets and days of what was measured; their records as "stage 1, run 1" and so
        on, without what was measured after them; of the others no figures that were read under an
        adapter of theirs.
    """
    kept: dict[str, Any] = {}
    for name, record in training.items():
        if name == SHIPPED_ON:
            continue
        if name in stages:
            run = 1 + sum(other.startswith(f"{name}, run ") for other in training)
            settings = {key: value for key, value in record.items() if key not in MEASURED}
            kept[f"{name}, run {run}"] = settings
        elif isinstance(record, Mapping) and "read" in record:  # measured under a later adapter
            kept[name] = {key: value for key, value in record.items() if key not in MEASURED}
        else:
            kept[name] = record
    return kept
