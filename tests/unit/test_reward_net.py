"""Live reward nets, as they are called: normalised, shaped, with termination, over any space."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

import rewarden as rw
from rewarden.reward.agreement import evaluate, random_rows
from rewarden.reward.assembly import Assembly
from rewarden.reward.exact import evaluate as rational
from rewarden.reward.graph import Product
from rewarden.reward.imports.gates import with_gates
from rewarden.spec_lang.errors import ArtifactError, RewardenError, Unsupported
from rewarden.spec_lang.features import Feature, RecordType
from tests.reference import reward_nets as nets

ZERO, ONE = Fraction(0), Fraction(1)
STEP = RecordType(
    "Step", (Feature("x", "real", Fraction(-2), Fraction(2), None, (), 2), Feature("v", "real", ZERO, ONE))
)
ACT = RecordType("Act", (Feature("turn", "enum", ZERO, ONE, None, ("left", "ahead", "right")),))
END = RecordType("End", (Feature("done", "bool", ZERO, ONE),))
SEEN, TURNS = spaces.Box(-2.0, 2.0, (3,), np.float32), spaces.Discrete(3)
ALL = {"state": STEP, "action": ACT, "next_state": STEP, "done": END}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(4)
        yield


def agrees(net, artifact, call="predict", done=None) -> None:
    """The artifact on records is the net's own call on what an environment gives, within the rounding of binary32."""
    records = {record.param: record.type for record in artifact.records}
    rows = random_rows(list(records.values()), 80, 9)
    starts = np.cumsum([0, *(kind.width for kind in records.values())])
    parts = dict(zip(records, np.split(rows, starts[1:-1], axis=1), strict=True))
    empty = np.zeros((len(rows), 3), np.float32)
    action = np.argmax(parts["a"], 1) if "a" in parts else np.zeros(len(rows), np.int64)
    end = parts["end"][:, 0].astype(bool) if "end" in parts else np.full(len(rows), bool(done))
    given = (parts.get("s", empty), action, parts.get("s2", empty), end)
    options = {"update_stats": False} if call == "predict_processed" else {}
    theirs = getattr(net, call)(*given, **options)
    value, error = evaluate(artifact, rows.astype(np.float64))
    assert np.all(np.abs(theirs - value) <= error)
    assert error.max() < 1e-4


USES = [uses for uses in itertools.product((False, True), repeat=4) if any(uses)]


@pytest.mark.parametrize("uses", USES)
def test_a_net_reads_what_it_uses_and_nothing_else(uses):
    net = nets.Basic(SEEN, TURNS, uses)
    used = {name: kind for (name, kind), use in zip(ALL.items(), uses, strict=True) if use}
    artifact = rw.from_imitation(net, call="predict", **used)
    assert [record.param for record in artifact.records] == [
        {"state": "s", "action": "a", "next_state": "s2", "done": "end"}[name] for name in used
    ]
    agrees(net, artifact)
    first = next(iter(used))
    with pytest.raises(ArtifactError) as caught:
        rw.from_imitation(net, call="predict", **{name: kind for name, kind in used.items() if name != first})
    assert caught.value.code == "A38"
    assert caught.value.help


@pytest.mark.parametrize("sizes, layer", [((), nn.ReLU), ((5,), nn.Tanh), ((16, 8, 4), nn.LeakyReLU)])
def test_sizes_and_activations(sizes, layer):
    net = nets.Basic(SEEN, TURNS, (True, True, True, True), sizes, layer)
    artifact = rw.from_imitation(net, call="predict", **ALL)
    agrees(net, artifact)


def test_a_record_that_the_net_does_not_read_may_be_declared():
    net = nets.Basic(SEEN, TURNS)
    artifact = rw.from_imitation(net, call="predict", state=STEP, action=ACT, next_state=STEP)
    assert [record.param for record in artifact.records] == ["s", "a", "s2"]
    agrees(net, artifact)


# ── shaping: discount and termination ──────────────────────────────────────────────────────────
def shaped(discount=0.97):
    return nets.Shaped(nets.Basic(SEEN, TURNS), discount)


