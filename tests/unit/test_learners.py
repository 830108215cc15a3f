"""Energy, labels, updates, corrections, ensembles, and networks that are monotone by construction."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rewarden as rw
from rewarden.learning import certified_range
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.exact import evaluate_row
from rewarden.reward.figures import auc
from rewarden.reward.graph import AffineMap, Exp, Product, Relu, Scale, Softplus, Square
from rewarden.reward.learners import labels
from rewarden.reward.learners.corrections import Corrections
from rewarden.reward.learners.energy import Energy
from rewarden.reward.learners.ensemble import Ensemble
from rewarden.reward.learners.interface import Comparisons, Demonstrations, Judgements, Revision, Run
from rewarden.reward.learners.labels import Labels
from rewarden.reward.learners.options import (
    CorrectionOptions,
    EnergyOptions,
    EnsembleOptions,
    LabelOptions,
    PaperOptions,
    PreferenceOptions,
    UpdateOptions,
)
from rewarden.reward.learners.paper import Paper
from rewarden.reward.learners.preferences import Preferences
from rewarden.reward.learners.registry import REGISTRY
from rewarden.reward.learners.sampling import Mixed, Uniform
from rewarden.reward.learners.update import Update
from rewarden.spec_lang.errors import ArtifactError, BindingError, DataError, UsageError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.options import VerifyOptions
from tests.reference.small_data import (
    RECORD,
    SMALL,
    STEP,
    comparisons,
    demonstrations,
    judgements,
    reward,
    rows,
    statements,
    truth,
)

KINDS = RecordType(
    "Kinds",
    (
        Feature("speed", "real", Fraction(-2), Fraction(3)),
        Feature("lane", "int", Fraction(4), Fraction(6)),
        Feature("lead", "bool", Fraction(0), Fraction(1)),
        Feature("zone", "enum", Fraction(0), Fraction(1), cases=("aisle", "dock", "gate")),
        Feature("e", "real", Fraction(-1), Fraction(1), size=2),
    ),
)
SPEC = """spec small v1
features Step {
  speed  : real [m/s] in 0 .. 40
  offset : real [m]   in -2 .. 2
  lead   : bool
}
reward R(s: Step)
reward Base(s: Step)
param most: real = 1
must close_to_base:
  forall s: Step
  expect |R(s) - Base(s)| <= most
must faster_pays:
  forall a, b: Step varying speed
  given a.speed <= b.speed
  expect R(b) >= R(a)
