from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mmdrex.audit.records import read_decisions
from mmdrex.engines.planning import blend, plan, rule_features
from mmdrex.errors import TooFewBarsError
from strategies import EXPERTS, POOL

FIRST = 198  # MA100 across a look-back of 100 bars takes 199 rows


def test_target_and_weights_are_zero_before_the_first_decision_bar(sp500, router):
    planned = plan(sp500, router)
    assert (planned.target[:FIRST] == 0.0).all()
    assert (planned.weights[:FIRST] == 0.0).all(axis=None)
    assert planned.decisions[0].time == sp500.index[FIRST]
    np.testing.assert_allclose(planned.weights[FIRST:].sum(axis=1), 1.0)
    assert list(planned.weights.columns) == list(EXPERTS)


def test_decisions_are_one_window_apart_and_own_their_bars(sp500, router):
    planned = plan(sp500, router, window=60)
    rows = sp500.index.get_indexer([decision.time for decision in planned.decisions])
    assert set(np.diff(rows)) == {60}
    for row, decision in zip(rows, planned.decisions, strict=True):
        assert (planned.weights.iloc[row : row + 60] == decision.weights).all(axis=None)


def test_rules_start_flat_at_the_decision_bar_with_indicators_on_full_history(sp500, router):
    planned = plan(sp500, router)
    decision, d = planned.decisions[3], FIRST + 3 * 90
    expected = np.zeros(90)
    for weight, name in zip(decision.weights, decision.rules.values(), strict=True):
        rule = POOL[name]
        state, rows = rule.flat, rule.features(sp500, rule.params)
        for i in range(90):  # bar by bar, not by the scan
            state, target = rule.step(state, rows[d + i], rule.params)
            expected[i] += weight * target
    np.testing.assert_allclose(planned.target.iloc[d : d + 90], expected, rtol=0, atol=1e-15)


def test_blend_of_full_weights_never_leaves_the_range(sp500, router):
    decision = plan(sp500, router).decisions[0]
    long = dict.fromkeys(decision.rules, "long_only")
    weights = np.array([0.1, 0.2, 0.3, 0.4000000000000001])
    features = rule_features(sp500, [replace(decision, rules=long)])
    target = blend(features, replace(decision, rules=long, weights=weights), 300, 390)
    assert (target == 1.0).all()


@pytest.mark.parametrize("weights", [None, "uniform", "random", "best_expert"])
def test_plan_obeys_the_prefix_law(sp500, make_router, weights):
    bars = sp500[:1500]
    whole = plan(bars, make_router(), weights=weights)
    # 378 and 379 cut before and after the decision bar of row 378.
    for cut in [*np.random.default_rng(0).integers(289, 1500, 10), 378, 379, 380]:
        part = plan(bars[:cut], make_router(), weights=weights)
        np.testing.assert_array_equal(part.target, whole.target[:cut])
        np.testing.assert_array_equal(part.weights, whole.weights[:cut])


def test_start_is_decided_on_the_last_bar_before_it(sp500, router):
    planned = plan(sp500, router, start="2010-01-02")  # a Saturday
    assert planned.start == pd.Timestamp("2009-12-31")
    assert (planned.target[: planned.start].iloc[:-1] == 0.0).all()


def test_all_assets_and_windows_go_to_the_router_in_one_batch(sp500, nasdaq, router):
    plans = plan({"sp500": sp500, "nasdaq": nasdaq[:2000]}, router)
    assert list(plans) == ["sp500", "nasdaq"]
    assert router.batches == [sum(len(planned.decisions) for planned in plans.values())]
    alone = plan(nasdaq[:2000], router)
    np.testing.assert_array_equal(plans["nasdaq"].weights, alone.weights)


def test_asset_shorter_than_199_bars_and_a_window_is_refused(sp500, router):
    with pytest.raises(TooFewBarsError, match=r"sp500 has 288 bars.*at least 289"):
        plan(sp500[:288], router)
    assert len(plan(sp500[:289], router).decisions) == 2  # the second is tomorrow's order


def test_uniform_weights_leave_rules_and_replace_weights(sp500, make_router):
    routed, uniform = (plan(sp500, make_router(), weights=w) for w in (None, "uniform"))
    assert [d.rules for d in uniform.decisions] == [d.rules for d in routed.decisions]
    assert (uniform.weights[FIRST:] == 0.25).all(axis=None)
    assert uniform.decisions[0].model == "fake with weights uniform"


def test_random_weights_repeat_with_their_seed_only(sp500, make_router):
    one, again = (plan(sp500, make_router(), weights="random", seed=7).weights for _ in range(2))
    other = plan(sp500, make_router(), weights="random", seed=8).weights
    pd.testing.assert_frame_equal(one, again)
    assert not one.equals(other)


