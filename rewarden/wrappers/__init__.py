"""A reward in the hands of other people's libraries: each class is made in the user's process, when it is asked for.

    transition       an environment's step → a row of the reward's features
    gymnasium_env    an environment whose reward is the artifact's
    imitation_net    a RewardNet of `imitation`
    trl_function     a reward function of TRL: completions → numbers

All of them return what `Artifact.score` returns, to the last bit.
"""

from __future__ import annotations

from rewarden.wrappers.gymnasium_env import gymnasium_reward
from rewarden.wrappers.imitation_net import imitation_reward
from rewarden.wrappers.trl_function import trl_reward

__all__ = ["gymnasium_reward", "imitation_reward", "trl_reward"]
