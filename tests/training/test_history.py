from mmdrex.training.history import earlier_runs


def test_earlier_runs_keep_their_settings_and_lose_what_was_measured():
    before = {
        "stage 0": {"figures": {"close": 0.98}},
        "stage 1": {
            "seed": 42,
            "figures": {"accuracy": 0.5},
            "figures of": "it",
            "goal": "not met",
        },
        "stage 2, run 1": {"seed": 1},
        "stage 2": {"seed": 2, "figures": {"Sharpe": 9.0}, "validation": "2022", "limits": "many"},
    }
    assert earlier_runs(before, ("stage 1", "stage 2")) == {
        "stage 0": {"figures": {"close": 0.98}},
        "stage 1, run 1": {"seed": 42},
        "stage 2, run 1": {"seed": 1},
        "stage 2, run 2": {"seed": 2},
    }
    assert earlier_runs(before, ("stage 2",))["stage 1"] == before["stage 1"]
    assert before["stage 2"]["figures"] == {"Sharpe": 9.0}  # the caller's is left alone


def test_a_router_without_stages_has_no_earlier_runs():
    assert earlier_runs({}, ("stage 1",)) == {}


def test_figures_read_under_an_adapter_go_with_it():
    training = {"stage 0": {"seed": 1, "figures": {"R2": 0.9}, "read": "as shipped"}, "stage 1": {}}
    assert earlier_runs(training, ("stage 1", "stage 2")) == {
        "stage 0": {"seed": 1},
        "stage 1, run 1": {},
    }
    del training["stage 0"]["read"]
    assert earlier_runs(training, ("stage 1",))["stage 0"]["figures"] == {"R2": 0.9}


def test_the_assets_of_a_shipped_router_are_not_those_of_another_run():
    training = {"data": {"assets": "156"}, "stage 1": {"data": "digest"}}
    assert earlier_runs(training, ("stage 2",)) == {"stage 1": {"data": "digest"}}
