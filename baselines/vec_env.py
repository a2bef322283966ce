"""``TradingVectorEnv`` as stable-baselines3 wants its environments."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from baselines.env import TradingVectorEnv

PERCENT = 100.0  # rewards in percent of log growth: of order one, as the agents expect


class SeveralAccounts(VecEnv):
    """The accounts of a ``TradingVectorEnv``, with rewards in percent."""

    def __init__(self, env: TradingVectorEnv, seed: int) -> None:
        self._env, self._seed = env, seed
        self._actions: NDArray[Any] = np.empty(0)
        self.render_mode = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> NDArray[np.float32]:
        """Start an episode in every account."""
        observations, _ = self._env.reset(seed=self._seed)
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take the actions."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Trade them: observations, rewards, dones, infos."""
        seen, rewards, ended, truncated, infos = self._env.step(self._actions)
        done = ended | truncated
        told: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(done):
            told[i]["terminal_observation"] = infos["final_obs"][i]
            told[i]["TimeLimit.truncated"] = bool(truncated[i])
        return seen, (PERCENT * rewards).astype(np.float32), done, told

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute, the same for every account."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute for all accounts."""
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        """Call a method once per account."""
        called = [getattr(self._env, method_name) for _ in self._get_indices(indices)]
        return [method(*args, **kwargs) for method in called]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return False: nothing is wrapped."""
        return [False] * len(list(self._get_indices(indices)))
