"""A `RewardNet` of `imitation` that returns an artifact's reward. It is frozen: no parameters, no gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.encode import Policy
from rewarden.spec_lang.errors import UsageError
from rewarden.wrappers.transition import require_map, rows_of


def imitation_reward(
    artifact: Artifact,
    observation_space: Any,  # noqa: ANN401 - gymnasium's, of the version that imitation has
    action_space: Any,  # noqa: ANN401
    columns: Mapping[str, str],
    *,
    out_of_domain: Policy = "refuse",
) -> Any:  # noqa: ANN401
    """The net; `columns` says which part of a step each feature is. Observations and actions are taken as they are:
    not one-hot, images not scaled. Raises UsageError G90 without `imitation`, or for a map that leaves a feature out.
    """
    try:
        from imitation.rewards.reward_nets import RewardNet
    except ImportError:
        raise UsageError(
            "G90", "imitation is not installed", help="pip install imitation (1.0.1 needs an environment of its own)"
        ) from None
    import torch

    named = require_map(artifact, columns)

    class RewardenNet(RewardNet):  # type: ignore[misc,valid-type,unused-ignore]
        """The deployed reward, bit for bit."""

        def __init__(self) -> None:
            super().__init__(observation_space, action_space, normalize_images=False)

        def preprocess(self, state: Any, action: Any, next_state: Any, done: Any) -> Any:  # noqa: ANN401
            return tuple(torch.as_tensor(np.asarray(part)) for part in (state, action, next_state, done))

        def forward(self, state: Any, action: Any, next_state: Any, done: Any) -> Any:  # noqa: ANN401
            parts = zip(("obs", "acts", "next_obs", "done"), (state, action, next_state, done), strict=True)
            step = {name: torch.as_tensor(part).detach().cpu().numpy() for name, part in parts}
            step["done"] = step["done"].astype(np.bool_)
            scores = artifact.score(rows_of(artifact, named, step), out_of_domain)
            return torch.from_numpy(np.array(np.ma.getdata(scores)))

    return RewardenNet()
