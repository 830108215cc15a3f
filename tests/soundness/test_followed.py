"""Patches that keep a rule about two records that move together: what is said of them holds at every pair."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

import rewarden as rw
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.graph import AffineMap, Graph, Input, Patch, Relu
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.bind import bind_obligation
from rewarden.verifier.falling import beneath
from rewarden.verifier.scribe.late import with_proof
from rewarden.verifier.verdict import Reason

GRID = RecordType("Grid", tuple(Feature(name, "int", Fraction(-3), Fraction(3)) for name in ("x", "y")))
RULE = """spec s v1
features Grid {{ x: int in -3 .. 3  y: int in -3 .. 3 }}
reward R(s: Grid)
must falls:
  forall a, b: Grid varying x
  given a.x <= b.x{more}
  expect R(a) {than} R(b){least}
"""
POINTS = np.array(list(product(range(-3, 4), repeat=2)), np.float32)


def falling(patches: list[tuple[str, list[list[float]], list[float], float, float, float]]) -> Artifact:
    """R = −x, and on top (kind, rows, offsets, level, slope, gate)."""
    tensors, made = {"w": np.array([[-1, 0]], np.float32), "b": np.zeros(1, np.float32)}, list[Patch]()
    for number, (kind, *values, gate) in enumerate(patches):
        names = {part: f"p{number}.{part}" for part in ("rows", "offsets", "level", "slope", "delta", "gate")}
        rows, offsets, level, slope = values
        parts = (rows, offsets, [level], [slope], [0.25], [gate])
        tensors |= {names[part]: np.array(value, np.float32) for part, value in zip(names, parts, strict=True)}
        made.append(Patch(kind=kind, rule="p", **names))
    return Artifact(
        (RewardRecord("s", GRID),), Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact", patches=tuple(made)
    )


def asked(artifact: Artifact, text: str) -> bool:
    """Whether the patches are said to keep the rule."""
    spec = parse_spec(text)
    return beneath(bind_obligation(spec, spec.obligation("falls"), {"R": artifact}), {"R": artifact}) is not None


def holds(artifact: Artifact, least: int, *, strict: bool, low: int) -> bool:
    """Of all pairs of the grid with y >= low; these values are exact in binary32."""
    value = {tuple(point): value for point, value in zip(POINTS.tolist(), forward(artifact, POINTS), strict=True)}
    pairs = [(value[x, y], value[z, y]) for x, y in value for z in range(-3, 4) if x <= z and y >= low]
    return all(one > other + least if strict else one >= other + least for one, other in pairs)


@pytest.mark.parametrize("seed", range(2))
def test_patches_that_follow_a_rule_keep_it_at_every_pair(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept = lost = moved = 0
    for _ in range(80):
        patches = []
        for _ in range(rng.integers(1, 3)):
            rows = (rng.integers(-2, 3, (2, 2)) / 2).tolist()
            level, slope = float(rng.integers(-3, 4)), float(rng.integers(0, 5) / 2)
            offsets = (rng.integers(-4, 5, 2) / 2).tolist()
            patches.append(
                (str(rng.choice(["ceiling", "floor"])), rows, offsets, level, slope, float(rng.integers(1, 4)))
            )
        artifact = falling(patches)
        low, (least, strict) = int(rng.choice([-3, 1])), [(0, False), (-1, False), (-1, True)][rng.integers(3)]
        text = RULE.format(
            more="" if low == -3 else f" and a.y >= {low}", than=">" if strict else ">=", least=f" - {-least}"
        )
        if asked(artifact, text):
            assert holds(artifact, least, strict=strict, low=low)
            kept += 1
            moved += bool((forward(artifact, POINTS) != -POINTS[:, 0]).any())
        else:
            lost += not holds(artifact, least, strict=strict, low=low)
    assert min(kept, lost, moved) >= 5  # of each there is something to see


def test_each_way_in_which_a_patch_may_harm_is_seen() -> None:
    text = RULE.format(more="", than=">=", least="")
    upper, lower = [[-1.0, 0.0]], [[1.0, 0.0]]  # acts above, and below, some x
    cases = [
        (("ceiling", upper, [0.0], -2.0, 1.0, 1.0), True),
        (("ceiling", lower, [0.0], -2.0, 1.0, 1.0), False),  # the better record alone
        (("floor", lower, [0.0], 2.0, 1.0, 1.0), True),
        (("floor", upper, [0.0], 2.0, 1.0, 1.0), False),
        (("ceiling", lower, [-9.0], -2.0, 1.0, 1.0), True),  # nowhere in the domain
        (("ceiling", [[0.0, 1.0]], [0.0], -2.0, 1.0, 1.0), True),  # at both or at neither
    ]
    for patch, expected in cases:
        artifact = falling([patch])
        assert asked(artifact, text) is expected
        assert holds(artifact, 0, strict=False, low=-3) or not expected
    free = text.replace("a.x <= b.x", "a.y >= 0")
    assert not asked(falling([cases[0][0]]), free)
    assert asked(falling([cases[5][0]]), free)


def test_a_premise_about_the_reward_is_of_the_patched_one() -> None:
    artifact = falling([("ceiling", [[-1.0, 0.0]], [0.0], -2.0, 1.0, 1.0)])
    assert not asked(artifact, RULE.format(more=" and R(a) >= 0", than=">=", least=""))


def test_what_bounds_can_settle_keeps_its_certificate() -> None:
    plain = falling([("ceiling", [[-1.0, 0.0]], [0.0], -2.0, 1.0, 1.0)])
    tensors = {name: value for name, value in plain.tensors.items() if name != "w"}
    tensors |= {"one": np.array([[-1]], np.float32), "two": np.array([[1, 0]], np.float32)}
    graph = Graph((Input(), AffineMap(0, "two", "b"), Relu(1), AffineMap(2, "one", "b")), 3)  # R = −max(x, 0)
    patched = Artifact(plain.records, graph, tensors, "exact", patches=plain.patches)
    text = RULE.format(more="", than=">=", least=" - 1")
    assert asked(patched, text)
    result = rw.verify(parse_spec(text), R=patched)["falls"]
    assert result.verdict == "proved"
    assert result.reason != Reason.FOLLOWED
    assert isinstance(with_proof(result, {"R": patched}).proof, Mapping)
