import pytest
import torch

from mmdrex.data.simulated import simulated_bars
from mmdrex.router.router import ADAPTER, Router
from mmdrex.training.centring import centre
from mmdrex.training.oracle import build_oracle
from mmdrex.training.rl_config import rl_config
from mmdrex.training.trunks import Trunks


@pytest.fixture(scope="module")
def seen(micro_router, tmp_path_factory):
    """Return a small router's folder, trunks of a market's windows, and their rows."""
    folder = tmp_path_factory.mktemp("centring")
    router = micro_router()
    router.save_pretrained(str(folder / "router"))
    oracle = build_oracle({"S": simulated_bars(3, bars=560)[0]}, folder=folder)
    rows = torch.arange(len(oracle.windows)).numpy()
    return folder, Trunks(router, oracle, rows.tolist(), folder=folder), rows


@torch.no_grad()
def test_states_of_windows_trained_on_are_standardised(seen):
    folder, trunks, rows = seen
    router = Router.from_pretrained(str(folder / "router"), cache=False)
    config = rl_config(folder / "out", init="micro")
    centre(router, trunks, rows, config)
    states = torch.cat([router.states(trunks(row), (ADAPTER,))[0] for row in rows.tolist()])
    standard = router.heads.norm(states)
    # Tolerance: float32, and a LayerNorm's epsilon.
    torch.testing.assert_close(
        standard.mean(dim=0), torch.zeros(standard.shape[1]), atol=1e-3, rtol=0
    )
    assert standard.square().mean().item() == pytest.approx(1.0, abs=1e-3)


@torch.no_grad()
def test_a_norm_that_has_learned_is_left_as_it_is(seen):
    folder, trunks, rows = seen
    router = Router.from_pretrained(str(folder / "router"), cache=False)
    router.heads.norm.bias[0] = 0.5
    before = {name: value.clone() for name, value in router.heads.norm.state_dict().items()}
    centre(router, trunks, rows, rl_config(folder / "out", init="micro"))
    for name, value in router.heads.norm.state_dict().items():
        assert torch.equal(value, before[name])
