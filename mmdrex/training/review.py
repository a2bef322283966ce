"""Labels for human review: charts and a CSV out, the reviewed CSV back, disagreements listed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm

from mmdrex.data.files import replacing
from mmdrex.observation.observation import Observer
from mmdrex.router.vocabulary import LABELS
from mmdrex.training.labels import COLUMNS
from mmdrex.training.sft_data import reasons
from strategies.rule import did_you_mean

log = logging.getLogger(__name__)

SIZE = (840, 672)  # pixels of a chart for people
KEY = ["symbol", "time"]


def export_review(
    assets: Mapping[str, pd.DataFrame],
    windows: pd.DataFrame,
    folder: str | Path,
    lookback: int = 100,
    progress: bool = False,
) -> Path:
    """Write a chart per window and ``labels.csv``; return the CSV's path.

    The reviewer fills the column ``review`` with one of ``LABELS`` and leaves it empty to agree.
    The chart ends with the decision bar: it shows nothing of the outcome.

    Parameters
    ----------
    assets : mapping of str to DataFrame
    windows : DataFrame of shape (N, 8)
        From ``mmdrex.training.labels.labelled_windows``.
    folder : path
        Made if it does not exist.

    Raises
    ------
    ValueError
        If a ``labels.csv`` lies there that somebody has filled in.
    """
    out = Path(folder)
    if (out / "labels.csv").exists():
        _unfilled(out / "labels.csv")
    (out / "charts").mkdir(parents=True, exist_ok=True)
    table = windows.reset_index(drop=True)
    charts, reasoning = [""] * len(table), [""] * len(table)
    with tqdm(total=len(table), desc="charts", disable=not progress) as bar:
        for symbol, group in table.groupby("symbol", sort=False):
            bars = assets[str(symbol)]
            observer, why = Observer(bars, str(symbol), lookback), reasons(bars)
            for place, row in zip(group.index, group["row"], strict=True):
                seen = observer.at(int(row))
                name = f"{str(symbol).replace('/', '_')}_{seen.time:%Y%m%d}.png"
                Image.fromarray(seen.chart("global", SIZE)).save(out / "charts" / name)
                charts[int(place)], reasoning[int(place)] = f"charts/{name}", why[int(row)]
                bar.update()
    filled = table.assign(reasoning=reasoning, chart=charts, review="", comment="")
    with replacing(out / "labels.csv") as aside:
        filled.to_csv(aside, index=False, date_format="%Y-%m-%d")
    return out / "labels.csv"


def _unfilled(path: Path) -> None:
    """Refuse to write over a CSV with reviews or comments in it."""
    texts = read_review(path).reindex(columns=["review", "comment"]).fillna("").astype(str)
    filled = int(texts.apply(lambda column: column.str.strip() != "").any(axis=1).sum())
    if filled:
        raise ValueError(
            f"{path} holds {filled} filled reviews, which a new export would erase; choose another "
            "folder or move the file away"
        )


def read_review(path: str | Path, columns: Sequence[str] = KEY) -> pd.DataFrame:
    """Return a CSV of labels, exported or reviewed; a symbol such as 000001 stays a text.

    Parameters
    ----------
    path : path
    columns : sequence of str
        Those that must be there.

    Raises
    ------
    ValueError
        If a column is missing, a time is no date, or a window occurs twice.
    """
    try:
        table = pd.read_csv(path, dtype={"symbol": str, "review": str, "comment": str})
    except ValueError as error:  # pandas has many, all of this kind
        raise ValueError(f"{path} is no CSV of labels: {error}") from None
    _require(table, [*KEY, *columns], str(path))
    for name in [name for name in ("time", "until") if name in table]:
        days = pd.to_datetime(table[name], format="ISO8601", errors="coerce")
        if days.isna().any():
            row = int(days.isna().to_numpy().argmax())
            given = table[name].fillna("").iloc[row]
            raise ValueError(
                f"{path}, row {row + 2}: {name} is {given!r}, not a day such as 2017-01-31; keep "
                "the column as it was exported (a spreadsheet may have changed it)"
            )
        table[name] = days
    _once(table, str(path))
    return table


def import_review(
    original: pd.DataFrame, reviews: Mapping[str, pd.DataFrame]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the labels after review and the list of conflicts.

    A reviewer who left ``review`` empty agrees with the rule; one whose file lacks a window says
    nothing of it. Where reviewers disagree with each other the label of most of them counts, and
    the rule's where there is none.

    Parameters
    ----------
    original : DataFrame of shape (N, ...)
        What ``export_review`` wrote, from ``read_review``.
    reviews : mapping of reviewer to DataFrame
        The reviewed CSVs, from ``read_review``.

    Returns
    -------
    labels : DataFrame of shape (N, 9)
        The columns of ``labelled_windows`` and ``rule``, the label before review.
    conflicts : DataFrame
        One row per window that anybody labelled otherwise than the rule: ``symbol``, ``time``,
        ``rule``, each reviewer's label, ``label``, ``agreed`` (whether most reviewers agree).

    Raises
    ------
    ValueError
        For a label that is none, a window that was not exported, one that occurs twice, or a
        column that is missing; the message names the row.
    """
    _require(original, COLUMNS, "the exported labels")
    _once(original, "the exported labels")
    _check_labels(original["label"], "the exported labels")
    base = original.set_index(KEY)
    votes = pd.DataFrame({who: _votes(base, review, who) for who, review in reviews.items()})
    rule = base["label"]
    chosen, agreed = _most(votes, rule)
    labels = original.assign(rule=rule.to_numpy(), label=chosen)[[*COLUMNS, "rule"]]
    other = (votes.notna() & votes.ne(rule, axis=0)).any(axis=1).to_numpy()
    conflicts = votes.assign(label=chosen, agreed=agreed)
    conflicts.insert(0, "rule", rule)
    return labels, conflicts[other].reset_index()