@pytest.mark.parametrize("done", [END, False, True])
def test_shaping_with_its_discount_and_termination(done):
    net = shaped()
    artifact = rw.from_imitation(net, call="predict", discount=0.97, **{**ALL, "done": done})
    agrees(net, artifact, done=done)
    assert artifact.learner.record["discount"] == "0.97"
    assert artifact.learner.options["done"] == ("a record" if done is END else str(done).lower())
    assert not artifact.smooth  # a constant end leaves no product behind, and a flag is a gate


def test_shaping_is_nothing_to_pass_over():
    parts = {**ALL}
    with pytest.raises(ArtifactError, match=r"discounted by 0\.97") as caught:
        rw.from_imitation(shaped(), call="predict", **parts)
    assert "discount=0.97" in caught.value.help
    with pytest.raises(ArtifactError, match=r"not by 0\.9") as caught:
        rw.from_imitation(shaped(), call="predict", discount=0.9, **parts)
    assert caught.value.code == "A39"
    with pytest.raises(ArtifactError, match="end of the episode"):
        rw.from_imitation(shaped(), call="predict", discount=0.97, state=STEP, action=ACT, next_state=STEP)
    with pytest.raises(ArtifactError, match="no shaping"):
        rw.from_imitation(shaped().base, call="predict", discount=0.97, state=STEP, action=ACT)


def test_the_unshaped_reward_is_what_is_inside():
    net = shaped()
    artifact = rw.from_imitation(net.base, call="predict", state=STEP, action=ACT)
    agrees(net.base, artifact)


@pytest.mark.parametrize("second, gated", [(0.5, True), (0.3, False)])
def test_a_factor_that_binary32_does_not_hold_is_no_gates(second, gated):
    """0.1·0.3 was rounded: the reward was another function than the network."""
    kind = RecordType(
        "T", (Feature("d", "bool", Fraction(0), Fraction(1)), Feature("v", "real", *map(Fraction, (-1, 1))))
    )
    build, zero = Assembly(2), np.zeros(1, np.float32)
    flag, value = build.columns(0, 0, 1), build.columns(0, 1, 2)
    for factor in (0.1, second):
        flag = build.scale(flag, np.array([factor], np.float32), zero)
    found = with_gates(build.finish(build.product(flag, value)), kind.columns())
    assert any(isinstance(node, Product) for node in found.graph.nodes) != gated


def test_a_flags_gate_is_the_product_to_the_last_bit(monkeypatch):
    """Executed and over the rationals: the gate against the same graph with its product."""
    net = shaped()
    gated = rw.from_imitation(net, call="predict", discount=0.97, **ALL)
    with monkeypatch.context() as patched:
        patched.setattr("rewarden.reward.imports.reward_net.with_gates", lambda assembled, _: assembled)
        smooth = rw.from_imitation(net, call="predict", discount=0.97, **ALL)
    assert smooth.smooth
    assert not gated.smooth
    rows = random_rows([STEP, ACT, STEP, END], 200, 3)
    assert set(rows[:, -1]) == {0.0, 1.0}
    assert smooth.score(rows).tobytes() == gated.score(rows).tobytes()
    plain = {end: without_smooth(net, end) for end in (0.0, 1.0)}
    for row in rows[:12]:
        exact = [Fraction(float(number)) for number in row]
        assert rational(gated, exact) == rational(plain[float(row[-1])], exact[:-1])


def without_smooth(net, done):
    """The net with its end a constant, which leaves neither product nor gate."""
    return rw.from_imitation(net, call="predict", discount=0.97, **{**ALL, "done": bool(done)})


def test_where_it_ends_the_next_state_has_no_potential():
    net = shaped()
    artifact = rw.from_imitation(net, call="predict", discount=0.97, **ALL)
    rows = random_rows([STEP, ACT, STEP, END], 2, 1)
    rows[1] = rows[0]
    rows[:, -1] = 1.0
    rows[1, 6:9] += 0.25  # another next state
    assert artifact.score(rows)[0] == artifact.score(rows)[1]
    rows[:, -1] = 0.0
    assert artifact.score(rows)[0] != artifact.score(rows)[1]


