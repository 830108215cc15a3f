"""Corrections that are built into a network: told by their nodes, and what holds of them by the way they are built."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import rewarden as rw
from rewarden.cli import run as cli
from rewarden.editor.built_in import Between, Less, beneath, corrections, moves, on_top, regions
from rewarden.editor.effect import effect
from rewarden.editor.methods.pairs import coupled
from rewarden.editor.patch import apply_patch
from rewarden.editor.reach import understood
from rewarden.editor.region import Bound, Polytope, Row
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.graph import AffineMap
from rewarden.reward.store import save_artifact
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.bind import bind_obligation
from rewarden.verifier.either import either_proof
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.falling import falls
from rewarden.verifier.inline import compile_program
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.scribe.settled import settled_proof
from rewarden.verifier.verdict import Reason
from tests.unit.test_methods import APART, HEAD, MODES, network, rows, with_modes

QUICK = VerifyOptions(budget=2_000, falsify_budget=1_000)
FEWER = HEAD + (  # four levels: a small envelope
    "must fewer:\n  forall a, b: Step varying lanes\n  given a.gap <= 4 [m] and a.lanes <= b.lanes\n"
    "  expect R(a) >= R(b)\n"
)
SLOWER = HEAD + (
    "must slower:\n  forall a, b: Step varying speed\n  given a.close and a.gap <= 4 [m] and a.speed <= b.speed\n"
    "  expect R(a) >= R(b)\n"
)
BOTH = "reward R(s: Step)\nreward Before(s: Step)\n"


@pytest.fixture(scope="module")
def parent() -> Artifact:
    return network(2, 4)


@pytest.fixture(scope="module")
def enveloped(parent: Artifact) -> Artifact:
    return mended(FEWER, "envelope", parent)


@pytest.fixture(scope="module")
def tilted(parent: Artifact) -> Artifact:
    return mended(SLOWER, "slope", parent)


def mended(text: str, method: str, artifact: Artifact) -> Artifact:
    child = rw.patch(parse_spec(text), method=method, verify_options=QUICK, R=artifact).artifact
    assert child is not None
    return child


def program_of(text: str, rule: str, **rewards: Artifact):
    spec = parse_spec(text)
    return compile_program(bind_obligation(spec, spec.obligation(rule), rewards), rewards)


# ── told by the nodes ──────────────────────────────────────────────────────────────────────────
def test_an_envelope_is_told_by_its_nodes(parent: Artifact, enveloped: Artifact) -> None:
    (held,) = on_top(enveloped, parent)
    assert isinstance(held, Between)
    x = rows(4000)
    old, new = forward(parent, x), forward(enveloped, x)
    acting = old != new
    assert acting.any()
    assert float(held.least) <= old[acting].min()
    assert old[acting].max() <= float(held.most)
    assert np.abs(old.astype(np.float64) - new).max() <= float(moves(enveloped, parent))
    assert moves(enveloped, parent) == held.most - held.least
    ((columns, edges),) = regions(enveloped, parent)
    assert [j for j in range(4) if columns[:, j].any()] == [1]  # the gap alone
    assert len(columns) == len(edges)


def test_a_slope_is_told_by_its_nodes(parent: Artifact, tilted: Artifact) -> None:
    (less,) = on_top(tilted, parent)
    assert isinstance(less, Less)
    x = rows(4000)
    taken = forward(parent, x).astype(np.float64) - forward(tilted, x)
    assert taken.min() >= -1e-5
    assert 0.5 * float(less.cap) <= taken.max() <= float(less.cap) * (1 + 1e-5)
    assert on_top(parent, parent) == []
    assert moves(parent, parent) == 0


def test_a_network_of_other_weights_is_no_correction(parent: Artifact, enveloped: Artifact) -> None:
    other = replace(parent, tensors={**parent.tensors, "c.b": parent.tensors["c.b"] + np.float32(0.5)})
    assert on_top(enveloped, other) is None
    assert moves(other, parent) is None
    assert regions(other, parent) is None
    (held,) = on_top(enveloped, parent)
    node = enveloped.graph.nodes[held.room]
    assert isinstance(node, AffineMap)
    room = node.weight
    negative = replace(enveloped, tensors={**enveloped.tensors, room: -enveloped.tensors[room]})
    assert list(corrections(negative)) == []  # a room that may be below 0 holds nothing


def test_the_report_knows_where_a_correction_acts_and_how_far(
    parent: Artifact, enveloped: Artifact, tilted: Artifact
) -> None:
    for child, text, share in ((enveloped, FEWER, Fraction(9, 20)), (tilted, SLOWER, Fraction(9, 40))):
        found = effect(parse_spec(text), parent, child, [])
        assert found.acts is not None
        assert abs(found.acts.most - share) < Fraction(1, 1000)
        assert found.most == moves(child, parent)
        assert found.attained <= float(found.most)
        assert "outside of" in found.statement["outside"]


def test_bounds_of_a_loaded_envelope_are_those_of_the_network_beneath(parent: Artifact, enveloped: Artifact) -> None:
    known = understood(certified_extremum)
    (held, node), *_ = corrections(enveloped)
    assert isinstance(held, Between)
    x = rows(2000)
    values = forward(enveloped, x)
    assert forward(beneath(enveloped, node), x).tobytes() == forward(parent, x).tobytes()
    box = tuple((c.lo, c.hi) for c in enveloped.columns)
    for sign, end in ((1, held.most), (-1, -held.least)):
        bound = known(enveloped, box, sign)
        assert (sign * values).max() <= float(bound)
        assert bound <= max(certified_extremum(parent, box, sign), end)
    row = Row((Fraction(0), Fraction(-2), Fraction(0), Fraction(0)), Fraction(-16))
    patch = Bound("far", "R", "floor", held.most + 1, False, (Polytope((row,), box),))
    capped, _ = apply_patch(enveloped, patch, known)
    assert (sign_up := known(capped, box, 1)) >= held.most + 1
    assert forward(capped, x).max() <= float(sign_up)


# ── by construction ────────────────────────────────────────────────────────────────────────────
def between(least: float, most: float) -> str:
    text = f"must inside:\n  forall s: Step\n  expect min(Before(s), ({least})) <= R(s) <= max(Before(s), ({most}))\n"
    return HEAD.replace("reward R(s: Step)\n", BOTH) + text


def test_what_lies_between_is_proved_by_signs_alone(parent: Artifact, enveloped: Artifact) -> None:
    (held,) = on_top(enveloped, parent)
    least, most = float(held.least) - 1e-3, float(held.most) + 1e-3
    proof = either_proof(program_of(between(least, most), "inside", R=enveloped, Before=parent))
    assert proof is not None
    assert all(node[0] in ("sign", "leaf") for goal in proof["goals"] for tree in goal for node in tree)
    for low, high in ((least + 0.01, most), (least, most - 0.01)):
        assert either_proof(program_of(between(low, high), "inside", R=enveloped, Before=parent)) is None


def test_a_patch_of_several_rows_on_an_envelope_is_certified(
    tmp_path: Path, parent: Artifact, enveloped: Artifact
) -> None:
    """Its distance is the largest of two rows, which count as at least 0 to the kernel, too."""
    (held,) = on_top(enveloped, parent)
    capped = "must capped:\n  forall s: Step\n  given s.gap >= 8 [m] and s.close\n  expect R(s) <= 0.1\n"
    pair = {"R": mended(HEAD + capped, "region", enveloped), "Before": parent}
    assert len(pair["R"].patches) == 1
    found = rw.verify(parse_spec(between(float(held.least) - 1e-3, float(held.most) + 1e-3)), QUICK, rewards=pair)
    assert found["inside"].verdict == "proved"
    assert not rw.certify(found, tmp_path / "certificate").refused


def test_signs_say_nothing_that_is_false(parent: Artifact) -> None:
    """Of rewards that are not made of each other."""
    other = network(3, 4)
    assert either_proof(program_of(between(-100, 100), "inside", R=other, Before=parent)) is None


def test_what_an_envelope_promises_and_its_rule_are_certified(
    tmp_path: Path, parent: Artifact, enveloped: Artifact
) -> None:
    for name, artifact in (("R", enveloped), ("Before", parent)):
        save_artifact(artifact, tmp_path / name)
    for name, text in (("rule", FEWER), ("edit", rw.promise(enveloped, parent))):
        (tmp_path / f"{name}.rwd").write_text(text)
        rewards = {symbol: tmp_path / symbol for symbol in (("R",) if name == "rule" else ("R", "Before"))}
        given = [part for symbol, place in rewards.items() for part in ("--reward", f"{symbol}={place}")]
        assert (
            cli(["certify", str(tmp_path / f"{name}.rwd"), *given, "-o", str(tmp_path / f"{name}.c"), "--quiet"]) == 0
        )
        checked = rw.check_certificate(tmp_path / f"{name}.c", rewards=rewards, spec=tmp_path / f"{name}.rwd")
        assert checked.accepted
        assert {claim.verdict for claim in checked.kernel.claims} == {"proved"}


def test_the_proof_of_an_envelope_is_one_leaf(enveloped: Artifact) -> None:
    proof = settled_proof(program_of(FEWER, "fewer", R=enveloped))
    assert proof is not None
    assert [[len(tree) for tree in goal] for goal in proof["goals"]] == [[1]]
    assert (
        settled_proof(program_of(FEWER.replace("a.lanes <= b.lanes", "b.lanes <= a.lanes"), "fewer", R=enveloped))
        is None
    )


def test_a_ceiling_on_an_envelope_keeps_its_rule(enveloped: Artifact) -> None:
    level = float(np.quantile(forward(enveloped, rows(4000)), 0.6))
    spec = parse_spec(FEWER + f"must low:\n  forall s: Step\n  given s.gap <= 3 [m]\n  expect R(s) <= {level:.6f}\n")
    done = rw.patch(spec, method="region", verify_options=QUICK, R=enveloped)
    assert [rule.rule for rule in done.before.rules if rule.verdict != "proved"] == ["low"]
    assert {rule.verdict for rule in done.after.rules} == {"proved"}
    assert done.after["fewer"].reason == Reason.FOLLOWED
    assert done.after["fewer"].proof is None


def test_slopes_settle_what_moves_together(parent: Artifact, tilted: Artifact) -> None:
    spec = parse_spec(SLOWER)
    for artifact, expected in ((parent, False), (tilted, True)):
        assert falls(bind_obligation(spec, spec.obligation("slower"), {"R": artifact}), {"R": artifact}) == expected
    for text in (
        SLOWER.replace("a.speed <= b.speed", "b.speed <= a.speed"),
        SLOWER.replace(" and a.speed <= b.speed", ""),
        SLOWER.replace("R(a) >= R(b)", "R(a) >= R(b) + 0.1"),
        SLOWER.replace("R(a) >= R(b)", "R(a) > R(b)"),
    ):
        spec = parse_spec(text)
        assert not falls(bind_obligation(spec, spec.obligation("slower"), {"R": tilted}), {"R": tilted})


# ── forms ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("varying", "given", "signs", "shifts"),
    [
        ("speed, mode", "a.mode == eco and b.mode == eco and a.speed <= b.speed", {0: 1}, set()),
        ("mode", "a.mode == eco and b.mode == boost", {3: -1, 4: 1}, {3, 4}),
    ],
)
def test_of_an_enums_columns_just_one_is_1(varying: str, given: str, signs: dict[int, int], shifts: set[int]) -> None:
    text = f"must r:\n  forall a, b: Step varying {varying}\n  given {given} and a.gap <= 4\n  expect R(a) >= R(b)\n"
    spec = parse_spec(MODES + text)
    found = coupled(bind_obligation(spec, spec.obligation("r"), {"R": with_modes()}), "r", "R", Fraction(1, 20))
    assert found.signs == signs
    assert set(found.shifts) == shifts


def test_a_threshold_makes_room_for_an_earlier_patch(parent: Artifact) -> None:
    """Some threshold fits beside a floor on the worse record's region, if not the one that moves the reward least."""
    spec = parse_spec(APART)
    box = tuple((c.lo, c.hi) for c in parent.columns)
    x = rows(4000)
    high = Fraction(float(forward(parent, x).max()))
    low = Row((Fraction(0), Fraction(2), Fraction(0), Fraction(0)), Fraction(2))
    floored, _ = apply_patch(
        parent, Bound("low", "R", "floor", high, False, (Polytope((low,), box),)), certified_extremum
    )
    result = rw.patch(spec, method="threshold", verify_options=QUICK, R=floored)
    assert result.before["safe_pays"].verdict == "violated"
    assert result.after["safe_pays"].verdict == "proved"
    assert result.artifact.patches[1].kind == "floor"
    ceiling = Row((Fraction(0), Fraction(-2), Fraction(0), Fraction(0)), Fraction(-16))
    stuck, _ = apply_patch(
        floored, Bound("top", "R", "ceiling", high - 1, False, (Polytope((ceiling,), box),)), certified_extremum
    )
    with pytest.raises(EditError, match="E34"):
        rw.patch(spec, method="threshold", verify_options=QUICK, R=stuck)
