"""EPIC and DARD: what they may not see (potential shaping, shifts, positive factors), and what they must."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rewarden as rw
from rewarden.reward.artifact import Artifact
from rewarden.reward.judging.distances import Distance, DistanceOptions, _World, dard, epic
from rewarden.reward.judging.transitions import Steps, drawn_steps, roles_of, row_steps, segment_steps
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import Feature, RecordType
from tests.reference.small_data import rows

STATE = RecordType(
    "State", (Feature("x", "real", Fraction(-1), Fraction(1)), Feature("y", "real", Fraction(-1), Fraction(1)))
)
ACTION = RecordType("Action", (Feature("push", "real", Fraction(-1), Fraction(1)),))
MOVE = (("a", STATE), ("u", ACTION), ("b", STATE))
GAMMA = 0.75  # dyadic, so that shaping with small dyadic weights is exact in binary32
OPTIONS = DistanceOptions(discount=GAMMA, count=256, canonical=64, canonical_dard=8, bootstraps=40)
WEIGHTS = st.lists(st.integers(-8, 8), min_size=3, max_size=3)


def network(seed: int, shaping: list[int], scale: float = 1.0, shift: float = 0.0) -> Artifact:
    """scale·(a random reward of a move + γΦ(b) − Φ(a)) + shift, Φ affine with a kink."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(8, 5, generator=generator)
    last = torch.randn(1, 8, generator=generator)
    p = torch.tensor(shaping, dtype=torch.float32) / 8

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = torch.nn.Linear(5, 12), torch.nn.Linear(12, 1)
            with torch.no_grad():
                self.hidden.weight.zero_()
                self.hidden.bias.zero_()
                self.hidden.weight[:8], self.out.weight[:, :8] = first, scale * last
                # Φ(s) = p0·relu(x) + p1·relu(y) + p2·relu(−x), of the next state and of this one
                for k, (at, sign) in enumerate(((3, 1.0), (0, 1.0), (3, -1.0), (0, -1.0))):
                    self.hidden.weight[8 + k, at] = sign
                self.out.weight[0, 8], self.out.weight[0, 9] = scale * GAMMA * p[0], -scale * p[0]
                self.out.weight[0, 10], self.out.weight[0, 11] = scale * GAMMA * p[2], -scale * p[2]
                self.out.bias.fill_(shift)
            self.straight = torch.nn.Linear(5, 1, bias=False)
            with torch.no_grad():
                self.straight.weight.zero_()
                self.straight.weight[0, 4], self.straight.weight[0, 1] = scale * GAMMA * p[1], -scale * p[1]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(torch.relu(self.hidden(x))) + self.straight(x)

    return rw.from_torch(Net(), MOVE)


def recorded(count: int = 300) -> Steps:
    """Steps of a world in which a push moves x, and y follows x."""
    rng = np.random.default_rng(4)
    before, push = rng.uniform(-1, 1, (count, 2)), rng.uniform(-1, 1, (count, 1))
    after = np.clip(np.stack([before[:, 0] + 0.3 * push[:, 0], 0.9 * before[:, 1] + 0.1 * before[:, 0]], axis=1), -1, 1)
    return Steps(before, after, push, True, "a small world")


def both(one: Artifact, other: Artifact, options: DistanceOptions = OPTIONS) -> tuple[Distance, Distance]:
    roles, steps = roles_of(one), recorded()
    return epic(one, other, roles, steps, options), dard(one, other, roles, steps, options)


@settings(max_examples=5)
@given(seed=st.integers(0, 50), shaping=WEIGHTS, scale=st.sampled_from([0.25, 1.0, 8.0]), shift=st.integers(-4, 4))
def test_neither_sees_potential_shaping_a_positive_factor_or_a_shift(
    seed: int, shaping: list[int], scale: float, shift: int
) -> None:
    one, other = network(seed, [0, 0, 0]), network(seed, shaping, scale, float(shift))
    for found in both(one, other):
        assert found.value < 1e-5
        assert found.high < 1e-4