def apply_review(windows: pd.DataFrame, reviewed: pd.DataFrame) -> pd.DataFrame:
    """Return windows with the label of reviewed ones in place; the others keep the rule's.

    Raises
    ------
    ValueError
        If a reviewed label is of another outcome than the window's: it may cross a split's border.
    """
    _require(reviewed, [*KEY, "until", "label"], "the reviewed labels")
    _once(reviewed, "the reviewed labels")
    _check_labels(reviewed["label"], "the reviewed labels")
    keys = zip(reviewed["symbol"], reviewed["time"], strict=True)
    own = dict(zip(keys, reviewed["label"], strict=True))
    _same_outcomes(windows, reviewed)
    found = zip(windows["symbol"], windows["time"], windows["label"], strict=True)
    labels = [own.get((symbol, time), label) for symbol, time, label in found]
    log.info(
        "%d of %d reviewed labels are of these windows; %d are not the rule's",
        matches(windows, reviewed).sum(),
        len(reviewed),
        int((windows["label"] != labels).sum()),
    )
    return windows.assign(label=labels)


def _same_outcomes(windows: pd.DataFrame, reviewed: pd.DataFrame) -> None:
    """Refuse labels whose outcome ends on another bar than that of the window they are for."""
    both = windows[[*KEY, "until"]].merge(
        reviewed[KEY].assign(reviewed=pd.to_datetime(reviewed["until"])), on=KEY
    )
    other = both[both["until"] != both["reviewed"]]
    if len(other):
        symbol, time, until, told = other.iloc[0]
        raise ValueError(
            f"the reviewed label of {symbol} of {time:%Y-%m-%d} tells the bars to {told:%Y-%m-%d}, "
            f"this run's window those to {until:%Y-%m-%d}; give --window as it was exported"
        )


def matches(windows: pd.DataFrame, reviewed: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which windows have a reviewed label, (N,)."""
    known = set(zip(reviewed["symbol"], reviewed["time"], strict=True))
    return np.array([key in known for key in zip(windows["symbol"], windows["time"], strict=True)])


def matched_sentence(
    name: str, reviewed: pd.DataFrame, windows: Sequence[pd.DataFrame], told: str
) -> str:
    """Return how many reviewed labels belong to windows as a sentence; refuse them if none does."""
    found = sum(int(matches(one, reviewed).sum()) for one in windows)
    if not found:
        raise ValueError(
            f"{name}: none of its {len(reviewed)} labels belongs to a window of {told}; give the "
            "prices and the stride that it was exported with"
        )
    return f"{name}: {found} of {len(reviewed)} labels belong to windows of {told}"


def _votes(base: pd.DataFrame, review: pd.DataFrame, who: str) -> pd.Series:
    """Return one reviewer's label per window: the rule's where nothing was filled in, or None."""
    _require(review, [*KEY, "review"], who)
    _once(review, who)
    rows = review.set_index(KEY)
    filled = rows["review"].replace("", np.nan).dropna()
    given = filled.astype(str).str.strip().str.lower()
    _check_labels(given, who)
    strange = given.index.difference(base.index)
    if len(strange):
        symbol, time = strange[0]
        raise ValueError(
            f"{who} labels {symbol} of {time:%Y-%m-%d}, which was not exported; review "
            "the file that mmdrex label export wrote"
        )
    seen = base.index.isin(rows.index)
    return given.reindex(base.index).fillna(base["label"]).where(seen, None)


def _most(votes: pd.DataFrame, rule: pd.Series) -> tuple[list[str], list[bool]]:
    """Return the label of more than half of the reviewers, else the rule's, and which it was."""
    chosen, agreed = [], []
    for row, own in zip(votes.to_numpy(), rule, strict=True):
        cast = [one for one in row if isinstance(one, str)] or [str(own)]
        names, counts = np.unique(cast, return_counts=True)
        most = bool(2 * counts.max() > len(cast))
        agreed.append(most)
        chosen.append(str(names[counts.argmax()]) if most else str(own))
    return chosen, agreed


def _check_labels(given: pd.Series, who: str) -> None:
    unknown = sorted({str(one) for one in given} - set(LABELS))
    if unknown:
        raise ValueError(
            f"{who}: {unknown[0]!r} is no label; write {', '.join(LABELS)} or nothing."
            f"{did_you_mean(unknown[0], LABELS)}"
        )


def _require(frame: pd.DataFrame, columns: Sequence[str], who: str) -> None:
    missing = [name for name in dict.fromkeys(columns) if name not in frame.columns]
    if missing:
        raise ValueError(
            f"no column {', '.join(map(repr, missing))} in {who}; "
            f"found {', '.join(map(str, frame.columns))}"
        )


def _once(frame: pd.DataFrame, who: str) -> None:
    """Refuse a window that occurs twice."""
    if frame.duplicated(KEY).any():
        symbol, time = frame.loc[frame.duplicated(KEY), KEY].iloc[0]
        raise ValueError(f"{who} holds {symbol} of {time:%Y-%m-%d} twice; leave one row")
