import errno
import json
import linecache
import os
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest

from mmdrex.data.costs import Costs
from mmdrex.data.simulated import simulated_bars
from mmdrex.engines.guard import simulate
from mmdrex.training.oracle import build_oracle, window_starts
from mmdrex.training.oracle_table import BATCH, FIGURES, oracle_digest
from strategies import POOL

COSTS = Costs(0.001, 0.0005)
SMALL = {name: POOL[name] for name in ("ma_cross", "kdj", "long_only", "short_only", "cash")}


@pytest.fixture(scope="module")
def assets():
    return {f"S{seed}": simulated_bars(seed, bars=520)[0] for seed in (1, 2)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("oracle")


@pytest.fixture(scope="module")
def oracle(assets, folder):
    return build_oracle(assets, SMALL, COSTS, folder=folder)


def test_starts_are_phases_of_non_overlapping_windows():
    index = pd.bdate_range("2000-01-03", periods=480)
    # By hand: first starts 198, 214, ... 278 (16 apart, below 198 + 90), then steps of 90 while
    # bar start + 90 exists (the last bar is 479).
    expected = [198, 214, 230, 246, 262, 278, 288, 304, 320, 336, 352, 368, 378]
    assert window_starts(index).tolist() == expected


def test_long_only_earns_last_close_over_first_open_less_entry_costs(assets, oracle):
    row = oracle.row("S1", 198)
    bars = assets["S1"]
    paid = bars["open"].iloc[199] * 1.0005 * 1.001
    expected = bars["close"].iloc[288] / paid - 1.0  # bars d + 1 .. d + 90, no forced exit
    assert oracle.figure("total")[row, oracle.rules.index("long_only")] == pytest.approx(
        expected, rel=1e-9
    )
    assert abs(oracle.figure("excess")[row, oracle.rules.index("long_only")]) < 1e-12


def test_cash_earns_nothing_and_has_sharpe_zero(oracle):
    column = oracle.rules.index("cash")
    for name in ("total", "sharpe", "drawdown", "mean_target"):
        assert not oracle.figure(name)[:, column].any()


def test_daily_returns_equal_the_guarded_account_simulated_bar_by_bar(assets, oracle):
    rng = np.random.default_rng(0)
    for row in rng.choice(len(oracle.windows), 6, replace=False):
        asset, start = oracle.windows[row]
        bars = assets[oracle.symbols[asset]].iloc[start : start + 91]
        for column, (name, rule) in enumerate(SMALL.items()):
            features = rule.features(assets[oracle.symbols[asset]], rule.params)
            raw = rule.scan(features[start : start + 90], rule.params)
            equity = simulate(bars, np.append(raw, raw[-1]), *COSTS)
            assert oracle.figure("total")[row, column] == pytest.approx(
                equity[-1] / equity[0] - 1.0, abs=1e-9
            ), name
            returns = equity[1:] / equity[:-1] - 1.0
            assert np.allclose(oracle.returns[row, column], returns, atol=1e-7)  # float32 on disk
            sharpe = np.sqrt(252) * returns.mean() / returns.std(ddof=1) if returns.any() else 0.0
            assert oracle.figure("sharpe")[row, column] == pytest.approx(sharpe, abs=1e-8)
            deepest = max(1.0 - equity / np.maximum.accumulate(equity))
            assert oracle.figure("drawdown")[row, column] == pytest.approx(deepest, abs=1e-9)


def test_totals_equal_backtrader(assets, oracle):
    from mmdrex.engines.backtrader import TargetStrategy, make_cerebro

    bars = assets["S2"].iloc[214:305]
    row = oracle.row("S2", 214)
    for name in ("ma_cross", "short_only"):
        raw = SMALL[name].scan(
            SMALL[name].features(assets["S2"], SMALL[name].params)[214:304], SMALL[name].params
        )
        target = pd.Series(np.append(raw, raw[-1]), bars.index)
        cerebro = make_cerebro(bars, cash=100_000.0, fees=COSTS.fees, slippage=COSTS.slippage)
        cerebro.addstrategy(TargetStrategy, target=target)
        cerebro.run(stdstats=False)
        total = cerebro.broker.getvalue() / 100_000.0 - 1.0
        assert oracle.figure("total")[row, oracle.rules.index(name)] == pytest.approx(
            total, abs=1e-9
        )


def test_a_short_squeezed_to_ruin_loses_everything_and_no_more(tmp_path):
    bars, _ = simulated_bars(3, bars=400)
    rise = np.r_[np.ones(250), np.full(150, 6.0)]  # six times the price overnight, in a window
    bars[["open", "high", "low", "close"]] *= rise[:, None]
    oracle = build_oracle({"UP": bars}, {"short_only": POOL["short_only"]}, folder=tmp_path)
    row = oracle.row("UP", 198)
    assert oracle.figure("total")[row, 0] == -1.0
    assert oracle.figure("drawdown")[row, 0] == 1.0
    assert oracle.returns[row, 0].min() == -1.0


def test_blend_of_one_rule_is_that_rule(oracle):
    rows = np.array([3, 0, len(oracle.windows) - 1])
    rules = np.array([[0, 1, 2, 4]] * 3)
    weights = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0]])
    earned = oracle.blend(rows, weights, rules)
    for i, row in enumerate(rows):
        for name in FIGURES:
            assert getattr(earned, name)[i] == pytest.approx(oracle.figure(name)[row, i], abs=1e-12)


