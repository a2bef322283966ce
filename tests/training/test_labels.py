from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import talib

from mmdrex.data.splits import split_range
from mmdrex.router.vocabulary import LABELS
from mmdrex.training.labels import (
    COLUMNS,
    DOWN,
    FLAT,
    UNKNOWN,
    UP,
    class_balance,
    labelled_windows,
    trend_labels,
    trend_states,
)
from mmdrex.training.review import (
    apply_review,
    export_review,
    import_review,
    matches,
    read_review,
)

WINDOW = 90


def line(closes: np.ndarray) -> pd.DataFrame:
    """Bars that open and close on a line, half a unit of range around it."""
    days = pd.bdate_range("2010-01-04", periods=len(closes))
    frame = {"open": closes, "high": closes + 0.5, "low": closes - 0.5, "close": closes}
    return pd.DataFrame({**frame, "volume": 1e6}, index=pd.DatetimeIndex(days.values))


def test_a_straight_rise_is_up_and_a_straight_fall_is_down() -> None:
    rise = np.linspace(100.0, 200.0, 200)
    assert set(trend_states(line(rise))[27:]) == {UP}
    assert set(trend_states(line(rise[::-1].copy()))[27:]) == {DOWN}


def test_a_zigzag_without_direction_is_flat() -> None:
    closes = 100.0 + np.where(np.arange(200) % 2 == 0, 0.2, -0.2)
    assert set(trend_states(line(closes))[60:]) == {FLAT}


def test_states_follow_the_listing_bar_by_bar(markets: dict[str, pd.DataFrame]) -> None:
    # Independent source: the listing's lines 6 to 8 spelt out on TA-Lib and pandas means.
    bars = markets["SIM1"]
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    fast, slow = bars["close"].rolling(5).mean(), bars["close"].rolling(20).mean()
    adx, plus, minus = (f(high, low, close, 14) for f in (talib.ADX, talib.PLUS_DI, talib.MINUS_DI))
    states = trend_states(bars)
    for t in range(len(bars)):
        if np.isnan(adx[t]):
            expected = UNKNOWN
        elif fast.iloc[t] > slow.iloc[t] and adx[t] > 15 and plus[t] > minus[t]:
            expected = UP
        elif fast.iloc[t] < slow.iloc[t] and adx[t] > 15 and minus[t] > plus[t]:
            expected = DOWN
        else:
            expected = FLAT
        assert states[t] == expected, t


def test_label_counts_the_bars_after_the_decision_bar(markets: dict[str, pd.DataFrame]) -> None:
    bars = markets["SIM2"]
    states, labels = trend_states(bars), trend_labels(bars, WINDOW)
    for t in range(30, len(bars) - WINDOW, 37):
        after = states[t + 1 : t + 1 + WINDOW].tolist()
        counts = [after.count(state) for state in (UP, DOWN, FLAT)]
        assert labels.days[t].tolist() == counts
        expected = UP if counts[0] >= 45 else DOWN if counts[1] >= 45 else FLAT
        assert labels.label[t] == expected


def test_exactly_half_is_enough_and_one_bar_less_is_flat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bars = line(np.full(91, 100.0))
    for ups, expected in ((45, UP), (44, FLAT)):
        states = np.array([FLAT] + [UP] * ups + [FLAT] * (90 - ups))
        monkeypatch.setattr("mmdrex.training.labels.trend_states", lambda _, s=states: s)
        assert trend_labels(bars, WINDOW).label[0] == expected


def test_a_cut_off_outcome_has_no_label(markets: dict[str, pd.DataFrame]) -> None:
    labels = trend_labels(markets["SIM1"], WINDOW)
    assert (labels.label[-WINDOW:] == UNKNOWN).all() and labels.label[-WINDOW - 1] != UNKNOWN
    assert (labels.days[-WINDOW:] == 0).all()


def test_a_label_knows_nothing_after_its_window(markets: dict[str, pd.DataFrame]) -> None:
    bars = markets["SIM3"]
    for t in (300, 777, 1500):
        cut = trend_labels(bars.iloc[: t + WINDOW + 1], WINDOW)
        assert cut.label[t] == trend_labels(bars, WINDOW).label[t]


@pytest.mark.parametrize("split", ["fit", "select", "validation"])
def test_no_outcome_crosses_a_border(markets: dict[str, pd.DataFrame], split: str) -> None:
    windows = labelled_windows(markets, split, stride=5)
    first, last = split_range(split)
    assert len(windows) > 0
    for symbol, row, until in zip(windows.symbol, windows.row, windows.until, strict=True):
        index = markets[symbol].index
        assert index[row + 1] >= first and index[row + WINDOW] == until <= last


def test_balance_shares_add_up(markets: dict[str, pd.DataFrame]) -> None:
    windows = labelled_windows(markets, "fit")
    balance = class_balance(windows["label"])
    assert balance["count"].sum() == len(windows) and balance["share"].sum() == pytest.approx(1)
    assert tuple(balance.index) == LABELS


@pytest.fixture
def exported(markets: dict[str, pd.DataFrame], tmp_path: Path) -> Path:
    windows = labelled_windows(markets, "select", stride=60)
    return export_review(markets, windows, tmp_path)


def test_export_writes_a_chart_per_row(exported: Path) -> None:
    table = read_review(exported)
    assert len(table) > 3 and table["review"].isna().all()
    assert all((exported.parent / chart).is_file() for chart in table["chart"])