"""


def scores(artifact: Artifact, at: np.ndarray) -> np.ndarray:
    return forward(artifact, at.astype(np.float32)).astype(np.float64)


@pytest.mark.parametrize("name", SMALL)
def test_every_learner_gives_the_same_bytes_twice_and_says_how_it_learned(name: str) -> None:
    data, options = SMALL[name]
    one = REGISTRY[name].learner().fit(data, options, Run(5))
    assert REGISTRY[name].learner().fit(data, options, Run(5)).digest == one.digest
    assert one.learner is not None
    assert one.learner.name == name == REGISTRY[name].learner().name
    assert one.learner.seed == 5
    assert one.learner.record
    expected = {"autoencoders": "exact", "paper": "exact", "energy": "shift", "preferences": "shift", "labels": "exact"}
    assert one.identified == expected.get(name, reward().identified)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "corrections"])
def test_one_row_is_too_few(name: str) -> None:
    data, options = SMALL[name]
    match data:
        case Comparisons():
            data = replace(data, segments=data.segments[:1])
        case Revision():
            data = replace(data, answers=replace(data.answers, segments=data.answers.segments[:1]))
        case Judgements():
            data = replace(data, rows=data.rows[:1], labels=data.labels[:1])
        case Demonstrations():
            data = replace(data, rows=data.rows[:1])
    with pytest.raises(DataError, match=r"too few .* to learn from") as caught:
        REGISTRY[name].learner().fit(data, options, Run(0))
    assert caught.value.code == "D20"


# ── energy ─────────────────────────────────────────────────────────────────────────────────────
def test_energy_is_high_where_the_demonstrations_are() -> None:
    artifact = Energy().fit(demonstrations(400), EnergyOptions(hidden=12, epochs=20), Run(1))
    good, made = scores(artifact, demonstrations(400).rows), scores(artifact, rows(1000, 9))
    assert auc(good, made) > 0.85
    assert abs(good.mean()) < 0.2


def test_made_up_records_are_of_the_declared_type() -> None:
    made = Uniform.of(KINDS, torch.float32).draw(4000, torch.Generator().manual_seed(1)).double()
    assert made[:, 0].min() < -1.99
    assert -2 <= made[:, 0].min() <= made[:, 0].max() <= 3
    assert set(made[:, 1].tolist()) == {4.0, 5.0, 6.0}
    assert set(made[:, 2].tolist()) == {0.0, 1.0}
    assert set(map(tuple, made[:, 3:6].tolist())) == {(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)}
    shares = [*(made[:, 1] == 4).double().mean(0, keepdim=True), *made[:, 3:6].mean(0)]
    assert all(abs(float(share) - 1 / 3) < 0.04 for share in shares)
    mixed = Mixed.of(made, KINDS).draw(4000, torch.Generator().manual_seed(2))
    assert set(mixed[:, 0].tolist()) <= set(made[:, 0].tolist())
    assert (mixed[:, 3:6].sum(dim=1) == 1).all()
    assert set(map(tuple, mixed[:, 6:].tolist())) <= set(map(tuple, made[:, 6:].tolist()))  # a vector is one feature
    apart = set(map(tuple, mixed[:, [0, 6]].tolist())) & set(map(tuple, made[:, [0, 6]].tolist()))
    assert len(apart) < 100


def test_energy_takes_no_holes() -> None:
    data = demonstrations()
    holes = data.rows.copy()
    holes[3, 1] = np.nan
    with pytest.raises(DataError, match="row 4") as caught:
        Energy().fit(Demonstrations(RECORD, holes), EnergyOptions(), Run(0))
    assert caught.value.code == "D05"


# ── the published form ─────────────────────────────────────────────────────────────────────────
def test_the_published_form_is_what_it_says(tmp_path: Path) -> None:
    """High for demonstrations, smooth, and bounded through its smooth operators."""
    artifact = Paper().fit(demonstrations(400), PaperOptions(experts=2, hidden=4, code=1, epochs=20), Run(1))
    good, made = scores(artifact, demonstrations(400).rows), scores(artifact, rows(1000, 9))
    assert auc(good, made) > 0.8
    assert good.min() >= 0.0
    assert good.max() <= 1.0
    assert {Exp, Softplus, Square, Product} <= {type(node) for node in artifact.graph.nodes}
    assert artifact.learner is not None
    assert float(artifact.learner.record["mean reward, held out"]) == pytest.approx(good.mean(), abs=0.15)
    rule = "must edge:\n  forall s: Step\n  given |s.offset| >= 1.9 [m] and s.speed <= 1 [m/s]\n  expect R(s) <= 0.9\n"
    (tmp_path / "small.rwd").write_text(SPEC.split("param")[0] + rule)
    options = VerifyOptions(engine="bounds", budget=256, falsify_budget=64)
    result = rw.verify(rw.load_spec(tmp_path / "small.rwd"), options, R=artifact)
    assert result["edge"].verdict.value == "proved"


# ── labels ─────────────────────────────────────────────────────────────────────────────────────
def test_scalar_labels_are_learned_in_their_own_unit() -> None:
    data = judgements(600)
    artifact = Labels().fit(replace(data, labels=1000 + 50 * data.labels), LabelOptions(hidden=16, epochs=60), Run(1))
    fresh = rows(500, 8)
    error = np.sqrt(np.mean((scores(artifact, fresh) - 1000 - 50 * truth(fresh)) ** 2))
    assert error < 0.25 * 50 * truth(fresh).std()
    assert artifact.identified == "exact"


def test_labels_far_from_0_and_close_together() -> None:
    """The last bias was rounded to 14 bits: a reward of labels near 1,000,031 was off by 31."""
    data = judgements(200)
    artifact = Labels().fit(
        replace(data, labels=1_000_031 + data.labels), LabelOptions(hidden=16, epochs=60, patience=60), Run(1)
    )
    fresh = rows(500, 8)
    assert np.abs(np.mean(scores(artifact, fresh) - 1_000_031 - truth(fresh))) < 0.5 * truth(fresh).std()


def test_a_reward_that_tells_nothing_apart_orders_no_labels() -> None:
    """Ties counted as right where the first label is the lower one: half of them."""
    flat = labels.Network((torch.zeros((1, 2), dtype=torch.float64),), (torch.zeros(1, dtype=torch.float64),))
    held = labels._Judged(torch.randn((20, 2), dtype=torch.float64), torch.arange(20.0).double(), torch.ones(20))
    model = SimpleNamespace(options=LabelOptions(), scale=labels._Scale())
    found = labels._record(flat, model, held, (1, 1, 20), labels.Trained(1, 1, 0.0))  # type: ignore[arg-type]
    assert found["order of labels, held out"].startswith("0.0000")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_grade_far_from_its_reward_still_pulls(dtype: torch.dtype) -> None:
    scale = labels._Scale(steps=torch.tensor([-1.0, 0.5, 0.2], dtype=dtype))
    near = torch.linspace(-3, 3, 24, dtype=dtype)
    grades = torch.arange(24) % 4
    inner = torch.sigmoid(scale.thresholds().double().unsqueeze(1) - near.double())
    below = torch.cat([torch.zeros(1, 24), inner, torch.ones(1, 24)]).diff(dim=0)
    found = labels._of_grades(scale, near, grades)
    torch.testing.assert_close(found.double(), -below.gather(0, grades.unsqueeze(0))[0].log(), rtol=1e-4, atol=1e-4)
    far = torch.tensor([-60.0, 60.0, -60.0, 60.0], dtype=dtype, requires_grad=True)
    labels._of_grades(scale, far, torch.tensor([3, 0, 1, 2])).sum().backward()
    assert far.grad is not None
    torch.testing.assert_close(far.grad, torch.tensor([-1.0, 1.0, -1.0, 1.0], dtype=dtype))


def test_ordinal_grades_are_learned_up_to_a_shift() -> None:
    data = judgements(800)
    grades = np.digitize(data.labels, [-2.5, -1.0, 0.0]) * 10 + 3  # the grades' own numbers mean nothing
    artifact = Labels().fit(
        replace(data, labels=grades.astype(float)), LabelOptions(kind="ordinal", hidden=16, epochs=60), Run(1)
    )
    fresh = rows(500, 8)
    assert np.corrcoef(scores(artifact, fresh), truth(fresh))[0, 1] > 0.9
    assert artifact.identified == "shift"
    assert artifact.learner is not None
    assert float(artifact.learner.record["order of labels, held out"].split()[0]) > 0.8


@pytest.mark.parametrize(
    "labels, kind, code, words",
    [
        (np.full(300, 2.0), "scalar", "D22", "all labels are 2"),
        (np.where(np.arange(300) == 7, np.nan, 1.0), "scalar", "D05", "row 8"),
        (np.arange(300) / 2, "ordinal", "D04", "row 2: the label 0.5 is no grade"),
        (np.arange(300.0), "ordinal", "D04", "more than 100"),
    ],
)
def test_labels_that_say_nothing_are_refused(labels: np.ndarray, kind: str, code: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        Labels().fit(replace(judgements(), labels=labels), LabelOptions(kind=kind), Run(0))
    assert caught.value.code == code


def test_judgements_that_differ_are_counted() -> None:
    data = judgements(60)
    twice = Judgements(RECORD, np.concatenate([data.rows] * 2), np.concatenate([data.labels, data.labels + 1]))
    artifact = Labels().fit(twice, LabelOptions(epochs=2), Run(0))
    assert artifact.learner is not None
    assert artifact.learner.record["records with judgements that differ"] == "60"


# ── updates ────────────────────────────────────────────────────────────────────────────────────
def against_speed(answers: int = 300) -> Comparisons:
    """New answers: slower is better."""
    segments = rows(answers * 2, 21).reshape(answers, 2, 1, STEP.width)
    order = np.argsort(segments[:, :, 0, 0], axis=1)
    return Comparisons(RECORD, np.take_along_axis(segments, order[:, :, None, None], axis=1))


@pytest.fixture(scope="module")
def base() -> Artifact:
    return Labels().fit(judgements(), LabelOptions(hidden=6, epochs=20), Run(1))


def test_an_update_answers_better_and_moves_no_farther_than_it_says(base: Artifact, tmp_path: Path) -> None:
    options = UpdateOptions(most=0.5, anchor=0.1, hidden=6, epochs=20, batch=64)
    child = Update().fit(Revision(base, against_speed()), options, Run(1, reach=certified_range))
    assert child.parent == base.digest
    assert child.edit is not None
    assert child.learner is not None
    before, after = (float(child.learner.record[f"accuracy, held out{x}"].split()[0]) for x in (", before", ""))
    assert after > before + 0.1
    said = child.edit.statement["moved at most, anywhere in the domain"]
    bound = Fraction(said.split()[0])
    assert bound <= Fraction(1, 2)
    for row in rows(200, 33):
        assert abs(evaluate_row(child, row) - evaluate_row(base, row)) <= bound
    (tmp_path / "small.rwd").write_text(SPEC)
    spec = rw.load_spec(tmp_path / "small.rwd", params={"most": bound})
    result = rw.verify(spec, rules=["close_to_base"], R=child, Base=base)
    assert result["close_to_base"].verdict.value == "proved"


@pytest.mark.parametrize("most", [0.1, 0.3, 0.7, 1e-3])
def test_a_change_at_its_clip_is_within_what_was_asked_for_and_said(base: Artifact, most: float) -> None:
    """0.1 has no binary form: the nearest binary32 is larger."""
    options = UpdateOptions(most=most, anchor=0.0, hidden=6, epochs=15, batch=64, learning_rate=0.05)
    child = Update().fit(Revision(base, against_speed()), options, Run(1))
    assert child.edit is not None
    said = Fraction(child.edit.statement["moved at most, anywhere in the domain"].split()[0])
    moved = max(abs(evaluate_row(child, row) - evaluate_row(base, row)) for row in rows(60, 3))
    assert 0.9 * Fraction(most) < moved <= Fraction(most)
    assert moved <= said


def test_a_stronger_anchor_moves_less(base: Artifact) -> None:
    def moved(anchor: float) -> float:
        options = UpdateOptions(anchor=anchor, hidden=6, epochs=20, batch=64)
        child = Update().fit(Revision(base, against_speed()), options, Run(1))
        return float(np.abs(scores(child, rows(500, 3)) - scores(base, rows(500, 3))).mean())

    assert moved(100.0) < moved(0.1) / 2


def test_an_update_of_an_update_of_a_patched_reward(base: Artifact, tmp_path: Path) -> None:
    """Nothing of the reward below is touched: patches stay on top, names do not collide."""
    (tmp_path / "small.rwd").write_text(
        SPEC.split("param")[0] + "must capped:\n  forall s: Step\n  given s.speed >= 35 [m/s]\n  expect R(s) <= -1\n"
    )
    spec = rw.load_spec(tmp_path / "small.rwd")
    patched = rw.patch(spec, R=base).artifact
    assert patched is not None
    options = UpdateOptions(most=0.25, hidden=4, epochs=3)
    once = Update().fit(Revision(patched, against_speed()), options, Run(1))
    twice = Update().fit(Revision(once, against_speed()), options, Run(2))
    assert twice.patches == patched.patches
    for row in rows(60, 4):
        assert abs(evaluate_row(once, row) - evaluate_row(patched, row)) <= Fraction(1, 4)
        assert abs(evaluate_row(twice, row) - evaluate_row(patched, row)) <= Fraction(1, 2)
    assert rw.verify(spec, R=twice)["capped"].verdict.value == "proved"


def test_figures_of_a_patched_reward_are_of_what_is_deployed(base: Artifact, tmp_path: Path) -> None:
    """Records were told of the reward under its patches, which nobody deploys."""
    (tmp_path / "small.rwd").write_text(
        SPEC.split("param")[0] + "must capped:\n  forall s: Step\n  given s.speed >= 35 [m/s]\n  expect R(s) <= -30\n"
    )
    patched = rw.patch(rw.load_spec(tmp_path / "small.rwd"), R=base).artifact
    assert patched is not None
    some = rows(4000, 6)
    slow, fast = (some[kept] for kept in (some[:, 0] < 30, some[:, 0] >= 35))
    low, high = (np.argsort(scores(base, part)) for part in (slow, fast))
    slow, fast = slow[low[:40]], fast[high[-40:]]
    assert (scores(base, slow) < scores(base, fast)).all()  # only by the patch is slow worth more than fast
    assert (scores(patched, slow) > scores(patched, fast)).all()
    answers = Comparisons(RECORD, np.stack([slow, fast], axis=1)[:, :, None, :])
    child = Update().fit(Revision(patched, answers), UpdateOptions(most=0.01, hidden=4, epochs=2), Run(1))
    assert child.learner is not None
    assert child.learner.record["accuracy, held out, before"].startswith("1.0000")
    assert child.learner.record["accuracy, held out"].startswith("1.0000")
    told = replace(answers, segments=answers.segments[:5])
    child = Corrections().fit(Revision(patched, told), CorrectionOptions(most=0.5), Run(1))
    assert child.learner is not None
    assert child.learner.record["statements"].startswith("5, of which 5 held before")


def test_answers_about_other_features_are_refused(base: Artifact) -> None:
    other = replace(RECORD, type=RecordType("Step", STEP.features[:2]))
    answers = replace(against_speed(), record=other, segments=against_speed().segments[..., :2])
    with pytest.raises(BindingError) as caught:
        Update().fit(Revision(base, answers), UpdateOptions(), Run(0))
    assert caught.value.code == "B02"


def test_a_reward_of_two_records_is_not_changed(base: Artifact) -> None:
    two = replace(RECORD, param="t")
    weight = {"w": np.ones((1, 6), np.float32), "b": np.zeros(1, np.float32)}
    from rewarden.reward.graph import AffineMap, Graph, Input

    artifact = Artifact((RECORD, two), Graph((Input(), AffineMap(0, "w", "b")), 1), weight, "exact")
    with pytest.raises(ArtifactError, match="2 records"):
        Update().fit(Revision(artifact, against_speed()), UpdateOptions(), Run(0))


# ── corrections ────────────────────────────────────────────────────────────────────────────────
def test_statements_hold_afterwards_and_the_rest_hardly_moves(base: Artifact) -> None:
    told = statements()
    flat = told.segments.reshape(-1, STEP.width)
    assert (np.diff(scores(base, flat).reshape(-1, 2), axis=1) > 0).any()  # the worse is worth more, at first
    child = Corrections().fit(Revision(base, told), CorrectionOptions(most=6.0), Run(1, reach=certified_range))
    better, worse = scores(child, flat).reshape(-1, 2).T
    assert (better >= worse + 0.01).all()
    assert child.edit is not None
    bound = float(child.edit.statement["moved at most, anywhere in the domain"].split()[0])
    moved = np.abs(scores(child, rows(2000, 5)) - scores(base, rows(2000, 5)))
    assert moved.max() <= bound <= 6.0
    assert np.median(moved) < 0.6 * moved.max()


def test_statements_in_a_circle_are_refused_by_their_rows(base: Artifact) -> None:
    a, b, c = rows(3, 1)[:, None, :]
    circle = Comparisons(RECORD, np.stack([np.stack(p) for p in ((a, b), (b, c), (c, a))]))
    with pytest.raises(DataError, match="statements 1, 2, 3 contradict") as caught:
        Corrections().fit(Revision(base, circle), CorrectionOptions(), Run(0))
    assert caught.value.code == "D26"


def test_what_cannot_be_made_true_is_said(base: Artifact) -> None:
    options = CorrectionOptions(most=0.02, rounds=2, epochs=20)
    with pytest.raises(DataError, match="after 2 rounds") as caught:
        Corrections().fit(Revision(base, statements()), options, Run(0))
    assert caught.value.code == "D26"
    same = replace(statements(), segments=np.repeat(statements().segments[:, :1], 2, axis=1))
    with pytest.raises(DataError, match="statement 1 compares a record with itself"):
        Corrections().fit(Revision(base, same), CorrectionOptions(), Run(0))


# ── ensembles ──────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("combine, identified", [("mean", "shift"), ("min", "shift"), ("disagreement", "exact")])
def test_an_ensemble_is_what_its_members_make_of_it(combine: str, identified: str) -> None:
    data, options = SMALL["preferences"]
    ensemble = Ensemble(Preferences(), EnsembleOptions(3, combine)).fit(data, options, Run(7))  # type: ignore[arg-type]
    members = [Preferences().fit(comparisons(), options, Run(7 * 1_000_003 + k)) for k in range(3)]  # type: ignore[arg-type]
    each = np.stack([scores(member, rows(200, 1)) for member in members])
    expected = {"mean": each.mean(axis=0), "min": each.min(axis=0), "disagreement": np.ptp(each, axis=0)}[combine]
    assert np.allclose(scores(ensemble, rows(200, 1)), expected, atol=1e-5)
    assert ensemble.identified == identified
    assert ensemble.learner is not None
    assert ensemble.learner.name == "ensemble of preferences"
    assert "member 3, accuracy, held out" in ensemble.learner.record
    assert "in the mean" in ensemble.learner.record["disagreement on the data"]


def test_an_ensemble_of_autoencoders_keeps_their_range() -> None:
    data, options = SMALL["autoencoders"]
    ensemble = Ensemble(REGISTRY["autoencoders"].learner(), EnsembleOptions(2, "min")).fit(data, options, Run(0))
    found = scores(ensemble, rows(300, 2))
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    assert ensemble.identified == "exact"


def test_an_ensemble_of_changes_makes_no_sense(base: Artifact) -> None:
    with pytest.raises(UsageError, match="changes an artifact"):
        Ensemble(Update(), EnsembleOptions()).fit(Revision(base, against_speed()), UpdateOptions(), Run(0))
    for bad in ({"members": 1}, {"members": 65}, {"combine": "median"}):
        with pytest.raises(UsageError):
            EnsembleOptions(**bad)  # type: ignore[arg-type]


# ── monotone ───────────────────────────────────────────────────────────────────────────────────
UP_AND_DOWN = (("lead", "down"), ("speed", "up"))


@settings(max_examples=8)
@given(
    st.integers(1, 3), st.integers(1, 9), st.integers(0, 2**20), st.sampled_from(["preferences", "labels", "energy"])
)
def test_monotone_features_are_monotone_whatever_the_data_say(layers: int, hidden: int, seed: int, name: str) -> None:
    """The data say the opposite: less speed is better."""
    shape = {"hidden": hidden, "layers": layers, "epochs": 3, "monotone": UP_AND_DOWN}
    data, options = {
        "preferences": (against_speed(), PreferenceOptions(**shape)),  # type: ignore[arg-type]
        "labels": (replace(judgements(), labels=-judgements().labels), LabelOptions(**shape)),  # type: ignore[arg-type]
        "energy": (demonstrations(), EnergyOptions(**shape, contrasts=2)),  # type: ignore[arg-type]
    }[name]
    artifact = REGISTRY[name].learner().fit(data, options, Run(seed))
    at = rows(60, seed)
    faster, led = at.copy(), at.copy()
    faster[:, 0] = np.minimum(40.0, at[:, 0] + np.linspace(0, 20, 60))
    led[:, 2] = 1.0
    for row, quick, behind in zip(at, faster, led, strict=True):
        assert evaluate_row(artifact, quick) >= evaluate_row(artifact, row)
        assert evaluate_row(artifact, behind) <= evaluate_row(artifact, row)


@pytest.mark.parametrize("name", ["preferences", "labels", "energy"])
@pytest.mark.parametrize(("hidden", "layers"), [(1, 1), (9, 2), (7, 3)])
def test_what_is_stored_is_monotone_by_its_signs(name: str, hidden: int, layers: int) -> None:
    """Exactly, for all records: a step up in the feature is carried through every layer as an interval of differences;
    relu(x + d) − relu(x) lies between min(0, d) and max(0, d)."""
    data, options = SMALL[name]
    chosen = replace(options, monotone=(("speed", "up"), ("offset", "down")), hidden=hidden, layers=layers, epochs=2)  # type: ignore[call-arg]
    artifact = REGISTRY[name].learner().fit(data, chosen, Run(1))
    for column, step in ((0, 1.0), (1, -1.0)):
        low, high = np.zeros(3), np.zeros(3)
        (high if step > 0 else low)[column] = step
        differences = [(low, high)]
        for node in artifact.graph.nodes[1:]:
            low, high = differences[node.source]  # type: ignore[union-attr]
            match node:
                case Scale():
                    differences.append((low * artifact.tensors[node.scale], high * artifact.tensors[node.scale]))
                case AffineMap():
                    weight = artifact.tensors[node.weight].astype(np.float64)
                    up, down = np.maximum(weight, 0), np.minimum(weight, 0)
                    differences.append((up @ low + down @ high, up @ high + down @ low))
                case Relu():
                    differences.append((np.minimum(low, 0), np.maximum(high, 0)))
                case _:
                    pytest.fail(f"{node} is not expected here")
        assert differences[artifact.graph.output][0] >= 0


def test_a_monotone_reward_learns_what_is_not_convex() -> None:
    """A step up along speed is neither convex nor concave; the distance from the middle is free."""
    at = rows(1500, 2)
    labels = np.clip((at[:, 0] - 15) / 5, 0, 1) * 3 - np.abs(at[:, 1])
    options = LabelOptions(hidden=18, epochs=80, monotone=(("speed", "up"),), smoothness=0.0)
    artifact = Labels().fit(Judgements(RECORD, at, labels), options, Run(1))
    fresh = rows(500, 3)
    wanted = np.clip((fresh[:, 0] - 15) / 5, 0, 1) * 3 - np.abs(fresh[:, 1])
    assert np.sqrt(np.mean((scores(artifact, fresh) - wanted) ** 2)) < 0.25
    assert artifact.learner is not None
    assert artifact.learner.record["monotone by construction"] == "speed up"


def test_the_verifier_proves_what_was_declared(tmp_path: Path) -> None:
    options = LabelOptions(hidden=4, layers=1, epochs=20, monotone=(("speed", "up"),))
    artifact = Labels().fit(judgements(), options, Run(1))
    (tmp_path / "small.rwd").write_text(SPEC)
    spec = rw.load_spec(tmp_path / "small.rwd")
    assert rw.verify(spec, rules=["faster_pays"], R=artifact)["faster_pays"].verdict.value == "proved"


@pytest.mark.parametrize(
    "directions, words", [((("spede", "up"),), "no feature 'spede'"), ((("speed", "on"),), "no dir")]
)
def test_directions_that_make_no_sense_are_refused(directions: tuple[tuple[str, str], ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Labels().fit(judgements(), LabelOptions(monotone=directions), Run(0))
