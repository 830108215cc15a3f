"""Forgetting: what each road promises, the ledger, and the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rewarden as rw
from rewarden.cli import run as cli
from rewarden.editor.history.chain import Chain
from rewarden.editor.history.merge import merge
from rewarden.editor.history.revert import revert
from rewarden.editor.history.squash import squash
from rewarden.editor.unlearn import approximate, audit, certified, exact
from rewarden.editor.unlearn.anchored import anchored, levels_of_other_data, made_at
from rewarden.editor.unlearn.audit import shadows
from rewarden.editor.unlearn.joined import joined
from rewarden.editor.unlearn.request import Ledger, part, read_ledger, twins
from rewarden.reward.artifact import Artifact, Edit, RewardRecord
from rewarden.reward.assembly import Assembly
from rewarden.reward.deployed import forward
from rewarden.reward.judging.held_out import held_out
from rewarden.reward.learn_config import load_learn_config
from rewarden.reward.learners.autoencoders import Autoencoders
from rewarden.reward.learners.checkpoints import Checkpoints
from rewarden.reward.learners.head import (
    SPENT,
    Head,
    _gradient,
    _hessian,
    _minimised,
    _Pairs,
    _shift,
    budget,
    epsilon_of,
    radius,
    residue,
    spent_of,
    weights_of,
)
from rewarden.reward.learners.interface import Comparisons, Demonstrations, Judgements, Run
from rewarden.reward.learners.labels import Labels
from rewarden.reward.learners.options import (
    AutoencoderOptions,
    HeadOptions,
    LabelOptions,
    PreferenceOptions,
    ShardOptions,
)
from rewarden.reward.learners.preferences import Preferences
from rewarden.reward.learners.shards import Shards, _ordered, contents, keys, taken
from rewarden.reward.learners.stage import Stage
from rewarden.reward.normaliser import fit_normaliser
from rewarden.reward.segments import read_comparisons
from rewarden.reward.store import load_artifact, save_artifact
from rewarden.spec_lang.errors import DataError, EditError, UsageError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import Spec, parse_spec
from rewarden.verifier.extremum import certified_extremum

STEP = RecordType(
    "Step", (Feature("speed", "real", Fraction(0), Fraction(4)), Feature("gap", "real", Fraction(-2), Fraction(2)))
)
RECORD = RewardRecord("s", STEP)
QUICK = PreferenceOptions(hidden=6, epochs=6, batch=64, patience=3)


def pairs(count: int, seed: int = 0, steps: int = 2) -> Comparisons:
    rng = np.random.default_rng(seed)
    segments = rng.uniform([0, -2], [4, 2], (count, 2, steps, 2))
    worth = (segments[..., 0] - segments[..., 1] ** 2).sum(axis=2)
    swap = worth[:, 0] < worth[:, 1]
    segments[swap] = segments[swap][:, ::-1]
    return Comparisons(RECORD, segments)


def without(count: int, gone: list[int]) -> np.ndarray:
    return np.setdiff1d(np.arange(count), gone)


# ── exact ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("slices", [1, 3])
def test_what_is_left_of_forgetting_is_what_never_seeing_the_rows_leaves(tmp_path, slices):
    data, learner = pairs(900), Shards(Preferences(), ShardOptions(3, slices))
    store = Run(3, checkpoints=Checkpoints(tmp_path))
    before = learner.fit(data, QUICK, store)
    rest = taken(data, without(900, [5, 77]))
    assert 0 < learner.plan(rest, QUICK, store).missing(store.checkpoints) < 3 * slices + 1
    after, oracle = learner.fit(rest, QUICK, store), learner.fit(rest, QUICK, Run(3))
    assert after.manifest_bytes == oracle.manifest_bytes
    assert after.tensors_bytes == oracle.tensors_bytes != before.tensors_bytes
    assert learner.plan(rest, QUICK, store).missing(store.checkpoints) == 0


def test_a_stage_begins_where_the_one_before_ended(tmp_path):
    """Stages were told where, and began at random weights: later slices were learned in a fraction of the epochs."""
    data, store = pairs(300), Checkpoints(tmp_path)
    normaliser = fit_normaliser(data.segments.reshape(-1, 2), STEP)
    learned = Preferences().fit(data, QUICK, Run(1, checkpoints=store, stage=Stage(normaliser, None, "first")))
    last = store.last()
    assert last is not None
    ended = tuple(last.tensors[f"best.{k}"] for k in range(6))
    still = replace(QUICK, learning_rate=1e-30)
    again = Preferences().fit(data, still, Run(2, stage=Stage(normaliser, ended, "second")))
    assert again.tensors_bytes == learned.tensors_bytes
    fresh = Preferences().fit(data, still, Run(2, stage=Stage(normaliser, ended[:-1], "other")))  # of another shape
    assert fresh.tensors_bytes != learned.tensors_bytes


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, 299), min_size=1, max_size=60, unique=True), st.integers(0, 3), st.booleans())
def test_any_rows_in_any_order_of_requests(tmp_path_factory, gone, seed, ids):
    data = pairs(300, seed)
    if ids:
        data = replace(data, ids=np.array([f"person {k // 3}" for k in range(300)]))
    learner, quick = Shards(Preferences(), ShardOptions(2, 2)), replace(QUICK, epochs=2)
    run = Run(seed, checkpoints=Checkpoints(tmp_path_factory.mktemp("store")))
    learner.fit(data, quick, run)
    half = len(gone) // 2
    for done in (gone[:half], gone):
        rest = taken(data, without(300, done))
        after = learner.fit(rest, quick, run)
    shuffled = np.random.default_rng(seed).permutation(without(300, gone))
    oracle = learner.fit(taken(data, shuffled), quick, Run(seed))  # and whatever the order of the table
    assert after.tensors_bytes == oracle.tensors_bytes


def test_labels_and_demonstrations_too(tmp_path):
    rows = np.random.default_rng(1).uniform([0, -2], [4, 2], (400, 2))
    judged = Judgements(RECORD, rows, rows[:, 0] - rows[:, 1] ** 2)
    shown = Demonstrations(RECORD, rows)
    cases = [
        (Labels(), LabelOptions(hidden=6, epochs=3), judged, 2),
        (Autoencoders(), AutoencoderOptions(experts=2, epochs=3, warm_up=1), shown, 1),
    ]
    for number, (member, options, data, slices) in enumerate(cases):
        learner = Shards(member, ShardOptions(2, slices))
        run = Run(1, checkpoints=Checkpoints(tmp_path / str(number)))
        learner.fit(data, options, run)
        rest = taken(data, without(400, [7]))
        assert learner.fit(rest, options, run).tensors_bytes == learner.fit(rest, options, Run(1)).tensors_bytes


def test_rankings_and_annotators_are_as_if_the_forgotten_had_never_been_there(tmp_path):
    rng = np.random.default_rng(4)
    segments = rng.uniform([0, -2], [4, 2], (200, 4, 1, 2))
    places = np.where(np.arange(200) == 3, 4, 2 + np.arange(200) % 2)
    who = np.where(np.arange(200) == 3, 2, np.arange(200) % 2)
    data = Comparisons(RECORD, segments, places=places, annotators=who, names=("Ann", "Bob", "Cid"))
    options = replace(QUICK, epochs=2, annotators="apart")
    learner, run = Shards(Preferences(), ShardOptions(2, 1)), Run(0, checkpoints=Checkpoints(tmp_path))
    learner.fit(data, options, run)
    after = learner.fit(taken(data, without(200, [3])), options, run)  # the one ranking of 4, the one answer of Cid
    rows = without(200, [3])
    never = Comparisons(RECORD, segments[rows][:, :3], places=places[rows], annotators=who[rows], names=("Ann", "Bob"))
    assert after.tensors_bytes == learner.fit(never, options, Run(0)).tensors_bytes
    assert "Cid" not in json.dumps(dict(after.learner.record))


def test_a_row_is_placed_by_its_id_and_else_by_its_content():
    data = pairs(20)
    assert keys(data) == contents(data)
    named = replace(data, ids=np.array(["one"] * 10 + ["two"] * 10))
    assert len(set(keys(named))) == 2
    assert len(set(contents(named))) == 20
    assert contents(taken(data, np.array([4]))) == [contents(data)[4]]


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_ordered_by_place_and_whole_content(seed):
    """Digests that begin alike (which nobody will meet) are told apart by the rest; equal ones stay as they come."""
    rng = np.random.default_rng(seed)
    place, content = rng.integers(0, 3, 400), rng.integers(0, 2**63, (400, 4)).astype(np.uint64)
    if seed:
        content[:, : seed + 1] = rng.integers(0, 4, (400, seed + 1))
        content[200:300] = content[:100]
    expected = sorted(range(400), key=lambda k: (place[k], *content[k].tolist(), k))
    assert _ordered(place, content).tolist() == expected


def test_what_a_row_is_called_depends_on_no_other_row():
    data = pairs(20)
    who = np.where(np.arange(20) == 3, 0, 1 + np.arange(20) % 2)
    answered = replace(data, annotators=who, names=("Ann", "Bob", "Cid"))
    segments = np.repeat(data.segments, 2, axis=1)
    ranked = replace(data, segments=segments, places=np.where(np.arange(20) == 3, 4, 2))
    for whole in (data, answered, ranked):
        rows = without(20, [3])  # the one answer of Ann, the one ranking of four
        assert contents(taken(whole, rows)) == [contents(whole)[k] for k in rows]
    assert contents(answered)[1] != contents(replace(answered, names=("Ann", "Bob", "Dan")))[1]


def test_what_shards_cannot_do_is_refused(tmp_path):
    with pytest.raises(DataError, match="too few for 64 shards"):
        Shards(Preferences(), ShardOptions(64, 1)).fit(pairs(60), QUICK)
    with pytest.raises(UsageError, match="slice to slice"):
        Shards(Autoencoders(), ShardOptions(2, 2)).fit(Demonstrations(RECORD, np.zeros((9, 2))), AutoencoderOptions())
    with pytest.raises(UsageError, match="no constraints"):
        Shards(Preferences(), ShardOptions(2, 1)).fit(pairs(60), QUICK, Run(penalty=lambda reward, generator: None))


def test_a_kill_between_stages_costs_only_time(tmp_path):
    data, learner = pairs(300), Shards(Preferences(), ShardOptions(3, 2))

    class Killed(Exception):
        pass

    def kill(stage: str, done: int, total: int, note: str) -> None:
        if stage == "shard 2":
            raise Killed

    quick = replace(QUICK, epochs=2)
    with pytest.raises(Killed):
        learner.fit(data, quick, Run(2, progress=kill, checkpoints=Checkpoints(tmp_path)))
    after = learner.fit(data, quick, Run(2, checkpoints=Checkpoints(tmp_path)))
    assert after.digest == learner.fit(data, quick, Run(2)).digest


# ── certified ──────────────────────────────────────────────────────────────────────────────────
def noise(seed: int):
    return lambda width, deviation: np.random.default_rng(seed).normal(0.0, deviation, width)


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_of_the_gradient_left_holds_over_many_removals(seed):
    data, options = pairs(400, seed), HeadOptions(l2=0.05, noise=1.0, epsilon=1.0)
    b = noise(seed)(2, options.noise)
    head = Head(noise(seed))
    artifact, left = head.fit(data, options), np.arange(400)
    assert spent_of(artifact) == 0.0
    for _ in range(6):
        gone, left = left[:2], left[2:]
        done = head.remove(artifact, taken(data, left), taken(data, gone), options)
        assert not done.anew
        artifact = done.artifact
        x = _Pairs.of(taken(data, left), options).training
        w = weights_of(artifact).astype(np.float64)
        true = float(np.linalg.norm(_gradient(x, w, options.l2) + b))
        rounded = (len(x) * options.l2 + len(x) / 4) * 2.0**-24 * np.linalg.norm(w)  # after the last of them
        assert true <= spent_of(artifact) + rounded
        near = _minimised(x, options.l2, b)
        assert np.linalg.norm(w - near) <= (spent_of(artifact) + rounded) / (len(x) * options.l2)  # strong convexity
    # what is spent, and so whether it is enough, tells nothing of the noise
    assert spent_of(artifact) == _six_removals(Head(noise(seed + 50)), data, options)


def _six_removals(head: Head, data: Comparisons, options: HeadOptions) -> float:
    artifact, left = head.fit(data, options), np.arange(400)
    for _ in range(6):
        gone, left = left[:2], left[2:]
        artifact = head.remove(artifact, taken(data, left), taken(data, gone), options).artifact
    return spent_of(artifact)


def directions(count: int, width: int, length: float) -> np.ndarray:
    """Vectors of that length, in all directions."""
    drawn = np.random.default_rng(5).normal(size=(count, width))
    return drawn * length / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize(("count", "l2", "deviation"), [(400, 0.05, 1.0), (2000, 0.01, 2.0), (300, 0.3, 4.0)])
def test_the_shift_bounds_what_a_removal_does_to_any_noise(count, l2, deviation):
    """Noise of every direction and length up to r: by how much it is moved, and by how much volume about it changes."""
    data, options = pairs(count, 3), HeadOptions(l2=l2, noise=deviation)
    whole = _Pairs.of(data, options).training
    x, m = whole[5:], whole[:5]
    bound, r = _shift(x, m, options), radius(options, 2)
    assert 0.0 < bound < math.inf

    def moved(b: np.ndarray) -> np.ndarray:
        w = _minimised(whole, l2, b)
        return -_gradient(x, w + np.linalg.solve(_hessian(x, w, l2), _gradient(m, w, l2)), l2)

    worst = 0.0
    for length in (0.0, 0.4 * r, r):
        for b in directions(6, 2, length):
            there = moved(b)
            tip = 1e-3 * r
            along = [(moved(b + tip * e) - moved(b - tip * e)) / (2 * tip) for e in np.eye(2)]
            volume = abs(math.log(abs(np.linalg.det(np.array(along)))))
            worst = max(worst, float(np.linalg.norm(there - b)) + volume * deviation**2 / r)
    assert 0.0 < worst <= bound


def test_epsilon_covers_shifts_that_follow_the_noise():
    """Of a shift that points along the noise the published formula promises too much."""
    options = HeadOptions(noise=1.0, delta=0.01)
    width, beta = 64, 0.05
    b = np.random.default_rng(2).normal(size=(20_000, width))
    moved = b * (1 - beta / np.linalg.norm(b, axis=1, keepdims=True))
    loss = np.abs((b**2).sum(axis=1) - (moved**2).sum(axis=1)) / 2  # of densities; volume aside
    published = beta * math.sqrt(2 * math.log(1.5 / options.delta)) / options.noise
    assert (loss > published).mean() > 0.9
    assert (loss > epsilon_of(beta, options, width)).mean() <= options.delta
    assert epsilon_of(budget(options, width), options, width) == pytest.approx(options.epsilon)


def test_where_no_bound_holds_and_past_the_budget_the_head_is_learned_anew():
    data, left, gone = pairs(200, 1), np.arange(60, 200), np.arange(60)
    for options, why in (
        (HeadOptions(l2=0.001, noise=50.0), "no bound holds"),
        (HeadOptions(l2=0.01, noise=0.01, epsilon=0.5, delta=1e-4), "budget was spent"),
    ):
        head = Head(noise(0))
        done = head.remove(head.fit(data, options), taken(data, left), taken(data, gone), options)
        assert why in done.anew
        assert done.epsilon == 0.0
        assert done.artifact.tensors_bytes == head.fit(taken(data, left), options).tensors_bytes
    firm = HeadOptions(l2=5.0, noise=4.0, delta=1e-4)
    artifact = Head(noise(0)).fit(data, firm)
    done = Head(noise(0)).remove(artifact, taken(data, np.arange(1, 200)), taken(data, np.arange(1)), firm)
    r = 4.0 * (math.sqrt(2) + math.sqrt(2 * math.log(1 / 1e-4)))
    spent = spent_of(done.artifact)
    assert done.epsilon == (r * spent + spent**2 / 2) / 16.0


def test_a_budget_is_told_in_grains_and_holds_for_these_weights_rows_and_options_alone():
    data, options = pairs(200, 1), HeadOptions(l2=2.0, noise=5.0)
    head = Head(noise(0))
    artifact = head.fit(data, options)
    kept, gone = taken(data, np.arange(2, 200)), taken(data, np.arange(2))
    done = head.remove(artifact, taken(kept, np.arange(197, -1, -1)), gone, options)  # in whatever order
    assert not done.anew
    grains = spent_of(done.artifact) / budget(options, 2) * 1024
    assert grains == pytest.approx(round(grains), abs=1e-6)
    assert round(grains) >= 1
    name = next(n.weight for n in artifact.graph.nodes if hasattr(n, "weight"))
    edited = artifact.child(Edit("tuning", "a rule", {}), tensors={name: artifact.tensors[name] * np.float32(1.5)})
    more = taken(pairs(300, 1), np.arange(2, 300))
    for reward, rest in ((edited, kept), (artifact, more), (artifact, taken(kept, np.arange(100)))):
        found = head.remove(reward, rest, gone, options)
        assert "not those" in found.anew
        assert found.artifact.tensors_bytes == head.fit(rest, options).tensors_bytes
    rest, next_gone = taken(kept, np.arange(9, 198)), taken(kept, np.arange(9))
    again = head.remove(done.artifact, rest, next_gone, options)
    assert not again.anew
    # a manifest that was given more budget by hand is not believed, nor one that was learned with other noise
    learner = done.artifact.learner
    richer = replace(learner, record={**learner.record, SPENT: "0x0.0p+0 (0)"})
    assert "not those" in head.remove(replace(done.artifact, learner=richer), rest, next_gone, options).anew
    assert "not those" in head.remove(done.artifact, rest, next_gone, replace(options, noise=50.0)).anew
    # nor are rows that it never saw removed twice, or at all
    assert "not those" in head.remove(done.artifact, kept, gone, options).anew
    assert "not those" in head.remove(done.artifact, kept, taken(pairs(9, 8), np.arange(2)), options).anew


def test_a_head_holds_something_out_or_says_that_it_cannot():
    one = pairs(30)
    with pytest.raises(DataError, match="too few of the pairs are different") as caught:
        Head().fit(taken(one, np.zeros(30, np.int64)), HeadOptions())
    assert caught.value.code == "D20"


def test_the_noise_of_a_head_is_nowhere_to_be_found_again():
    data = pairs(100)
    assert Head().fit(data, HeadOptions()).tensors_bytes != Head().fit(data, HeadOptions()).tensors_bytes


# ── approximate ────────────────────────────────────────────────────────────────────────────────
def test_influence_makes_mislabelled_rows_count_for_less():
    data = pairs(600, 2)
    wrong = data.segments.copy()
    wrong[:60] = wrong[:60, ::-1]
    data = replace(data, segments=wrong)
    artifact = Preferences().fit(data, replace(QUICK, epochs=30, label_noise=0.0))
    done = approximate.forget(artifact, data, part(data, contents(data)[:60], Ledger()))
    assert done.forgotten[1] > done.forgotten[0]  # they are believed less
    assert done.staying[1] <= 1.02 * done.staying[0]
    assert "none" in done.artifact.edit.statement["guarantee"]
    assert done.artifact.parent == artifact.digest


def test_what_cannot_be_forgotten_approximately_says_so():
    rows = np.random.default_rng(1).uniform([0, -2], [4, 2], (60, 2))
    shown = Demonstrations(RECORD, rows)
    artifact = Autoencoders().fit(shown, AutoencoderOptions(experts=2, epochs=2, warm_up=1))
    with pytest.raises(EditError) as caught:
        approximate.forget(artifact, shown, part(shown, contents(shown)[:1], Ledger()))
    assert caught.value.code == "E23"


# ── the ledger ─────────────────────────────────────────────────────────────────────────────────
def test_the_ledger_holds_no_content_and_keeps_rows_out(tmp_path):
    data = replace(pairs(30), ids=np.array([f"person {k}" for k in range(30)]))
    parted = part(data, keys(data)[3:5], Ledger())
    assert list(parted.gone) == [3, 4]
    text = parted.ledger.bytes()
    (tmp_path / "l.json").write_bytes(text)
    read = read_ledger(tmp_path / "l.json")
    assert read == parted.ledger
    assert b"person" not in text
    for digest in keys(data):
        assert digest.hex().encode() not in text  # a bare hash of a name can be guessed from a list of names
    again = part(data, keys(data)[7:8], read)
    assert (list(again.gone), again.before, len(again.kept)) == ([7], 2, 27)
    with pytest.raises(EditError, match="were forgotten before"):
        part(data, keys(data)[3:4], read)


@pytest.mark.parametrize("text", [b"", b"{}", b'{"format":"rewarden-forgotten"}', b"[" * 5000])
def test_a_damaged_ledger_is_refused(tmp_path, text):
    (tmp_path / "l.json").write_bytes(text)
    with pytest.raises(EditError) as caught:
        read_ledger(tmp_path / "l.json")
    assert caught.value.code == "E21"


# ── the audit ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("remembers", "auc"), [(True, 1.0), (False, 0.0)])
def test_the_attack_tells_rows_that_a_reward_knows_by_heart(monkeypatch, remembers, auc):
    rng = np.random.default_rng(5)
    data = pairs(30)
    gone, strangers = taken(data, np.arange(15)), taken(data, np.arange(15, 30))
    seen = rng.random((8, 30)) < 0.5
    said = np.where(seen, 2.0, 1.0) + rng.normal(0, 0.05, (8, 30))
    target = {contents(gone)[0]: 2.0 if remembers else 1.0, contents(strangers)[0]: 1.0 if remembers else 2.0}
    monkeypatch.setattr(audit, "score", lambda artifact, part: np.full(15, target[contents(part)[0]]))
    found = audit.attack(None, gone, strangers, (said, seen))
    assert (found.rows, found.shadows) == (15, 8)
    assert found.auc == pytest.approx(auc, abs=0.1)
    assert found.found == (1.0 if remembers else 0.0)


def by_heart(data: Judgements, seed: int = 0) -> Artifact:
    """A reward that gives each judged record its label: least squares over more random units than there are rows."""
    rng = np.random.default_rng(7)
    weight, bias = rng.normal(size=(240, 2)).astype(np.float32), rng.uniform(-3, 3, 240).astype(np.float32)
    units = np.maximum(data.rows @ weight.T + bias, 0)
    last = np.linalg.lstsq(units, data.labels, rcond=1e-6)[0].astype(np.float32)
    build = Assembly(2)
    node = build.relu(build.affine(build.INPUT, weight, bias))
    made = build.finish(build.affine(node, last[None, :], np.zeros(1, np.float32)))
    return Artifact((RECORD,), made.graph, made.tensors, "exact")


def random_labels(count: int, seed: int) -> Judgements:
    rng = np.random.default_rng(seed)
    return Judgements(RECORD, rng.uniform([0, -2], [4, 2], (count, 2)), rng.normal(size=count))


def test_a_road_that_does_nothing_fails_the_audit():
    data, strangers = random_labels(40, 1), random_labels(20, 2)
    gone, kept = taken(data, np.arange(10)), taken(data, np.arange(10, 40))
    artifact, oracle = by_heart(data), by_heart(kept)
    scores = shadows(by_heart, kept, gone, strangers, 16, lambda k: None)
    before, after = (audit.attack(reward, gone, strangers, scores) for reward in (artifact, oracle))
    assert before.succeeds
    assert not after.succeeds
    assert audit.notes(before) == []
    far, same = (audit.gap(reward, oracle, data) for reward in (artifact, oracle))
    assert (far.equal, same.equal, same.largest) == (False, True, 0.0)
    rewards = [forward(reward, data.rows.astype(np.float32)).astype(np.float64) for reward in (artifact, oracle)]
    assert far.largest == np.abs(rewards[0] - rewards[1]).max()  # of labels also what is added to all counts
    for road in ("exact", "approximate", "certified"):
        assert audit.faults(road, (far, same), after, None) == []
        idle = audit.faults(road, (far, far), before, None)
        assert len(idle) == (1 if road == "certified" else 2)  # a head's loss is looked at as well, below
        assert "the attack still finds" in idle[-1]
    some = [0, 1, 10, 11, 12]
    two, three = taken(gone, np.arange(2)), taken(strangers, np.arange(3))
    few = audit.attack(artifact, two, three, (scores[0][:, some], scores[1][:, some]))
    assert few.least == 0.1
    assert "too few" in audit.notes(few)[0]
    assert "shows nothing" in audit.notes(after)[0]


def test_a_head_that_did_nothing_has_too_much_of_a_gradient_left():
    data, options = pairs(400), HeadOptions(l2=2.0)
    kept, gone = taken(data, np.arange(3, 400)), taken(data, np.arange(3))
    artifact = Head().fit(data, options)
    done = Head().remove(artifact, kept, gone, options)
    assert not done.anew
    left, charged = residue(artifact, done.artifact, kept, gone, options)
    assert 0 < left <= charged
    left, charged = residue(artifact, artifact, kept, gone, options)
    assert left > 100 * charged
    worse = audit.faults("certified", (None, None), None, (left, charged))
    assert "a gradient of" in worse[0]


@pytest.mark.parametrize(("learner", "road"), [("head", "certified"), ("preferences", "approximate")])
def test_the_command_fails_an_audit_of_nothing_done(tmp_path, capsys, monkeypatch, learner, road):
    options = "hidden = 6\nepochs = 4\n" if learner == "preferences" else "l2 = 5.0\n"
    folder = project(tmp_path, learner, f"[learner.options]\n{options}")
    assert cli(["learn", str(folder / "learn.toml"), "-o", str(folder / "r"), "-q"]) == 0
    idle = load_artifact(folder / "r").child(Edit("unlearn", "", {}))
    monkeypatch.setattr(approximate, "forget", lambda *_: approximate.Approximate(idle, (0, 0), (0, 0)))
    monkeypatch.setattr(certified, "forget", lambda *_: certified.Certified(idle, 0.0, ""))
    request = ["--forget", str(folder / "forget.csv"), "--config", str(folder / "learn.toml"), "--audit"]
    told = folder / "told.json"
    assert cli(["unlearn", str(folder / "r"), *request, "--json", str(told), "-o", str(folder / "r2")]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert len(json.loads(told.read_text())["audit"]["faults"]) == 1


def test_shadows_of_too_few_rows_say_so_and_leave_nothing(tmp_path, capsys, monkeypatch):
    folder = project(tmp_path, "preferences", SHARDS)
    table = pq.read_table(folder / "pairs.parquet")
    pq.write_table(table.slice(460), folder / "strangers.parquet")
    pq.write_table(table.slice(0, 460), folder / "pairs.parquet")
    assert cli(["learn", str(folder / "learn.toml"), "-o", str(folder / "r"), "-q"]) == 0
    fit = Shards.fit

    def hungry(self, data, options, run):
        if len(data.segments) < 200:
            raise DataError("D20", "120 rows are too few")
        return fit(self, data, options, run)

    monkeypatch.setattr(Shards, "fit", hungry)
    capsys.readouterr()
    request = ["--forget", str(folder / "forget.csv"), "--config", str(folder / "learn.toml"), "-o", str(folder / "x")]
    strangers = ["--strangers", str(folder / "strangers.parquet")]
    assert cli(["unlearn", str(folder / "r"), *request, *strangers]) == 2
    said = capsys.readouterr().err
    assert "120 rows are too few" in said
    assert "leave --strangers out" in said
    assert not (folder / "x").exists()


def test_a_row_is_known_as_well_as_its_margin():
    data = pairs(50, 3)
    artifact = Preferences().fit(pairs(300), QUICK)
    margins = audit.score(artifact, data)
    flipped = replace(data, segments=data.segments[:, ::-1])
    assert np.allclose(margins, -audit.score(artifact, flipped))
    parts = [taken(data, np.arange(a, b)) for a, b in ((0, 10), (10, 50))]
    assert contents(joined(parts)) == contents(data)


def test_shadows_see_each_row_half_of_the_time():
    data = pairs(120)
    gone, strangers, kept = (taken(data, np.arange(a, b)) for a, b in ((0, 10), (10, 20), (20, 120)))
    quick = replace(QUICK, epochs=1)
    said, seen = shadows(
        lambda rows, seed: Preferences().fit(rows, quick, Run(seed)), kept, gone, strangers, 4, lambda k: None
    )
    assert said.shape == seen.shape == (4, 20)
    assert (seen.sum(axis=0) == 2).all()


def test_strangers_need_not_say_what_is_optional():
    data = pairs(12)
    told = replace(
        data, ids=np.array([f"p{k}" for k in range(12)]), ties=np.arange(12) == 1, weights=np.full(12, 2.0),
        annotators=np.arange(12) % 2, names=("Ann", "Bob"),
    )  # fmt: skip
    both = joined([told, pairs(3, 1)])
    assert both.ids is None
    assert both.ties.tolist() == (np.arange(15) == 1).tolist()
    assert both.weights.tolist() == [2.0] * 12 + [1.0] * 3
    assert [both.names[k] for k in both.annotators] == ["Ann", "Bob"] * 6 + [""] * 3
    judged = Judgements(RECORD, np.zeros((2, 2)), np.zeros(2), weights=np.full(2, 3.0))
    assert joined([replace(judged, weights=None), judged]).weights.tolist() == [1.0, 1.0, 3.0, 3.0]
    with pytest.raises(EditError, match="2 and 3 steps") as caught:
        joined([data, pairs(3, 1, steps=3)])
    assert caught.value.code == "E24"


def test_what_is_retained_is_told_of_pairs_and_labels():
    data = pairs(300)
    artifact = Preferences().fit(data, QUICK)
    right = audit.score(artifact, data) > 0
    tied = replace(data, ties=~right)
    assert audit.retained(artifact, artifact, data) == (right.mean(), right.mean())
    assert audit.retained(artifact, artifact, tied) == (1.0, 1.0)
    rows = np.random.default_rng(1).uniform([0, -2], [4, 2], (200, 2))
    told = forward(artifact, rows.astype(np.float32)).astype(np.float64)
    judged = Judgements(RECORD, rows, told)
    assert audit.retained(artifact, artifact, judged) == (1.0, 1.0)
    assert audit.retained(artifact, artifact, replace(judged, labels=-told)) == (0.0, 0.0)
    assert audit.retained(artifact, artifact, replace(judged, labels=np.zeros(200))) is None
    best, worst = (audit.retained(artifact, artifact, Demonstrations(RECORD, rows[k])) for k in _ends(told))
    assert best[0] == best[1] > 0.9
    assert worst[0] < 0.1


def _ends(told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(told)
    return order[-20:], order[:20]


# ── what else was made from the rows ───────────────────────────────────────────────────────────
def test_a_patch_near_forgotten_rows_is_found_though_the_specs_data_are_clean(tmp_path):
    data = pairs(6, 2)
    artifact = Preferences().fit(pairs(300), replace(QUICK, epochs=2))
    records = data.segments.reshape(-1, 2)

    def made(rows: np.ndarray) -> Spec:
        lines = "\n".join(["speed,gap", *(f"{a!r},{b!r}" for a, b in rows.tolist())])
        (tmp_path / "bad.csv").write_text(lines + "\n")
        return parse_spec(
            "spec s v1\nfeatures Step { speed: real in 0 .. 4  gap: real in -2 .. 2 }\nreward R(s: Step)\n"
            'data bad: Step from "bad.csv"\nmust low:\n  forall s: Step near bad within 1 %\n  expect R(s) <= -50\n'
            "must mean:\n  forall s: Step\n  expect R(s) <= mean(R(bad)) + 100\n",
            base=tmp_path,
        )

    spec = made(records)
    child = rw.patch(spec, rules=["low"], rewards={"R": artifact}).artifacts["R"]
    one, other = taken(data, np.array([4])), pairs(1, 77)
    (found,) = anchored(spec, child, one)
    assert (found.rows, found.rules, found.patches) == (4, ("low", "mean"), ("low",))
    clean = made(records[:16])
    assert anchored(clean, child, one) == ()
    assert made_at(child, one) == ("low",)
    assert made_at(child, other) == made_at(artifact, one) == ()


def test_edits_whose_levels_came_of_forgotten_rows_are_named_though_the_specs_data_are_clean(tmp_path):
    data = pairs(6, 2)
    artifact = Preferences().fit(pairs(300), replace(QUICK, epochs=2))
    records = data.segments.reshape(-1, 2)

    def made(rows: np.ndarray) -> Spec:
        (tmp_path / "seen.csv").write_text("\n".join(["speed,gap", *(f"{a!r},{b!r}" for a, b in rows.tolist())]) + "\n")
        return parse_spec(
            "spec s v1\nfeatures Step { speed: real in 0 .. 4  gap: real in -2 .. 2 }\nreward R(s: Step)\n"
            'data seen: Step from "seen.csv"\nmust cap:\n  forall s: Step\n  given s.speed <= 1\n'
            "  expect R(s) <= min(R(seen)) - 1\n",
            base=tmp_path,
        )

    spec = made(records)
    patched = rw.patch(spec, rules=["cap"], rewards={"R": artifact}).artifacts["R"]
    assert levels_of_other_data(spec, [patched, artifact]) == ()
    one = taken(data, np.array([4]))
    tuned = artifact.child(Edit("tuning", "cap, other", {}))  # no patch tells of it
    (found,) = anchored(spec, tuned, one, ("cap", "other"))
    assert (found.rules, found.patches) == (("cap",), ("cap",))
    clean = made(records[:16])
    assert anchored(clean, patched, one) == ()
    assert levels_of_other_data(clean, [patched, artifact]) == ("cap",)


@pytest.mark.parametrize("count", [1, 3])
def test_a_patch_around_forgotten_rows_is_named_though_the_specs_data_are_clean(tmp_path: Path, count: int) -> None:
    """One row is one box, which is stored like the patch of any region."""
    artifact = Preferences().fit(pairs(300), replace(QUICK, epochs=2))
    records = pairs(6, 2).segments.reshape(-1, 2)

    def made(rows: np.ndarray) -> Spec:
        (tmp_path / "seen.csv").write_text("\n".join(["speed,gap", *(f"{a!r},{b!r}" for a, b in rows.tolist())]) + "\n")
        return parse_spec(
            "spec s v1\nfeatures Step { speed: real in 0 .. 4  gap: real in -2 .. 2 }\nreward R(s: Step)\n"
            'data seen: Step from "seen.csv"\nmust cap:\n  forall s: Step near seen within 1 %\n  expect R(s) <= -9\n',
            base=tmp_path,
        )

    spec = made(records[:count])
    patched = rw.patch(spec, rules=["cap"], rewards={"R": artifact}).artifacts["R"]
    assert levels_of_other_data(spec, [patched, artifact]) == ()
    assert levels_of_other_data(made(records[count:]), [patched, artifact]) == ("cap",)


# ── the command ────────────────────────────────────────────────────────────────────────────────
def project(folder: Path, learner: str, extra: str = "") -> Path:
    data = pairs(240, 9)
    steps = data.segments.shape[2]
    columns = {
        "pair": np.repeat(np.arange(240), steps),
        "step": np.tile(np.arange(steps), 240),
        "id": [f"person {k // 4}" for k in range(240) for _ in range(steps)],
    }
    for j, name in enumerate(("speed", "gap")):
        for m, side in enumerate(("better", "worse")):
            columns[f"{side}.{name}"] = data.segments[:, m, :, j].reshape(-1)
    pq.write_table(pa.table(columns), folder / "pairs.parquet")
    (folder / "s.rwd").write_text(
        "spec s v1\nfeatures Step { speed: real in 0 .. 4  gap: real in -2 .. 2 }\nreward R(s: Step)\n"
        'data prefs: (better: Step, worse: Step) from "pairs.parquet"\n'
        "should agree:\n  forall p in prefs\n  expect share(R(p.better) > R(p.worse)) >= 0.6\n"
    )
    (folder / "learn.toml").write_text(
        '[data]\npreferences = "pairs.parquet"\n[features]\nspec = "s.rwd"\n'
        f'[learner]\nname = "{learner}"\nseed = 3\n{extra}'
    )
    (folder / "forget.csv").write_text("id\nperson 3\nperson 7\nnobody\n")
    return folder


SHARDS = "[learner.options]\nhidden = 6\nepochs = 4\n[learner.shards]\nshards = 3\nslices = 2\n"


def test_rows_that_say_the_same_under_other_ids_are_told(tmp_path):
    data = taken(pairs(20), np.array([0, 1, 2, 3, 0, 1, 0, 7]))
    named = replace(data, ids=np.array(["ann", "ann", "bob", "bob", "bob", "cem", "dan", "dan"]))
    parted = part(named, [keys(named)[0]], Ledger())
    assert (parted.gone.tolist(), twins(named, parted)) == ([0, 1], 3)
    nameless = part(data, contents(data)[:1], Ledger())  # by their content they go together
    assert (nameless.gone.tolist(), twins(data, nameless)) == ([0, 4, 6], 0)


def test_the_command_forgets_exactly_and_again(tmp_path, capsys):
    folder = project(tmp_path, "preferences", SHARDS)
    common = ["--config", str(folder / "learn.toml"), "-q"]
    assert cli(["learn", str(folder / "learn.toml"), "-o", str(folder / "r"), "-q"]) == 0
    before = {p.name: p.read_bytes() for p in (folder / "r").iterdir()}
    forget = ["--forget", str(folder / "forget.csv")]
    told = str(folder / "told.json")
    assert (
        cli(["unlearn", str(folder / "r"), *forget, *common, "-o", str(folder / "r2"), "--audit", "--json", told]) == 0
    )
    said = json.loads(Path(told).read_text())
    assert (said["road"], said["asked"], said["forgotten"], said["left"]) == ("exact", 3, 8, 232)
    assert said["audit"]["oracle"]["equal"] is True
    assert said["anchored"] == [{"data": "prefs", "rows": 16, "rules": ["agree"], "patches": []}]
    assert {p.name: p.read_bytes() for p in (folder / "r").iterdir()} == before
    child = load_artifact(folder / "r2")
    assert child.parent == load_artifact(folder / "r").digest
    whole = read_comparisons(folder / "pairs.parquet", STEP)
    judged = held_out(child, whole)
    assert not judged.fresh
    assert "WAS LEARNED FROM data of their name" in judged.why
    bytes_below = b"".join(p.read_bytes() for p in sorted(folder.glob("r2*/**/*")) if p.is_file())
    for source in whole.sources:  # a digest of all rows tells who knows all others
        assert source.table_digest.encode() not in bytes_below
        assert source.bytes_digest.encode() not in bytes_below
    # what was forgotten stays so, though the data file still holds it
    (folder / "more.csv").write_text("id\nperson 11\n")
    more = ["--forget", str(folder / "more.csv")]
    assert cli(["unlearn", str(folder / "r2"), *more, *common, "-o", str(folder / "r3")]) == 0
    table = pq.read_table(folder / "pairs.parquet")
    gone = pa.array(["person 3", "person 7", "person 11"])
    keep = pa.compute.invert(pa.compute.is_in(table["id"], value_set=gone))
    pq.write_table(table.filter(keep), folder / "pairs.parquet")
    clean = read_comparisons(folder / "pairs.parquet", STEP)
    named = [(s.name, s.table_digest, s.rows) for s in clean.sources]
    assert [(s.name, s.table_digest, s.rows) for s in load_artifact(folder / "r3").data] == named
    assert cli(["learn", str(folder / "learn.toml"), "-o", str(folder / "never"), "-q"]) == 0
    assert load_artifact(folder / "r3").tensors_bytes == load_artifact(folder / "never").tensors_bytes


def test_what_was_forgotten_stays_so_through_other_edits(tmp_path, capsys):
    folder = project(tmp_path, "preferences", SHARDS)
    rest = ["--config", str(folder / "learn.toml"), "--forget", str(folder / "more.csv")]
    (folder / "more.csv").write_text("id\nperson 11\nnobody\n")
    assert cli(["learn", str(folder / "learn.toml"), "-o", str(folder / "r"), "-q"]) == 0
    first = ["--config", str(folder / "learn.toml"), "--forget", str(folder / "forget.csv")]
    assert cli(["unlearn", str(folder / "r"), *first, "-o", str(folder / "r2"), "-q"]) == 0
    assert cli(["unlearn", str(folder / "r2"), *rest, "-o", str(folder / "straight"), "-q"]) == 0
    edited = load_artifact(folder / "r2").child(Edit("patch", "a rule, another", {}))
    save_artifact(edited, folder / "r3")
    capsys.readouterr()
    assert cli(["unlearn", str(folder / "r3"), *rest, "-o", str(folder / "r4")]) == 0
    said = capsys.readouterr().out
    assert "edits are gone with the old weights: a rule, another" in said
    assert "2 ids or rows asked for, of which 1 not among the data" in said
    assert "6 of 6 stages" not in said  # the training of r2 was found
    assert load_artifact(folder / "r4").tensors_bytes == load_artifact(folder / "straight").tensors_bytes
    assert (folder / "r4.forgotten.json").exists()
    away = folder / "away"
    away.mkdir()
    save_artifact(edited, away / "r3")
    assert cli(["unlearn", str(away / "r3"), *rest, "-o", str(folder / "r5")]) == 2
    assert "not at hand" in capsys.readouterr().err
    assert cli(["unlearn", str(away / "r3"), "--in", str(folder), *rest, "-o", str(folder / "r5"), "-q"]) == 0
    ledger = folder / "r2.forgotten.json"
    whole = ledger.read_bytes()
    ledger.write_bytes(Ledger().bytes())  # one that is well-formed, and knows of nobody
    for reward in ("r2", "r3"):
        assert cli(["unlearn", str(folder / reward), *rest, "-o", str(folder / "r6")]) == 2
        assert "names 0 ids or rows, and the reward was made to forget 2" in capsys.readouterr().err
    ledger.write_bytes(whole)
    ledger.unlink()
    assert cli(["unlearn", str(folder / "r3"), *rest, "-o", str(folder / "r6")]) == 2
    assert "would be learned again" in capsys.readouterr().err
    assert not list(folder.glob("r6*"))


def test_forgotten_rows_come_back_by_no_edit_of_the_line_unasked(tmp_path, capsys):
    folder = project(tmp_path, "preferences", SHARDS)
    config = ["--config", str(folder / "learn.toml"), "--forget", str(folder / "forget.csv"), "-q"]
    place = {name: str(folder / name) for name in ("r", "r2", "p", "p2", "x")}
    assert cli(["learn", str(folder / "learn.toml"), "-o", place["r"], "-q"]) == 0
    assert cli(["unlearn", place["r"], *config, "-o", place["r2"]]) == 0
    before, child = load_artifact(folder / "r"), load_artifact(folder / "r2")
    save_artifact(before.child(Edit("patch", "a rule", {})), folder / "p")
    save_artifact(child.child(Edit("patch", "another", {})), folder / "p2")
    capsys.readouterr()
    for command in (
        ["revert", place["r2"]],
        ["revert", place["p2"], "--edit", "1"],
        ["squash", place["p2"]],
        ["squash", place["p2"], "--count", "2"],
        ["merge", place["p"], place["p2"]],
        ["merge", place["p2"], place["p"]],
        ["merge", place["p"], place["r2"]],
    ):
        assert cli([*command, "-o", place["x"]]) == 2
        assert "made the reward forget rows" in capsys.readouterr().err
        assert not (folder / "x").exists()
    # a request that took no weight with it (all rows held out, say) is one all the same
    same = replace(before, parent=before.digest, edit=Edit("unlearn", "", {}))
    for line in ([same, before], [same.child(Edit("patch", "late", {})), same, before]):
        chain = Chain.of(line)
        for attempt in (
            lambda chain=chain: squash(chain, len(chain.steps) - 1),
            lambda chain=chain: revert(chain, len(chain.steps) - 2, certified_extremum),
            lambda chain=chain: merge(chain, Chain.of([load_artifact(folder / "p"), before]), certified_extremum),
        ):
            with pytest.raises(EditError) as caught:
                attempt()
            assert caught.value.code == "E38"
    assert cli(["revert", place["p2"], "-o", str(folder / "undone")]) == 0  # a newer edit goes as ever
    assert load_artifact(folder / "undone").digest == child.digest
    capsys.readouterr()
    assert cli(["revert", place["r2"], "--rows-come-back", "-o", place["x"]]) == 0
    assert "knows again" in capsys.readouterr().out
    assert load_artifact(folder / "x").digest == before.digest
    assert rw.revert(place["r2"], rows_come_back=True).artifact.digest == before.digest


def test_learning_on_top_does_not_bring_forgotten_rows_back(tmp_path, capsys):
    folder = project(tmp_path, "preferences", SHARDS)
    forget = ["--config", str(folder / "learn.toml"), "--forget", str(folder / "forget.csv"), "-q"]
    assert cli(["learn", str(folder / "learn.toml"), "-o", str(folder / "r"), "-q"]) == 0
    assert cli(["unlearn", str(folder / "r"), *forget, "-o", str(folder / "r2")]) == 0
    more = folder / "more.toml"
    more.write_text(
        '[data]\npreferences = "pairs.parquet"\nartifact = "r3"\n[features]\nspec = "s.rwd"\n'
        '[learner]\nname = "update"\n[learner.options]\nhidden = 4\nepochs = 2\n'
    )
    save_artifact(load_artifact(folder / "r2").child(Edit("patch", "a rule", {})), folder / "r3")
    capsys.readouterr()
    assert cli(["learn", str(more), "-o", str(folder / "u"), "-q"]) == 2
    assert "forget 8 of the rows" in capsys.readouterr().err
    table = pq.read_table(folder / "pairs.parquet")
    gone = pa.compute.is_in(table["id"], value_set=pa.array(["person 3", "person 7"]))
    pq.write_table(table.filter(pa.compute.invert(gone)), folder / "pairs.parquet")
    assert cli(["learn", str(more), "-o", str(folder / "u"), "-q"]) == 0
    # rows of the change itself are forgotten approximately, and the oracle of an audit is a change as well
    request = ["--config", str(more), "--forget", str(folder / "now.csv"), "--audit", "-o", str(folder / "u2")]
    (folder / "now.csv").write_text("id\nperson 11\n")
    capsys.readouterr()
    assert cli(["unlearn", str(folder / "u"), *request]) in (0, 1)
    assert "guarantee: none" in capsys.readouterr().out


def test_no_stage_that_saw_forgotten_rows_is_ever_in_the_childs_training_folder(tmp_path, monkeypatch):
    folder = project(tmp_path, "preferences", SHARDS)
    assert cli(["learn", str(folder / "learn.toml"), "-o", str(folder / "r"), "-q"]) == 0
    place = folder / "r.training/shard-1/slice-1"
    (place / ".state-1.safetensors.xyz.part").write_bytes(b"what a kill has left")
    before = {path.read_bytes() for path in (folder / "r.training").rglob("*.safetensors")}
    arguments = ["unlearn", str(folder / "r"), "--config", str(folder / "learn.toml"), "-o", str(folder / "r2"), "-q"]

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Shards, "_stage", killed)
        with pytest.raises(Killed):
            cli([*arguments, "--forget", str(folder / "forget.csv")])
    left = {path.read_bytes() for path in (folder / "r2.training").rglob("*.safetensors")}
    (folder / "other.csv").write_text("id\nperson 20\n")
    assert cli([*arguments, "--forget", str(folder / "other.csv")]) == 0  # another request, over what is left of that
    files = sorted(p.name for p in (folder / "r2.training").rglob("*") if p.is_file())
    assert files == sorted(["checkpoint.json"] * 6 + ["state-1.safetensors"] * 3 + ["state-2.safetensors"] * 3)
    after = {path.read_bytes() for path in (folder / "r2.training").rglob("*.safetensors")}
    assert left < before
    read = load_learn_config(folder / "learn.toml")
    data = read_comparisons(folder / "pairs.parquet", STEP)
    for gone, found in ((("person 3", "person 7"), left), (("person 20",), after - before)):
        assert found
        rest = taken(data, np.flatnonzero(~np.isin(data.ids, gone)))
        store = Checkpoints(tmp_path / f"never-{len(gone)}")
        Shards(Preferences(), read.shards).fit(rest, read.options, Run(3, checkpoints=store))
        assert found <= {path.read_bytes() for path in store.folder.rglob("*.safetensors")}


def test_strangers_that_were_learned_from_are_refused_before_anything_is_done(tmp_path, capsys):
    folder = project(tmp_path, "preferences", SHARDS)
    assert cli(["learn", str(folder / "learn.toml"), "-o", str(folder / "r"), "-q"]) == 0
    arguments = ["--config", str(folder / "learn.toml"), "--forget", str(folder / "forget.csv")]
    strangers = ["--strangers", str(folder / "pairs.parquet"), "-o", str(folder / "x")]
    assert cli(["unlearn", str(folder / "r"), *arguments, *strangers]) == 2
    assert "240 rows" in capsys.readouterr().err
    assert not list(folder.glob("x*"))


@pytest.mark.parametrize(("learner", "road"), [("head", "certified"), ("preferences", "approximate")])
def test_the_command_says_what_the_other_roads_are_worth(tmp_path, capsys, learner, road):
    options = "hidden = 6\nepochs = 4\n" if learner == "preferences" else "l2 = 5.0\n"
    folder = project(tmp_path, learner, f"[learner.options]\n{options}")
    config = str(folder / "learn.toml")
    assert cli(["learn", config, "-o", str(folder / "r"), "-q"]) == 0
    forget = ["--forget", str(folder / "forget.csv"), "--config", config]
    assert cli(["unlearn", str(folder / "r"), *forget, "-o", str(folder / "r2")]) == 0
    said = capsys.readouterr().out
    assert road in said
    assert ("guarantee: none" in said) == (road == "approximate")
    assert ("indistinguishable" in said) == (road == "certified")
    assert cli(["unlearn", str(folder / "r"), *forget, "-o", str(folder / "r3"), "--road", "exact"]) == 2


def test_bad_requests_are_refused_and_leave_nothing(tmp_path, capsys):
    folder = project(tmp_path, "preferences", SHARDS)
    config = str(folder / "learn.toml")
    assert cli(["learn", config, "-o", str(folder / "r"), "-q"]) == 0
    (folder / "nobody.csv").write_text("id\nnobody\n")
    (folder / "other.csv").write_text("name\nnobody\n")
    for file in ("nobody.csv", "other.csv", "missing.csv"):
        assert (
            cli(
                [
                    "unlearn",
                    str(folder / "r"),
                    "--forget",
                    str(folder / file),
                    "--config",
                    config,
                    "-o",
                    str(folder / "x"),
                ]
            )
            == 2
        )
        assert not (folder / "x").exists()
    assert not (folder / "x.forgotten.json").exists()
    other = folder / "other.toml"
    other.write_text((folder / "learn.toml").read_text().replace("hidden = 6", "hidden = 7"))
    arguments = ["unlearn", str(folder / "r"), "--forget", str(folder / "forget.csv"), "--config", str(other)]
    assert cli([*arguments, "-o", str(folder / "x")]) == 2
    assert "other hidden" in capsys.readouterr().err


def test_the_exact_road_states_its_guarantee(tmp_path):
    data, learner = pairs(200), Shards(Preferences(), ShardOptions(2, 1))
    run = Run(0, checkpoints=Checkpoints(tmp_path))
    artifact = learner.fit(data, replace(QUICK, epochs=1), run)
    done = exact.forget(
        artifact, data, part(data, contents(data)[:1], Ledger()), learner, replace(QUICK, epochs=1), run
    )
    assert (done.trained, done.stages) == (1, 2)
    assert done.artifact.edit.kind == "unlearn"
    assert "byte for byte" in done.artifact.edit.statement["guarantee"]