# ── normalisation: predict and predict_processed ───────────────────────────────────────────────
def test_the_two_calls_of_a_normalised_net():
    net = nets.Normalised(shaped())
    parts = {**ALL, "discount": 0.97}
    plain = rw.from_imitation(net, call="predict", **parts)
    agrees(net, plain, "predict")
    with pytest.raises(Unsupported, match="no exact binary32 form"):
        rw.from_imitation(net, call="predict_processed", **parts)
    processed = rw.from_imitation(net, call="predict_processed", constants="nearest", **parts)
    agrees(net, processed, "predict_processed")
    assert "frozen" in processed.learner.record["normalised by"]
    assert plain.digest != processed.digest


def test_converting_changes_nothing_of_the_net_and_later_numbers_do_not_reach_the_artifact():
    net = nets.Normalised(nets.Basic(SEEN, TURNS))
    net.train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    artifact = rw.from_imitation(net, call="predict_processed", state=STEP, action=ACT, constants="nearest")
    assert net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    digest = artifact.digest
    net.predict_processed(np.ones((4, 3), np.float32), np.zeros(4, int), np.ones((4, 3), np.float32), np.zeros(4, bool))
    assert not torch.equal(net.normalize_output_layer.running_mean, before["normalize_output_layer.running_mean"])
    assert artifact.digest == digest


def test_ensembles_and_spreads():
    members = [nets.Normalised(nets.Basic(SEEN, TURNS), k, 1.0 + k) for k in (0.5, 1.5, 2.5)]
    net = nets.Ensemble(members)
    parts = {"state": STEP, "action": ACT, "constants": "nearest"}
    artifact = rw.from_imitation(net, call="predict_processed", **parts)
    agrees(net, artifact, "predict_processed")
    mean = nets.Spread(net, 0.0)
    agrees(mean, rw.from_imitation(mean, call="predict_processed", **parts), "predict_processed")
    careful = nets.Spread(net, -1.0)
    agrees(careful, rw.from_imitation(careful, call="predict", **parts), "predict")
    with pytest.raises(Unsupported, match="standard deviation") as caught:
        rw.from_imitation(careful, call="predict_processed", **parts)
    assert "net.base" in caught.value.help


def test_a_wrapper_that_is_not_known_is_not_passed_over():
    net = nets.Doubling(nets.Basic(SEEN, TURNS))
    with pytest.raises(Unsupported, match="not known") as caught:
        rw.from_imitation(net, call="predict_processed", state=STEP, action=ACT)
    assert caught.value.code == "X20"


# ── spaces ─────────────────────────────────────────────────────────────────────────────────────
WHOLE = RecordType("Act", (Feature("turn", "int", ZERO, Fraction(2)),))
FLAG = RecordType("Act", (Feature("brake", "bool", ZERO, ONE),))
PUSH = RecordType("Act", (Feature("force", "real", -ONE, ONE), Feature("steer", "real", -ONE, ONE)))
MANY = RecordType(
    "Act", (Feature("gear", "enum", ZERO, ONE, None, ("low", "high")), Feature("turn", "int", ZERO, Fraction(2)))
)
FLAGS = RecordType("Act", (Feature("horn", "bool", ZERO, ONE), Feature("lamps", "bool", ZERO, ONE, None, (), 2)))
SPACES = {
    "a whole number": (spaces.Discrete(3), WHOLE, lambda a: a[:, 0].astype(int)),
    "a flag": (spaces.Discrete(2), FLAG, lambda a: a[:, 0].astype(int)),
    "forces": (spaces.Box(-1.0, 1.0, (2,), np.float32), PUSH, lambda a: a),
    "several choices": (
        spaces.MultiDiscrete([2, 3]), MANY, lambda a: np.stack([a[:, :2].argmax(1), a[:, 2].astype(int)], 1)
    ),
    "several flags": (spaces.MultiBinary(3), FLAGS, lambda a: a.astype(np.int8)),
}  # fmt: skip


