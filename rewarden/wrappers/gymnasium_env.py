"""An environment whose reward is an artifact's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.encode import Policy
from rewarden.spec_lang.errors import UsageError
from rewarden.wrappers.transition import require_map, rows_of


def gymnasium_reward(
    env: Any,  # noqa: ANN401 - gymnasium's types are not loaded here
    artifact: Artifact,
    columns: Mapping[str, str],
    *,
    out_of_domain: Policy = "refuse",
) -> Any:  # noqa: ANN401
    """A `gymnasium.RewardWrapper` around `env`; `columns` says which part of a step each feature is (`transition`).

    `info["rewarden"]` has the environment's own reward, and with `flag` whether the step lies out of the domain that
    the reward was declared on (its reward counts all the same); with `refuse` such a step raises DataError D06.
    Raises UsageError G86 without gymnasium, G90 for a map that leaves a feature out.
    """
    try:
        import gymnasium
    except ImportError:
        raise UsageError("G86", "Gymnasium is not installed", help="pip install 'rewarden[gym]'") from None
    named = require_map(artifact, columns)

    class RewardenReward(gymnasium.RewardWrapper):  # type: ignore[misc,name-defined,unused-ignore]
        """The reward of the step before, in place of the environment's."""

        def __init__(self, env: Any) -> None:  # noqa: ANN401
            super().__init__(env)
            self._before: Any = None
            self._last = 0.0

        def reset(self, **options: Any) -> Any:  # noqa: ANN401
            observation, info = self.env.reset(**options)
            self._before = observation
            return observation, info

        def step(self, action: Any) -> Any:  # noqa: ANN401
            after, own, terminated, truncated, info = self.env.step(action)
            step = {"obs": _one(self._before), "acts": _one(action), "next_obs": _one(after), "done": _one(terminated)}
            score = artifact.score(rows_of(artifact, named, step), out_of_domain)
            self._before, self._last = after, float(np.ma.getdata(score)[0])
            told: dict[str, Any] = {"environment_reward": own}
            if out_of_domain == "flag":
                told["out_of_domain"] = bool(np.ma.getmaskarray(score)[0])
            return after, self.reward(own), terminated, truncated, {**info, "rewarden": told}

        def reward(self, reward: Any) -> float:  # noqa: ANN401
            return self._last

    return RewardenReward(env)


def _one(value: Any) -> Any:  # noqa: ANN401
    """A batch of one step."""
    return {key: _one(part) for key, part in value.items()} if isinstance(value, Mapping) else np.asarray(value)[None]
