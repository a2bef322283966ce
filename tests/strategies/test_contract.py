"""What every rule of the pool promises, whatever it trades."""

from __future__ import annotations

import numpy as np
import pytest

from strategies import EXPERTS, POOL

CUTS = 50


def values(features) -> np.ndarray:
    return np.asarray(features).view(np.float64).reshape(len(features), -1)


def cuts(rows: int) -> np.ndarray:
    late = np.random.default_rng(0).choice(np.arange(60, rows), CUTS - 4, replace=False)
    return np.r_[1, 2, 25, 59, late]


def with_noise_from(bars, cut: int):
    random = np.random.default_rng(cut)
    changed = bars.copy()
    prices = bars.iloc[cut:, :4] * random.uniform(0.5, 2.0, (len(bars) - cut, 1))
    changed.iloc[cut:, :4] = prices
    changed.iloc[cut:, 4] = random.uniform(0.0, 1e6, len(bars) - cut)
    return changed


def test_pool_holds_the_eleven_rules_in_the_order_of_the_paper():
    trend, reversal = ["ma_cross", "momentum", "turtle"], ["bollinger", "rsi_swing", "kdj"]
    breakout, position = ["volume_breakout", "atr_breakout"], ["long_only", "short_only", "cash"]
    assert list(POOL) == trend + reversal + breakout + position
    assert [rule.name for rule in POOL.values()] == list(POOL)


def test_titles_are_those_of_listing_3():
    trend, reversal = ["MACross", "Momentum", "Turtle"], ["Boll", "RSI", "KDJ"]
    breakout, position = ["Volume", "ATR"], ["LongOnly", "ShortOnly", "Cash"]
    assert [rule.title for rule in POOL.values()] == trend + reversal + breakout + position


def test_experts_share_out_the_pool():
    assert list(EXPERTS) == ["trend", "reversal", "breakout", "position"]
    assert [name for names in EXPERTS.values() for name in names] == list(POOL)


def test_prefix_law_holds_for_features_and_targets(rule, bars):
    features = rule.features(bars, rule.params)
    target = rule.scan(features, rule.params)
    for cut in cuts(len(bars)):
        prefix = rule.features(bars.iloc[:cut], rule.params)
        np.testing.assert_array_equal(values(prefix), values(features)[:cut])
        np.testing.assert_array_equal(rule.scan(prefix, rule.params), target[:cut])


def test_noise_in_the_future_changes_nothing_before_it(rule, bars):
    features = rule.features(bars, rule.params)
    target = rule.scan(features, rule.params)
    for cut in cuts(len(bars)):
        noisy = rule.features(with_noise_from(bars, cut), rule.params)
        np.testing.assert_array_equal(values(noisy)[:cut], values(features)[:cut])
        np.testing.assert_array_equal(rule.scan(noisy, rule.params)[:cut], target[:cut])


def test_targets_stay_between_minus_one_and_one(rule, bars):
    target = rule.targets(bars)
    assert target.shape == (len(bars),)
    assert target.dtype == np.float64
    assert np.all(np.abs(target) <= 1.0)


def test_every_trading_rule_goes_long_and_short_in_twenty_years(rule, sp500):
    target = rule.targets(sp500)
    if rule.name not in EXPERTS["position"]:
        assert target.min() < 0.0 < target.max()
        assert np.count_nonzero(np.diff(target)) >= 40


def test_doubled_prices_leave_targets_unchanged(rule, bars):
    doubled = bars.assign(**{name: 2.0 * bars[name] for name in ("open", "high", "low", "close")})
    np.testing.assert_array_equal(rule.targets(doubled), rule.targets(bars))


def test_nan_in_any_feature_gives_target_zero_and_leaves_the_state(rule, bars):
    features = rule.features(bars, rule.params)
    target = rule.scan(features, rule.params)
    held = np.flatnonzero(target) if target.any() else np.arange(len(bars))
    stop = held[len(held) // 2]  # a bar at which the rule holds something, if it ever does
    state = rule.flat
    for t in range(stop + 1):
        state, _ = rule.step(state, features[t], rule.params)
    for name in features.dtype.names:
        broken = features[stop : stop + 1].copy()
        broken[name] = np.nan
        after, nothing = rule.step(state, broken[0], rule.params)
        assert nothing == 0.0
        assert after == state


def test_rule_waits_until_every_feature_is_warm(rule, bars):
    features = rule.features(bars, rule.params)
    cold = np.isnan(values(features)).any(axis=1)
    warm = int(np.argmin(cold))
    assert cold[:warm].all()
    assert not cold[warm:].any()
    assert warm < 60  # far below the 198 rows before the first decision
    assert not rule.scan(features, rule.params)[:warm].any()


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_few_bars_give_a_target_for_each(rule, bars, rows):
    assert rule.targets(bars.iloc[:rows]).shape == (rows,)


def test_bars_without_volume_are_traded_as_ordinary_volume(rule, bars):
    silent = bars.assign(volume=0.0)
    features = rule.features(silent, rule.params)
    for name in {"volume_ratio", "volume_trend"} & set(features.dtype.names):
        known = features[name][~np.isnan(features[name])]
        assert np.all(known == 1.0)
    assert np.all(np.isfinite(rule.scan(features, rule.params)))


def test_description_is_short_and_follows_the_parameters(rule):
    text = rule.describe(rule.params)
    assert len(text.split()) <= 14
    assert "\n" not in text
    if rule.name not in EXPERTS["position"]:
        doubled = {
            name: 2 * value
            for name, value in rule.params._asdict().items()
            if not isinstance(value, bool)
        }
        assert rule.describe(rule.with_params(**doubled).params) != text