def test_half_long_half_cash_is_sized_once_at_the_first_open(assets, oracle):
    earned = oracle.blend(
        np.array([0]),
        np.array([[0.5, 0.5]]),
        np.array([[2, 4]]),  # long_only, cash
    )
    bars = assets["S1"]
    price = bars["open"].iloc[199]
    shares = 0.5 / price
    expected = shares * bars["close"].iloc[288] - shares * price * (1.0005 * 1.001)
    assert earned.total[0] == pytest.approx(expected, abs=1e-9)


def test_outcomes_that_cross_a_border_are_purged(oracle, tmp_path):
    bars = pd.concat([oracle.assets["S1"]])
    bars.index = pd.bdate_range("2021-01-04", periods=len(bars)).to_numpy()
    table = build_oracle({"S1": bars}, {"cash": POOL["cash"]}, folder=tmp_path)
    inside = {name: table.inside(name) for name in ("train", "validation")}
    for row, (_, start) in enumerate(table.windows):
        first, last = bars.index[start + 1], bars.index[start + 90]
        assert inside["train"][row] == (last <= pd.Timestamp("2021-12-31"))
        assert inside["validation"][row] == (
            first > pd.Timestamp("2021-12-31") and last <= pd.Timestamp("2023-08-31")
        )


def test_episodes_are_consecutive_windows_of_one_asset(oracle):
    usable = np.ones(len(oracle.windows), dtype=bool)
    episodes = oracle.episodes(usable)
    assert sorted(np.concatenate(episodes).tolist()) == list(range(len(oracle.windows)))
    for episode in episodes:
        assert len(set(oracle.windows[episode, 0])) == 1
        assert (np.diff(oracle.windows[episode, 1]) == 90).all()
    usable[oracle.row("S1", 288)] = False  # a gap ends an episode
    assert len(oracle.episodes(usable)) == len(episodes) + 1


def test_table_is_built_once_and_again_when_damaged(assets, folder, oracle, monkeypatch, caplog):
    [path] = [p for p in folder.iterdir() if p.is_dir() and (p / "oracle.json").exists()]
    written = (path / "returns.npy").stat().st_mtime_ns
    assert np.array_equal(build_oracle(assets, SMALL, COSTS, folder=folder).figures, oracle.figures)
    assert (path / "returns.npy").stat().st_mtime_ns == written
    expected = np.array(oracle.returns)
    data = bytearray((path / "returns.npy").read_bytes())
    data[-3] ^= 1
    (path / "returns.npy").write_bytes(data)
    again = build_oracle(assets, SMALL, COSTS, folder=folder)
    assert "damaged" in caplog.text
    assert np.array_equal(again.returns, expected)
    record = json.loads((path / "oracle.json").read_text())
    assert record["costs"] == {"fees": 0.001, "slippage": 0.0005}


def test_other_costs_or_parameters_have_another_table(assets, folder):
    before = {p.name for p in folder.iterdir() if p.is_dir()}
    cheap = build_oracle(assets, {"kdj": POOL["kdj"]}, folder=folder)
    other = {"kdj": POOL["kdj"].with_params(**{next(iter(POOL["kdj"].params._asdict())): 12})}
    build_oracle(assets, other, folder=folder)
    assert len({p.name for p in folder.iterdir() if p.is_dir()} - before) == 2
    assert cheap.figures.shape[2] == 1


def _total(assets, folder):
    return float(build_oracle(assets, SMALL, COSTS, folder=folder).figure("total").sum())


@pytest.mark.slow
def test_two_processes_share_one_table(assets, tmp_path, oracle):
    with get_context("spawn").Pool(2) as pool:
        totals = pool.starmap(_total, [(assets, tmp_path)] * 2)
    assert totals == [float(oracle.figure("total").sum())] * 2
    assert len([p for p in tmp_path.iterdir() if p.is_dir()]) == 1


def test_a_full_disk_is_one_sentence_and_leaves_nothing(assets, tmp_path, monkeypatch):
    def full(descriptor, offset, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"MiB can't be kept \(No space left on device\)"):
        build_oracle(assets, SMALL, COSTS, folder=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".npy"]


def test_no_window_at_all_is_one_sentence(tmp_path):
    bars, _ = simulated_bars(1, bars=288)
    with pytest.raises(ValueError, match="no asset has the 289 bars"):
        build_oracle({"SHORT": bars}, SMALL, folder=tmp_path)


def test_batches_of_many_assets_equal_each_asset_alone(assets, oracle, tmp_path):
    assert len(oracle.windows) * len(SMALL) < BATCH  # both assets fell into one batch
    alone = build_oracle({"S2": assets["S2"]}, SMALL, COSTS, folder=tmp_path)
    mine = oracle.windows[:, 0] == 1
    assert np.array_equal(alone.figures, oracle.figures[:, mine])


def test_a_rule_of_a_notebook_has_a_digest_of_its_own(assets, tmp_path, monkeypatch):
    """A cell's text lies in linecache under a name that is no file, as IPython puts it there."""

    def typed(place, threshold):
        text = f"def features(bars, params):\n    return {threshold}\n"
        name = f"/tmp/ipykernel_1/{place}.py"
        monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(True), name))
        space = {}
        exec(compile(text, name, "exec"), space)
        pool = {"mine": replace(POOL["cash"], features=space["features"])}
        return oracle_digest(assets, pool, COSTS, 90, 100, 16)

    assert typed(1, 0.5) == typed(2, 0.5) != typed(3, 0.6)