@pytest.mark.parametrize("name", SPACES)
def test_actions(name):
    space, kind, decode = SPACES[name]
    net = nets.Basic(SEEN, space, (True, True, False, False))
    artifact = rw.from_imitation(net, call="predict", state=STEP, action=kind)
    rows = random_rows([STEP, kind], 60, 2)
    value, error = evaluate(artifact, rows.astype(np.float64))
    empty = np.zeros((60, 3), np.float32)
    theirs = net.predict(rows[:, :3], decode(rows[:, 3:]), empty, np.zeros(60, bool))
    assert np.all(np.abs(theirs - value) <= error)


def test_states_of_several_dims_and_of_choices():
    grid = RecordType("Grid", (Feature("cells", "real", ZERO, ONE, None, (), 6),))
    net = nets.Basic(spaces.Box(0.0, 1.0, (2, 3), np.float32), TURNS)
    rw.from_imitation(net, call="predict", state=grid, action=ACT)
    rooms = RecordType("Room", (Feature("room", "enum", ZERO, ONE, None, ("hall", "yard")),))
    net = nets.Basic(spaces.Discrete(2), TURNS)
    rw.from_imitation(net, call="predict", state=rooms, action=ACT)


UNFIT = {
    "an end that is no flag": (
        {"done": RecordType("End", (Feature("done", "real", ZERO, ONE),)), "next_state": STEP}, "A32", "0 or 1"),
    "too few choices": ({"action": FLAG}, "A32", "one of 3 choices"),
    "an enum for numbers": ({"state": ACT}, "A32", "enum where"),
    "too few numbers": ({"state": END}, "A32", "more than it has features for"),
    "too many numbers": (
        {"state": RecordType("Step", (Feature("x", "real", ZERO, ONE, None, (), 5),))}, "A32", "more columns"),
    "no record": ({"state": None, "action": None}, "A38", "no record"),
    "another call": ({"call": "score"}, "A38", "score"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_records_that_do_not_fit(name):
    change, code, words = UNFIT[name]
    given = {"call": "predict", "state": STEP, "action": ACT, **change}
    with pytest.raises(RewardenError, match=words) as caught:
        rw.from_imitation(nets.Basic(SEEN, TURNS), **given)
    assert caught.value.code == code


STRANGE = {
    "images": (spaces.Box(0, 255, (2, 2, 3), np.uint8), "images"),
    "a dictionary": (spaces.Dict({"x": SEEN}), "Dict"),
    "counted from 5": (spaces.Discrete(3, start=5), "count from 5"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_spaces_that_are_refused(name):
    space, words = STRANGE[name]
    net = nets.Basic(SEEN, TURNS)
    net.observation_space = space
    with pytest.raises(Unsupported, match=words) as caught:
        rw.from_imitation(net, call="predict", state=STEP, action=ACT)
    assert caught.value.code == "X20"
    assert caught.value.help


def test_what_is_no_reward_net():
    with pytest.raises(ArtifactError) as caught:
        rw.from_imitation(nn.Linear(3, 1), call="predict", state=STEP)
    assert caught.value.code == "A33"
    assert "from_torch" in caught.value.help


def test_a_prediction_that_is_not_the_forwards_is_refused():
    class Sly(nets.Basic):
        def predict(self, *parts):
            return super().predict(*parts) + 1.0

    with pytest.raises(Unsupported):
        rw.from_imitation(Sly(SEEN, TURNS), call="predict", state=STEP, action=ACT)


def test_preprocessing_of_its_own_is_noticed():
    class Scaling(nets.Basic):
        def preprocess(self, state, action, next_state, done):
            return super().preprocess(np.asarray(state) / 2, action, next_state, done)

    with pytest.raises(Unsupported) as caught:
        rw.from_imitation(Scaling(SEEN, TURNS), call="predict", state=STEP, action=ACT)
    assert caught.value.code == "X23"
