"""Reward nets of `imitation` itself, converted as they are called. Runs in an environment of its own.

`make test-imitation` makes it: the library needs another Gymnasium than the rest of the tests.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from gymnasium import spaces
from imitation.rewards import reward_nets
from imitation.util import networks
from torch import nn

import rewarden as rw
from rewarden.reward import Artifact
from rewarden.reward.agreement import evaluate, random_rows
from rewarden.spec_lang.errors import ArtifactError, Unsupported
from rewarden.spec_lang.features import Feature, RecordType

ZERO, ONE = Fraction(0), Fraction(1)
STEP = RecordType(
    "Step", (Feature("x", "real", Fraction(-2), Fraction(2), None, (), 3), Feature("v", "real", ZERO, ONE))
)
ACT = RecordType("Act", (Feature("turn", "enum", ZERO, ONE, None, ("left", "ahead", "right")),))
PUSH = RecordType("Act", (Feature("force", "real", -ONE, ONE, None, (), 2),))
END = RecordType("End", (Feature("done", "bool", ZERO, ONE),))
SEEN = spaces.Box(-2.0, 2.0, (4,), np.float32)
TURNS, FORCES = spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,), np.float32)
ALL = {"state": STEP, "action": ACT, "next_state": STEP, "done": END}
NAMES = {"s": "state", "a": "action", "s2": "next_state", "end": "done"}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(2)


def used_norm(net, act=TURNS):
    """Running numbers are what data have made them."""
    rng = np.random.default_rng(1)
    for _ in range(3):
        states = rng.normal(size=(64, 4)).astype(np.float32)
        actions = rng.integers(0, 3, 64) if act is TURNS else rng.uniform(-1, 1, (64, 2)).astype(np.float32)
        net.predict_processed(states, actions, states[::-1].copy(), np.zeros(64, bool), update_stats=True)
        net.train()
        net(*net.preprocess(states, actions, states, np.zeros(64, bool)))
    return net


def agrees(net, call="predict", **given) -> Artifact:
    """On 500 records: the net's own call, and the artifact evaluated in binary64 and as deployed."""
    artifact = rw.from_imitation(net, call=call, **given)
    records = {NAMES[record.param]: record.type for record in artifact.records}
    rows = random_rows(list(records.values()), 500, 9)
    cuts = np.cumsum([kind.width for kind in records.values()])[:-1]
    parts = dict(zip(records, np.split(rows, cuts, axis=1), strict=True))
    empty = np.zeros((len(rows), 4), np.float32)
    action = parts.get("action", np.zeros((len(rows), 3), np.float32))
    action = action.argmax(1) if net.action_space == TURNS else action
    end = parts["done"][:, 0].astype(bool) if "done" in parts else np.full(len(rows), given.get("done") is True)
    options = {"update_stats": False} if call == "predict_processed" else {}
    theirs = getattr(net, call)(parts.get("state", empty), action, parts.get("next_state", empty), end, **options)
    value, error = evaluate(artifact, rows.astype(np.float64))
    assert theirs.dtype in (np.float32, np.float64)
    assert np.all(np.abs(theirs - value) <= error)
    assert np.all(np.abs(artifact.score(rows) - value) <= error)
    assert np.abs(theirs - value).max() < 1e-5 * (1 + np.abs(value).max())  # the bound is a worst case
    return artifact


@pytest.mark.parametrize("uses", [uses for uses in itertools.product((False, True), repeat=4) if any(uses)])
def test_basic_nets(uses):
    flags = dict(zip(("use_state", "use_action", "use_next_state", "use_done"), uses, strict=True))
    net = reward_nets.BasicRewardNet(SEEN, TURNS, **flags)
    agrees(net, **{name: kind for (name, kind), use in zip(ALL.items(), uses, strict=True) if use})


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.LeakyReLU, nn.GELU, nn.SiLU])
@pytest.mark.parametrize("sizes", [(), (32,), (32, 32), (8, 4, 2)])
def test_sizes_and_activations(sizes, activation):
    net = reward_nets.BasicRewardNet(SEEN, FORCES, hid_sizes=sizes, activation=activation)
    agrees(net, state=STEP, action=PUSH)


@pytest.mark.parametrize("discount", [0.99, 1.0, 0.5])
@pytest.mark.parametrize("done", [END, False, True])
def test_shaped_nets(discount, done):
    net = reward_nets.BasicShapedRewardNet(SEEN, TURNS, discount_factor=discount)
    artifact = agrees(net, discount=discount, **{**ALL, "done": done})
    assert artifact.learner.record["discount"] == repr(discount)
    with pytest.raises(ArtifactError):
        rw.from_imitation(net, call="predict", **ALL)
    agrees(net.base, state=STEP, action=ACT)


@pytest.mark.parametrize("norm", [networks.RunningNorm, networks.EMANorm])
def test_normalised_nets(norm):
    base = reward_nets.BasicRewardNet(SEEN, TURNS, normalize_input_layer=norm)
    net = used_norm(reward_nets.NormalizedRewardNet(base, norm))
    assert float(net.normalize_output_layer.running_var[0]) != 1.0
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    for call in ("predict", "predict_processed"):
        agrees(net, call, state=STEP, action=ACT, constants="nearest")
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    with pytest.raises(Unsupported, match="no exact binary32 form"):
        rw.from_imitation(net, call="predict_processed", state=STEP, action=ACT)


def test_a_normalised_shaped_net():
    base = reward_nets.BasicShapedRewardNet(SEEN, TURNS, normalize_input_layer=networks.RunningNorm)
    net = used_norm(reward_nets.NormalizedRewardNet(base, networks.RunningNorm))
    for call in ("predict", "predict_processed"):
        artifact = agrees(net, call, discount=0.99, constants="nearest", **ALL)
        assert ("normalised by" in artifact.learner.record) == (call == "predict_processed")


def test_ensembles():
    members = [
        used_norm(reward_nets.NormalizedRewardNet(reward_nets.BasicRewardNet(SEEN, TURNS), networks.RunningNorm))
        for _ in range(3)
    ]
    net = reward_nets.RewardEnsemble(SEEN, TURNS, members)
    given = {"state": STEP, "action": ACT, "constants": "nearest"}
    agrees(net, "predict", **given)
    agrees(reward_nets.AddSTDRewardWrapper(net), "predict_processed", **given)
    careful = reward_nets.AddSTDRewardWrapper(net, default_alpha=-0.5)
    agrees(careful, "predict", **given)  # the library's own predictions move its running numbers; converting does not
    before = {name: tensor.clone() for name, tensor in careful.state_dict().items()}
    rw.from_imitation(careful, call="predict", **given)
    with pytest.raises(Unsupported, match="standard deviation"):
        rw.from_imitation(careful, call="predict_processed", **given)
    assert all(torch.equal(before[name], tensor) for name, tensor in careful.state_dict().items())


def test_images_are_refused():
    images = spaces.Box(0, 255, (12, 12, 3), np.uint8)
    net = reward_nets.CnnRewardNet(images, TURNS)
    with pytest.raises(Unsupported, match="images"):
        rw.from_imitation(net, call="predict", state=STEP, action=ACT)
