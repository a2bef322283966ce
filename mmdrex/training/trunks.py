"""What the adapters read in each window, computed once: image tokens on disk, trunks in memory.

Vision tower, embeddings and the layers below the first adapter never learn in this stage; neither
does the series' projection. An update costs the layers that carry adapters, and no more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from accelerate.utils import gather_object
from numpy.typing import NDArray

from mmdrex.observation.observation import Observation, Observer
from mmdrex.router.heads import Outputs
from mmdrex.router.router import ADAPTER, Router, Trunk
from mmdrex.training.oracle import Oracle
from mmdrex.training.seeing import see


class Trunks:
    """Trunks of the oracle's windows, the last used ones kept in memory.

    Each is computed alone: its last bits do not depend on what is kept, and a resumed run repeats
    them.

    Parameters
    ----------
    router : Router
    oracle : Oracle
    rows : sequence of int
        Every row that may be asked for.
    anonymous : bool
    gigabytes : float
        Memory for trunks.
    folder : path, optional
        Of the image tokens' file; the user's cache folder unless given.
    progress : bool
    observer : type
        What makes the observations.
    """

    def __init__(
        self,
        router: Router,
        oracle: Oracle,
        rows: Sequence[int],
        anonymous: bool = False,
        gigabytes: float = 2.0,
        folder: Path | None = None,
        progress: bool = False,
        observer: type[Observer] = Observer,
    ) -> None:
        self.router = router
        self._free = int(gigabytes * 2**30)
        self._kept: OrderedDict[int, Trunk] = OrderedDict()
        wanted = sorted(set(rows))
        observations = list(_observe(router, oracle, wanted, anonymous, observer))
        self._places = {row: place for place, row in enumerate(wanted)}
        self._inputs = router.processor(observations)
        self._vision = see(router, observations, folder, progress)

    @torch.no_grad()
    def __call__(self, row: int) -> Trunk:
        """Return the trunk of one window, states of shape (1, L, width)."""
        if row in self._kept:
            self._kept.move_to_end(row)
            return self._kept[row]
        place = self._places[row]
        vision: list[torch.Tensor] = []
        if self._vision is not None:
            tokens = self._vision[place].to(self.router.device)
            vision = [tokens.to(self.router.backbone.model.visual.dtype)]
        trunk = self.router.trunk([self._inputs[place]], vision)
        self._free -= _bytes(trunk)
        self._kept[row] = trunk
        while self._free < 0 and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._free += _bytes(old)
        return trunk


def _observe(
    router: Router,
    oracle: Oracle,
    rows: Sequence[int],
    anonymous: bool,
    kind: type[Observer],
) -> Iterator[Observation]:
    """Yield the observation at each row's decision bar; the rows lie asset by asset."""
    asset, observer = -1, None
    for row in rows:
        number, start = oracle.windows[row].tolist()
        if observer is None or number != asset:
            asset, symbol = number, oracle.symbols[number]
            observer = kind(
                oracle.assets[symbol],
                symbol,
                oracle.lookback,
                oracle.pool,
                anonymous,
                router.rules,
            )
        yield observer.at(start)


def _bytes(trunk: Trunk) -> int:
    return sum(part.numel() * part.element_size() for part in trunk)


class Look(NamedTuple):
    """What the router says about M windows, as numbers; a part that was not asked for is empty."""

    weights: NDArray[np.float64]  # (M, K) logits
    policies: list[NDArray[np.float64]]  # K of shape (M, rules): logits
    values: NDArray[np.float64]  # (M, K)


def by_length(trunks: Sequence[Trunk], size: int) -> Iterator[tuple[list[int], Trunk]]:
    """Yield places and trunks of equal length together, at most ``size``; nothing is padded."""
    lengths: dict[int, list[int]] = {}
    for place, trunk in enumerate(trunks):
        lengths.setdefault(trunk.states.shape[1], []).append(place)
    for places in lengths.values():
        for start in range(0, len(places), size):
            part = places[start : start + size]
            yield (
                part,
                Trunk(
                    torch.cat([trunks[place].states for place in part]),
                    torch.cat([trunks[place].positions for place in part], dim=1),
                ),
            )


def outputs(router: Router, trunk: Trunk, adapters: Sequence[str]) -> Outputs:
    """Return what the heads of some adapters read; an adapter left out has no entry."""
    states = dict(zip(adapters, router.states(trunk, adapters), strict=True))
    heads = router.heads
    experts = [name for name in adapters if name != ADAPTER]
    weights = torch.empty(0)
    if ADAPTER in states:
        weights = heads.router(heads.norm(states[ADAPTER]))
    return Outputs(
        weights,
        {name: heads.policies[name](states[name]) for name in experts},
        {name: heads.values[name](states[name])[:, 0] for name in experts},
    )


@torch.no_grad()
def look(router: Router, trunks: Trunks, rows: Sequence[int], process: int, count: int) -> Look:
    """Return what router and experts say about windows, one row each.

    Each of ``count`` processes reads its share; all get the whole.
    """
    adapters = (ADAPTER, *router.rules)
    mine = list(range(process, len(rows), count))
    read = [trunks(rows[place]) for place in mine]
    parts: list[tuple[list[int], list[NDArray[np.float64]]]] = []
    for group, trunk in by_length(read, router.batch):
        told = outputs(router, trunk, adapters)
        columns = [told.weights, *told.policies.values(), torch.stack([*told.values.values()], 1)]
        numbers = [column.double().cpu().numpy() for column in columns]
        parts.append(([mine[place] for place in group], numbers))
    if count > 1:
        parts = gather_object(parts)
    places = np.argsort(np.concatenate([group for group, _ in parts]))
    weights, *policies, values = (
        np.concatenate(column)[places]
        for column in zip(*(numbers for _, numbers in parts), strict=True)
    )
    return Look(weights, policies, values)
