"""The audit trail on disk: decisions as JSON lines, equity and orders as CSV."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mmdrex.data.files import replacing
from mmdrex.router.decision import Decision

ORDER_COLUMNS = ("date", "symbol", "side", "size", "price", "fees")


def write_decisions(path: str | Path, decisions: Iterable[Decision]) -> None:
    """Write one JSON object per line; an existing file is replaced when all is written."""
    with replacing(Path(path)) as aside, aside.open("w", encoding="utf-8") as file:
        file.writelines(_line(decision) for decision in decisions)


def append_decisions(path: str | Path, decisions: Iterable[Decision]) -> None:
    """Append one JSON object per line, as a live engine does; the file is made where missing.

    A last line that an interrupted run left half written is cut off first.
    """
    path = Path(path)
    with path.open("ab+") as file:
        file.seek(0)
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
        file.write("".join(_line(decision) for decision in decisions).encode())


def read_decisions(path: str | Path) -> list[Decision]:
    """Return the decisions of a file in order; a half-written last line is left out.

    Raises
    ------
    ValueError
        If a line before the end is no decision; it names file and line.
    """
    lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines = lines[:-1]
    decisions = []
    for number, line in enumerate(lines, start=1):
        try:
            decisions.append(Decision.from_json(json.loads(line)))
        except (json.JSONDecodeError, KeyError) as error:
            raise ValueError(f"{path}, line {number}: not a decision ({error})") from error
    return decisions


def _line(decision: Decision) -> str:
    return json.dumps(decision.to_json(), ensure_ascii=False, allow_nan=False) + "\n"


def write_equity(path: str | Path, equity: pd.Series | pd.DataFrame) -> None:
    """Write equity per bar as CSV: ``date`` and one column per asset or portfolio."""
    frame = equity.to_frame(equity.name or "equity") if isinstance(equity, pd.Series) else equity
    with replacing(Path(path)) as aside:
        frame.to_csv(aside, index_label="date")


def write_orders(path: str | Path, orders: pd.DataFrame) -> None:
    """Write filled orders as CSV with ``ORDER_COLUMNS`` first, in order of time.

    Raises
    ------
    ValueError
        If one of ``ORDER_COLUMNS`` is missing.
    """
    missing = [name for name in ORDER_COLUMNS if name not in orders.columns]
    if missing:
        raise ValueError(
            f"no column {missing[0]!r} in the orders; found {', '.join(map(str, orders.columns))}"
        )
    others = [name for name in orders.columns if name not in ORDER_COLUMNS]
    ordered = orders[[*ORDER_COLUMNS, *others]].sort_values(["date", "symbol"], kind="stable")
    with replacing(Path(path)) as aside:
        ordered.to_csv(aside, index=False)
