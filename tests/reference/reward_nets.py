"""Small reward nets with the attributes that `imitation`'s show in public, so that converting them needs no library.

What is mirrored is the structure alone: which attributes there are, what is called and with what, and what each call
means. The library itself is what `make test-imitation` converts.
"""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from torch import nn


class Net(nn.Module):
    """Anything with spaces, a forward of four tensors, and predictions that are that forward."""

    normalize_images = True

    def __init__(self, observations, actions) -> None:
        super().__init__()
        self.observation_space, self.action_space = observations, actions

    def preprocess(self, state, action, next_state, done):
        seen = [_seen(part, space) for part, space in (
            (state, self.observation_space), (action, self.action_space), (next_state, self.observation_space)
        )]  # fmt: skip
        return (*seen, torch.as_tensor(np.asarray(done)).float())

    def predict_th(self, state, action, next_state, done):
        was, _ = self.training, self.eval()
        with torch.no_grad():
            found = self(*self.preprocess(state, action, next_state, done))
        self.train(was)
        return found

    def predict(self, state, action, next_state, done):
        return self.predict_th(state, action, next_state, done).numpy().reshape(-1)

    def predict_processed(self, state, action, next_state, done, **_):
        return self.predict(state, action, next_state, done)


def _seen(part, space):
    values = torch.as_tensor(np.asarray(part))
    match space:
        case spaces.Discrete():
            return nn.functional.one_hot(values.long(), int(space.n)).float()
        case spaces.MultiDiscrete():
            columns = [nn.functional.one_hot(values[:, k].long(), int(n)) for k, n in enumerate(space.nvec)]
            return torch.cat(columns, 1).float()
        case _:
            return values.float()


def width(space) -> int:
    return int(sum(space.nvec)) if isinstance(space, spaces.MultiDiscrete) else int(spaces.flatdim(space))


class Basic(Net):
    """A multilayer perceptron of what it uses of the four."""

    def __init__(self, observations, actions, uses=(True, True, False, False), sizes=(8,), layer=nn.ReLU) -> None:
        super().__init__(observations, actions)
        self.uses = uses
        widths = [width(observations), width(actions), width(observations), 1]
        before, layers = sum(w for w, used in zip(widths, uses, strict=True) if used), []
        for size in sizes:
            layers += [nn.Linear(before, size), layer()]
            before = size
        self.mlp = nn.Sequential(*layers, nn.Linear(before, 1), nn.Flatten(0))

    def forward(self, state, action, next_state, done):
        parts = (state, action, next_state, done[:, None])
        return self.mlp(torch.cat([p.flatten(1) for p, used in zip(parts, self.uses, strict=True) if used], 1))


class Wrapper(Net):
    def __init__(self, base) -> None:
        super().__init__(base.observation_space, base.action_space)
        self._base = base

    @property
    def base(self):
        return self._base


class Shaped(Wrapper):
    """r + γ·(1 − done)·Φ(s′) − Φ(s)."""

    def __init__(self, base, discount_factor: float) -> None:
        super().__init__(base)
        size = width(base.observation_space)
        self.potential = nn.Sequential(nn.Flatten(), nn.Linear(size, 6), nn.ReLU(), nn.Linear(6, 1), nn.Flatten(0))
        self.discount_factor = discount_factor

    def forward(self, state, action, next_state, done):
        after, before = self.potential(next_state), self.potential(state)
        return self.base(state, action, next_state, done) + self.discount_factor * (1.0 - done) * after - before


class Running(nn.Module):
    """(x − μ)/√(σ² + ε), whose numbers run on when it is told of more."""

    def __init__(self, mean: float, variance: float) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.tensor([mean]))
        self.register_buffer("running_var", torch.tensor([variance]))

    def forward(self, x):
        return (x - self.running_mean) / torch.sqrt(self.running_var + 1e-5)

    def update_stats(self, x) -> None:
        self.running_mean += 0.1 * (x.mean() - self.running_mean)


class Normalised(Wrapper):
    def __init__(self, base, mean=0.7, variance=2.3) -> None:
        super().__init__(base)
        self.normalize_output_layer = Running(mean, variance)

    def forward(self, *parts):
        return self.base(*parts)

    def predict_th(self, *parts):
        return self.base.predict_th(*parts)

    def predict_processed(self, *parts, update_stats=True, **_):
        found = torch.as_tensor(self.base.predict_processed(*parts))
        with torch.no_grad():
            result = self.normalize_output_layer(found).numpy()
            if update_stats:
                self.normalize_output_layer.update_stats(found)
        return result


class Ensemble(Net):
    def __init__(self, members) -> None:
        super().__init__(members[0].observation_space, members[0].action_space)
        self.members = nn.ModuleList(members)

    @property
    def num_members(self) -> int:
        return len(self.members)

    def predict(self, *parts, **options):
        return np.mean([member.predict_processed(*parts, **options) for member in self.members], axis=0)

    def predict_processed(self, *parts, **options):
        return self.predict(*parts, **options)


class Spread(Wrapper):
    """The mean, and so many standard deviations."""

    def __init__(self, base, default_alpha: float) -> None:
        super().__init__(base)
        self.default_alpha = default_alpha

    def predict(self, *parts):
        return self.base.predict(*parts)

    def predict_processed(self, *parts, **_):
        found = [member.predict_processed(*parts, update_stats=False) for member in self.base.members]
        return np.mean(found, axis=0) + self.default_alpha * np.std(found, axis=0, ddof=1)


class Doubling(Wrapper):
    """A wrapper that nobody has told anything of."""

    def forward(self, *parts):
        return self.base(*parts)

    def predict_processed(self, *parts, **_):
        return 2.0 * self.base.predict(*parts)