def test_untouched_review_changes_nothing(exported: Path) -> None:
    table = read_review(exported)
    labels, conflicts = import_review(table, {"ann": table.copy()})
    assert (labels["label"] == table["label"]).all() and conflicts.empty


def test_most_reviewers_win_and_a_tie_keeps_the_rule(exported: Path) -> None:
    table = read_review(exported).assign(label="up")
    ann, bob, cat = (table.astype({"review": object}) for _ in range(3))
    ann.loc[0, "review"], bob.loc[0, "review"] = "down", "Down "
    ann.loc[1, "review"], bob.loc[1, "review"] = "down", "flat"
    labels, conflicts = import_review(table, {"ann": ann, "bob": bob, "cat": cat})
    assert labels["label"].tolist()[:3] == ["down", "up", "up"]
    assert conflicts["agreed"].tolist() == [True, False] and conflicts["cat"].tolist() == ["up"] * 2


def test_reviewed_labels_replace_the_rules(
    exported: Path, markets: dict[str, pd.DataFrame]
) -> None:
    reviewed = read_review(exported)
    reviewed.loc[0, "label"] = {"up": "down", "down": "flat", "flat": "up"}[reviewed.label[0]]
    windows = labelled_windows(markets, "select", stride=60)
    applied = apply_review(windows, reviewed)
    assert applied["label"][0] == reviewed["label"][0] != windows["label"][0]
    assert (applied["label"][1:] == windows["label"][1:]).all()


def test_a_label_of_another_outcome_is_refused(
    exported: Path, markets: dict[str, pd.DataFrame]
) -> None:
    windows = labelled_windows(markets, "select", stride=60, window=60)
    with pytest.raises(ValueError, match=r"tells the bars to .* this run's window those to"):
        apply_review(windows, read_review(exported))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"review": "upp"}, "'upp' is no label.*Did you mean 'up'"),
        ({"review": "up", "time": pd.Timestamp("1999-01-04")}, "was not exported"),
    ],
)
def test_a_bad_review_is_refused(exported: Path, change: dict[str, object], message: str) -> None:
    table = read_review(exported)
    review = table.astype({"review": object})
    for column, value in change.items():
        review.loc[0, column] = value
    with pytest.raises(ValueError, match=message):
        import_review(table, {"ann": review})


@pytest.mark.parametrize("column", ["review", "comment"])
def test_an_export_does_not_erase_reviews(
    exported: Path, markets: dict[str, pd.DataFrame], column: str
) -> None:
    windows = labelled_windows(markets, "select", stride=60)
    export_review(markets, windows, exported.parent)  # nobody has filled anything in
    table = pd.read_csv(exported).astype({column: object})
    table.loc[:1, column] = ["up", "down"]
    table.to_csv(exported, index=False)
    before = exported.read_bytes()
    with pytest.raises(ValueError, match=r"labels\.csv holds 2 filled reviews"):
        export_review(markets, windows, exported.parent)
    assert exported.read_bytes() == before


def test_missing_columns_are_named_with_their_file(exported: Path, tmp_path: Path) -> None:
    table = read_review(exported)
    bad = tmp_path / "nolabel.csv"
    table.drop(columns=["label", "until"]).to_csv(bad, index=False)
    with pytest.raises(ValueError, match=r"no column 'until', 'label' in .*nolabel\.csv; found"):
        read_review(bad, COLUMNS)
    with pytest.raises(ValueError, match="no column 'label' in the exported labels"):
        import_review(table.drop(columns="label"), {"ann": table})
    table["time"] = table["time"].dt.strftime("%d.%m.%Y")
    table.to_csv(tmp_path / "sheet.csv", index=False)
    with pytest.raises(ValueError, match=r"sheet\.csv, row 2: time is '.*', not a day such as"):
        read_review(tmp_path / "sheet.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(ValueError, match=r"empty\.csv is no CSV of labels"):
        read_review(tmp_path / "empty.csv")


def test_a_window_exported_twice_is_refused(exported: Path, tmp_path: Path) -> None:
    table = read_review(exported)
    twice = pd.concat([table, table.iloc[:1]])
    twice.to_csv(tmp_path / "twice.csv", index=False)
    with pytest.raises(ValueError, match=r"twice\.csv holds SIM1 of 20\d\d-\d\d-\d\d twice"):
        read_review(tmp_path / "twice.csv")
    with pytest.raises(ValueError, match="the exported labels holds SIM1"):
        import_review(twice, {"ann": table})
    with pytest.raises(ValueError, match="the reviewed labels holds SIM1"):
        apply_review(table, twice)


def test_labels_are_counted_that_belong_to_windows(
    exported: Path, markets: dict[str, pd.DataFrame]
) -> None:
    reviewed = read_review(exported)
    windows = labelled_windows(markets, "select", stride=60)
    assert matches(windows, reviewed).all() and len(reviewed) == len(windows)
    assert matches(windows, reviewed[2:]).tolist() == [False] * 2 + [True] * (len(windows) - 2)
    assert not matches(windows, reviewed.assign(symbol="other")).any()


def test_a_window_reviewed_twice_is_refused(exported: Path) -> None:
    table = read_review(exported)
    with pytest.raises(ValueError, match="twice"):
        import_review(table, {"ann": pd.concat([table, table.iloc[:1]])})