@settings(max_examples=3)
@given(seeds=st.tuples(st.integers(0, 20), st.integers(21, 40)), shaping=WEIGHTS)
def test_they_are_symmetric_and_unmoved_by_shaping_of_either(seeds: tuple[int, int], shaping: list[int]) -> None:
    one, other = (network(seed, [0, 0, 0]) for seed in seeds)
    shaped = network(seeds[1], shaping, 2.0)
    for there, back, moved in zip(both(one, other), both(other, one), both(one, shaped), strict=True):
        assert there.value == pytest.approx(back.value, abs=1e-9)
        assert there.value == pytest.approx(moved.value, abs=1e-4)
        assert there.low <= there.value <= there.high
        assert 0.0 <= there.value <= 1.0


def test_opposite_rewards_are_as_far_apart_as_can_be_and_equal_ones_not_at_all() -> None:
    one = network(3, [0, 0, 0])
    for found in both(one, network(3, [4, -3, 2], -2.0)):
        assert found.value == pytest.approx(1.0, abs=1e-5)
    for found in both(one, one):
        assert found.value == found.low == found.high == 0.0


def test_the_wrong_discount_sees_the_shaping() -> None:
    found = both(network(3, [0, 0, 0]), network(3, [8, -8, 8]), replace(OPTIONS, discount=0.25))
    assert all(distance.value > 0.01 for distance in found)


def test_epic_by_the_definition_with_every_expectation_written_out() -> None:
    one, other = network(1, [0, 0, 0]), network(2, [0, 0, 0])
    steps, roles = recorded(20), roles_of(one)
    options = replace(OPTIONS, count=20, canonical=15, seed=9)
    rng = np.random.default_rng(9)
    actions, nexts = steps.extra[rng.integers(0, 20, 15)], steps.after[rng.integers(0, 20, 15)]

    def score(reward: Artifact, a: np.ndarray, u: np.ndarray, b: np.ndarray) -> float:
        return float(reward.score(np.concatenate([a, u, b])[None, :].astype(np.float32))[0])

    shaped = []
    for reward in (one, other):
        values = []
        for s, u, t in zip(steps.before, steps.extra, steps.after, strict=True):
            late = np.mean([score(reward, t, a, n) for a, n in zip(actions, nexts, strict=True)])
            early = np.mean([score(reward, s, a, n) for a, n in zip(actions, nexts, strict=True)])
            values.append(score(reward, s, u, t) + GAMMA * late - early)
        shaped.append(np.array(values))
    rho = float(np.corrcoef(*shaped)[0, 1])
    assert epic(one, other, roles, steps, options).value == pytest.approx(np.sqrt((1 - rho) / 2), abs=1e-6)


def world(states: np.ndarray, push: np.ndarray) -> np.ndarray:
    """What `recorded` records."""
    moved = [states[:, 0] + 0.3 * push[:, 0], 0.9 * states[:, 1] + 0.1 * states[:, 0]]
    return np.clip(np.stack(moved, axis=1), -1, 1)


def test_dard_under_the_model_comes_near_that_of_the_true_world() -> None:
    """Its definition (Wulfe et al., eq. 5) with the world's own dynamics in place of the recorded neighbours."""
    one, other = network(1, [0, 0, 0]), network(2, [0, 0, 0])
    steps, drawn = recorded(1000), 32
    rng = np.random.default_rng(77)
    s, u, t = (np.repeat(part, drawn, axis=0) for part in (steps.before, steps.extra, steps.after))
    push = rng.choice(steps.extra, len(s))
    first, second = world(s, push), world(t, push)
    shaped = []
    for reward in (one, other):
        here, early, late, both_ = (
            reward.score(np.concatenate(parts, axis=1).astype(np.float32)).astype(float)
            for parts in ((s, u, t), (s, push, first), (t, push, second), (first, push, second))
        )
        shaped.append((here + GAMMA * late - early - GAMMA * both_).reshape(-1, drawn).mean(axis=1))
    truth = np.sqrt((1 - np.corrcoef(*shaped)[0, 1]) / 2)
    options = replace(OPTIONS, count=500, canonical_dard=24)
    found = dard(one, other, roles_of(one), steps, options).value
    assert found == pytest.approx(truth, abs=0.05)