def test_callable_weights_see_the_observation(sp500, router):
    seen = []

    def trend_only(observation):
        seen.append(observation.time)
        return [1, 0, 0, 0]

    planned = plan(sp500, router, weights=trend_only)
    assert seen == [decision.time for decision in planned.decisions]
    assert (planned.weights["trend"][FIRST:] == 1.0).all()


@pytest.mark.parametrize("wrong", [[1, 0, 0], [0.5, 0.6, 0.0, 0.0], [1.5, -0.5, 0, 0]])
def test_callable_weights_that_are_no_shares_are_refused(sp500, router, wrong):
    with pytest.raises(ValueError, match="the function gave"):
        plan(sp500, router, weights=lambda observation: wrong)


def test_misspelt_weights_are_refused_with_the_likely_name(sp500, router):
    with pytest.raises(ValueError, match="Did you mean 'uniform'"):
        plan(sp500, router, weights="unifrom")


def test_best_expert_is_the_position_expert_that_is_long_in_a_rising_market(sp500, make_router):
    close = 100.0 * 1.002 ** np.arange(900)
    bars = pd.DataFrame(
        {"open": close, "high": close * 1.001, "low": close * 0.999, "close": close, "volume": 1e6},
        index=pd.bdate_range("2000-01-03", periods=900),
    )
    experts = {"trend": ("cash",), "reversal": ("short_only",), "position": ("long_only",)}
    planned = plan(bars, make_router(experts), experts=experts, weights="best_expert")
    first, *others = planned.decisions
    np.testing.assert_allclose(first.weights, 1 / 3)  # nothing has been earned yet
    assert all(decision.weights.tolist() == [0, 0, 1] for decision in others)


def test_best_expert_is_chosen_before_a_late_start(sp500, make_router):
    late = plan(sp500, make_router(), weights="best_expert", start="2010-01-04")
    assert late.decisions[0].weights.max() == 1.0
    assert late.start == pd.Timestamp("2009-12-31")


def test_best_expert_does_not_change_after_the_training_split(simulated, make_router):
    bars = simulated.set_axis(pd.bdate_range("2019-01-01", periods=len(simulated)))
    planned = plan(bars, make_router(), weights="best_expert")
    after = [d.weights for d in planned.decisions if d.time > pd.Timestamp("2022-06-01")]
    assert len(after) > 5
    assert all((weights == after[0]).all() for weights in after)


def test_pool_unlike_the_routers_is_refused_and_the_difference_named(sp500, router):
    experts = {**EXPERTS, "position": ("long_only", "cash")}
    with pytest.raises(ValueError, match="position: the router has long_only short_only cash"):
        plan(sp500, router, experts=experts)
    pool = {**POOL, "mine": replace(POOL["bollinger"], name="mine")}
    with pytest.raises(ValueError, match="'mine' of the pool belongs to no expert"):
        plan(sp500, router, pool=pool)


def test_expert_with_a_rule_that_is_not_in_the_pool_is_refused(sp500, router):
    with pytest.raises(ValueError, match="Did you mean 'turtle'"):
        plan(sp500, router, experts={**EXPERTS, "trend": ("turtel",)})


def test_own_rule_is_traded_by_a_router_that_knows_it(sp500, make_router):
    pool = {
        **POOL,
        "mine": POOL["long_only"].__class__(**{**vars(POOL["long_only"]), "name": "mine"}),
    }
    experts = {"trend": ("mine",), "position": ("cash",)}
    planned = plan(sp500, make_router(experts), pool=pool, experts=experts, weights="uniform")
    assert (planned.target[FIRST:] == 0.5).all()


def test_plan_is_stamped_in_sample_where_the_training_dates_overlap(sp500, make_router):
    assert plan(sp500, make_router()).split == "train"
    trained = plan(sp500, make_router(trained={"exchange": ("1990-01-01", "2005-12-31")}))
    assert trained.split == "train, IN-SAMPLE"
    before = plan(sp500, make_router(trained={"exchange": ("1990-01-01", "1999-01-31")}))
    assert not before.in_sample


def test_saved_plan_reads_back(sp500, router, tmp_path):
    planned = plan(sp500[:700], router)
    planned.save(tmp_path / "deep" / "plan")
    folder = tmp_path / "deep" / "plan"
    assert sorted(path.name for path in folder.iterdir()) == [
        "decisions.jsonl", "plan.png", "targets.csv",
    ]  # fmt: skip
    decisions = read_decisions(folder / "decisions.jsonl")
    assert [d.to_json() for d in decisions] == [d.to_json() for d in planned.decisions]
    table = pd.read_csv(folder / "targets.csv", index_col="date", parse_dates=True)
    np.testing.assert_array_equal(table["target"], planned.target)


def test_plan_shows_itself_in_a_notebook(sp500, router):
    page = plan(sp500[:700], router)._repr_html_()
    assert "data:image/png;base64," in page
    assert "MM-DREX on sp500" in page
    assert "reversal" in page
