"""The order in which windows are visited: known before training starts, whatever is learned.

The market does not answer to trades, so that the next state of a window is the next window of the
asset, whichever rule was chosen. The whole schedule follows from the episodes and the seed; a run
that is resumed needs no other memory of it than the number of its last update.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class Schedule(NamedTuple):
    """Steps of episodes side by side, as rows of the oracle's table."""

    rows: Rows  # (S, B) the window traded
    following: Rows  # (S, B) the window after it; itself where the episode ends
    ends: NDArray[np.bool_]  # (S, B)

    def part(self, start: int, stop: int) -> Schedule:
        """Return the steps from ``start`` to ``stop``."""
        which = slice(start, stop)
        return Schedule(self.rows[which], self.following[which], self.ends[which])


def schedule(
    episodes: Sequence[Rows],
    batch: int,
    update_every: int,
    max_episodes: int,
    episode_windows: int,
    seed: int,
) -> Schedule:
    """Return the visits of a whole run.

    Parameters
    ----------
    episodes : sequence of ndarray of int
        Rows of consecutive windows of one asset, from ``Oracle.episodes``; cut into episodes of at
        most ``episode_windows``.
    batch : int
        B, episodes side by side; one that ends makes room for the next.
    update_every : int
        The number of steps S is a multiple of it.
    max_episodes : int
        Drawn in random order, all of them before any comes again.
    episode_windows : int
    seed : int
    """
    pieces = [
        rows[start : start + episode_windows]
        for rows in episodes
        for start in range(0, len(rows), episode_windows)
    ]
    if not pieces:
        raise ValueError("no window to train on; give prices of earlier or more years")
    rng = np.random.default_rng(seed)
    passes = -(-max_episodes // len(pieces))
    order = np.concatenate([rng.permutation(len(pieces)) for _ in range(passes)])[:max_episodes]
    lanes: list[list[Rows]] = [[] for _ in range(batch)]
    lengths = np.zeros(batch, dtype=np.int64)
    for number in order.tolist():
        lane = int(lengths.argmin())  # the first to be free takes the next episode
        lanes[lane].append(pieces[number])
        lengths[lane] += len(pieces[number])
    steps = int(lengths.min()) // update_every * update_every
    if steps == 0:
        raise ValueError(
            f"{len(order)} episodes of at most {episode_windows} windows do not fill one update of "
            f"{batch} x {update_every} windows; give more assets or episodes, or a smaller batch"
        )
    rows = np.stack([np.concatenate(lane)[:steps] for lane in lanes], axis=1)
    ends = np.stack(
        [np.concatenate([np.arange(len(p)) == len(p) - 1 for p in lane])[:steps] for lane in lanes],
        axis=1,
    )
    following = np.stack(
        [np.concatenate([np.append(p[1:], p[-1]) for p in lane])[:steps] for lane in lanes], axis=1
    )
    return Schedule(rows, following, ends)