def test_a_reward_of_the_state_alone_is_compared_where_steps_end() -> None:
    generator = torch.Generator().manual_seed(0)
    nets = []
    for _ in range(2):
        linear = torch.nn.Linear(2, 1)
        with torch.no_grad():
            linear.weight[:] = torch.randn(1, 2, generator=generator)
        nets.append(rw.from_torch(linear, STATE))
    steps = replace_extra(recorded())
    found = epic(nets[0], nets[1], roles_of(nets[0]), steps, OPTIONS)
    x, y = (net.score(steps.after[:256].astype(np.float32)).astype(float) for net in nets)
    every = epic(nets[0], nets[1], roles_of(nets[0]), steps, replace(OPTIONS, count=300))
    x, y = (net.score(steps.after.astype(np.float32)).astype(float) for net in nets)
    assert every.value == pytest.approx(np.sqrt((1 - np.corrcoef(x, y)[0, 1]) / 2), abs=1e-6)
    assert abs(found.value - every.value) < 0.1


def replace_extra(steps: Steps) -> Steps:
    return replace(steps, extra=np.zeros((len(steps), 0)))


def test_features_that_are_actions() -> None:
    linear = torch.nn.Linear(2, 1)
    one = rw.from_torch(linear, STATE)
    roles = roles_of(one, ["y"])
    assert roles.acts.tolist() == [False, True]
    assert not roles.state_only
    steps = drawn_steps(roles, 100, 0)
    assert epic(one, one, roles, steps, OPTIONS).value == 0.0
    for names in (["speed"], ["x", "y"]):
        with pytest.raises(UsageError) as caught:
            roles_of(one, names)
        assert caught.value.code == "G35"


def test_the_world_follows_what_was_recorded() -> None:
    one, steps = network(0, [0, 0, 0]), recorded(2000)
    rng = np.random.default_rng(0)
    states, actions = rng.uniform(-0.6, 0.6, (200, 2)), rng.uniform(-1, 1, (200, 1))
    after = _World(roles_of(one), steps).follow(states, actions, rng)
    assert np.abs(after[:, 0] - states[:, 0] - 0.3 * actions[:, 0]).max() < 0.12
    assert (np.abs(after) <= 1).all()


def test_what_has_no_distance_is_refused() -> None:
    one = network(0, [0, 0, 0])
    constant = network(0, [1, 2, 3], scale=0.0)
    roles, steps = roles_of(one), recorded()
    for ask in (epic, dard):
        with pytest.raises(UsageError, match="constant") as caught:
            ask(one, constant, roles, steps, OPTIONS)
        assert caught.value.code == "G35"
    with pytest.raises(UsageError, match="different records"):
        epic(one, rw.from_torch(torch.nn.Linear(2, 1), STATE), roles, steps, OPTIONS)
    with pytest.raises(UsageError, match="recorded"):
        dard(one, one, roles, replace(steps, recorded=False), OPTIONS)
    with pytest.raises(UsageError):
        DistanceOptions(discount=0.0)


def test_where_steps_come_from() -> None:
    segments = rows(24, 0).reshape(2, 2, 6, 3)
    found = segment_steps(segments)
    assert found is not None
    assert found.recorded
    assert len(found) == 20
    assert segment_steps(segments[:, :, :1]) is None
    free = row_steps(rows(10, 1), 50, 0)
    assert len(free) == 50
    assert not free.recorded
