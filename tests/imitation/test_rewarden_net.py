"""A reward of ours as a RewardNet of `imitation` itself: the same bits as `score`."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from gymnasium import spaces
from imitation.rewards.reward_nets import RewardNet

from rewarden.spec_lang.features import Feature, RecordType
from rewarden.wrappers import imitation_reward
from tests.reference.random_graphs import random_mlp

ZERO, ONE = Fraction(0), Fraction(1)
STEP = RecordType(
    "Step",
    (
        Feature("gap", "real", Fraction(-5), Fraction(5)),
        Feature("lane", "enum", ZERO, ONE, None, ("left", "right")),
        Feature("over", "bool", ZERO, ONE),
    ),
)


def test_the_net_is_the_reward() -> None:
    reward = random_mlp(np.random.default_rng(3), STEP, (6,))
    columns = {"gap": "obs[1]", "lane": "acts", "over": "done"}
    net = imitation_reward(reward, spaces.Box(-5, 5, (3,)), spaces.Discrete(2), columns)
    assert isinstance(net, RewardNet)
    rng = np.random.default_rng(0)
    state, action, done = rng.uniform(-5, 5, (40, 3)).astype(np.float32), rng.integers(0, 2, 40), rng.random(40) < 0.5
    rows = {"gap": state[:, 1], "lane": np.array(["left", "right"])[action], "over": done}
    assert np.array_equal(net.predict(state, action, state, done), reward.score(rows))
    assert np.array_equal(net.predict_processed(state, action, state, done), reward.score(rows))
