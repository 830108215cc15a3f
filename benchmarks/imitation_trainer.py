"""`imitation`'s preference trainer on the pairs of a file, for `python -m benchmarks imitation`.

    python imitation_trainer.py PAIRS.npz HIDDEN EPOCHS BATCH

Run by the Python of an environment of its own, since imitation 1.0.1 wants an older Gymnasium than Rewarden does:

    python -m venv imitation-env && imitation-env/bin/pip install torch==2.13.0 imitation==1.0.1

PAIRS.npz holds `segments` float64 [pair, 2, step, width], the preferred one first. The trainer is the library's own:
`BasicRewardTrainer` with its cross-entropy loss and AdamW, on a `BasicRewardNet` of two hidden layers that reads
states alone, on one thread. Prints pairs per second of CPU time, over the epochs after the first.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from imitation.algorithms import preference_comparisons as pc
from imitation.data.types import TrajectoryWithRew
from imitation.rewards.reward_nets import BasicRewardNet


def main(path: str, hidden: int, epochs: int, batch: int) -> None:
    torch.set_num_threads(1)
    segments = np.load(path)["segments"].astype(np.float32)
    segments = (segments - segments.mean((0, 1, 2))) / np.maximum(segments.std((0, 1, 2)), 1e-6)
    space = gym.spaces.Box(-np.inf, np.inf, segments.shape[-1:], np.float32)
    net = BasicRewardNet(space, gym.spaces.Discrete(2), use_action=False, hid_sizes=(hidden, hidden))
    data = pc.PreferenceDataset()
    data.push([(_fragment(better), _fragment(worse)) for better, worse in segments], np.ones(len(segments), np.float32))
    loss = pc.CrossEntropyRewardLoss()
    model = pc.PreferenceModel(net)
    rng = np.random.default_rng(1)
    trainer = pc.BasicRewardTrainer(model, loss, rng, batch_size=batch, epochs=1, lr=0.005)
    trainer.logger.set_level(40)
    trainer.train(data)
    start = time.process_time()
    trainer.train(data, epoch_multiplier=epochs - 1)
    print(len(segments) * (epochs - 1) / (time.process_time() - start))


def _fragment(states: Any) -> TrajectoryWithRew:  # noqa: ANN401 (numpy of another environment)
    steps = len(states)
    states = np.concatenate([states, states[-1:]])  # a trajectory ends in a state that is not judged
    return TrajectoryWithRew(states, np.zeros(steps, np.int64), None, terminal=False, rews=np.zeros(steps))


if __name__ == "__main__":
    main(sys.argv[1], *(int(argument) for argument in sys.argv[2:5]))
