"""compile_program: the layers of docs/formats.md, in its order, each piece once."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.exact import evaluate
from rewarden.reward.graph import Abs, AffineMap, Clip, Concat, Graph, Input, Maximum, Minimum, ReduceMax, Relu, Sub
from rewarden.spec_lang.claim import ClaimCall
from rewarden.spec_lang.errors import BindingError, Unsupported
from rewarden.verifier.exact_program import ExactProgram
from rewarden.verifier.inline import compile_program
from rewarden.verifier.program import INPUT, Program
from tests.reference.random_claims import affine, call_values, plain_claim, random_point
from tests.reference.random_graphs import MIXED, TWO_REALS, artifacts, random_artifact, random_mlp, random_rows, seeds


def made(nodes, output, tensors=None, patches=(), record=TWO_REALS) -> Artifact:
    arrays = {k: np.asarray(v, dtype=np.float32) for k, v in (tensors or {}).items()}
    return Artifact((RewardRecord("s", record),), Graph(tuple(nodes), output), arrays, "exact", patches=tuple(patches))


def shape(program: Program) -> list[tuple[str, int, tuple[int, ...]]]:
    return [(layer.kind, layer.width, tuple(b.source for b in layer.blocks)) for layer in program.layers]


@settings(max_examples=60, deadline=None)
@given(artifacts(MIXED), seeds)
def test_the_program_computes_the_artifact_exactly(artifact, seed):
    claim = plain_claim(MIXED, {"R": artifact})
    program = ExactProgram(compile_program(claim, {"R": artifact}))
    for row in random_rows(np.random.default_rng(seed), MIXED, 3):
        point = tuple(Fraction(float(v)) for v in row)
        assert program.evaluate(point).calls == (evaluate(artifact, point),)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_two_records_and_a_what_if(seed):
    rng = np.random.default_rng(seed)
    rewards = {"R": random_artifact(rng, MIXED, patches=1), "Base": random_mlp(rng, MIXED)}
    claim = plain_claim(MIXED, rewards, records=("a", "b"), varying=("gap",))
    what_if = list(claim.calls[0].arguments)
    what_if[0] = affine("-1/3", {0: 1})
    claim = replace(claim, calls=(*claim.calls, ClaimCall("R", tuple(what_if))))
    point = random_point(rng, claim)
    program = compile_program(claim, rewards)
    assert ExactProgram(program).evaluate(point).calls == call_values(claim, rewards, point)
    assert program.layers[program.outputs[-1]].width == 1


def test_layer_order_of_each_op():
    # x (2) → relu → maximum(relu, x) → clip → max; each op's layers as the format lists them
    nodes = [Input(), Relu(0), Maximum(1, 0), Clip(2, "lo", "hi"), ReduceMax(3)]
    program = compile_program(
        plain_claim(TWO_REALS, {"R": made(nodes, 4, {"lo": [0], "hi": [1]})}),
        {"R": made(nodes, 4, {"lo": [0], "hi": [1]})},
    )
    assert shape(program) == [
        ("linear", 2, (INPUT,)),
        ("relu", 2, (0,)),
        ("relu", 2, (1, 0)),
        ("linear", 2, (0, 2)),
        ("relu", 2, (3,)),
        ("relu", 2, (4,)),
        ("linear", 2, (5,)),
        ("linear", 1, (6,)),
        ("relu", 1, (6, 7)),
        ("linear", 1, (7, 8)),
    ]


def test_depth_first_skips_what_the_output_does_not_need():
    nodes = [Input(), Relu(0), Abs(0), Minimum(2, 1), ReduceMax(3)]
    program = compile_program(plain_claim(TWO_REALS, {"R": made(nodes, 4)}), {"R": made(nodes, 4)})
    # abs (node 2) comes first since minimum reads it first
    assert shape(program)[1:5] == [("relu", 2, (0,)), ("relu", 2, (0,)), ("linear", 2, (1, 2)), ("relu", 2, (0,))]
    unused = made([Input(), Relu(0), ReduceMax(0)], 2)
    assert len(compile_program(plain_claim(TWO_REALS, {"R": unused}), {"R": unused}).layers) == 1 + 3


def test_a_source_that_appears_twice_has_its_blocks_summed():
    nodes = [Input(), Sub(0, 0), Concat((1, 1)), ReduceMax(2)]
    program = compile_program(plain_claim(TWO_REALS, {"R": made(nodes, 3)}), {"R": made(nodes, 3)})
    assert shape(program)[1] == ("linear", 2, (0,))
    assert not program.layers[1].blocks[0].weight.any()
    np.testing.assert_array_equal(program.layers[2].blocks[0].weight, np.vstack([np.eye(2), np.eye(2)]))


def test_a_patched_child_shares_all_but_the_patch():
    child = random_mlp(np.random.default_rng(7), TWO_REALS, patches=1)
    base = random_mlp(np.random.default_rng(7), TWO_REALS)
    both = {"R": child, "Base": base}
    alone = compile_program(plain_claim(TWO_REALS, {"Base": base}), {"Base": base})
    program = compile_program(plain_claim(TWO_REALS, both), both)
    assert shape(program)[: len(alone.layers)] == shape(alone)
    assert program.outputs[1] == alone.outputs[0]
    assert program.layers[-2].kind == "gated"
    assert {layer.kind for layer in program.layers[len(alone.layers) :]} == {"linear", "relu", "gated"}


def test_sharing_is_by_content_and_not_by_name():
    rng = np.random.default_rng(3)
    one = random_mlp(rng, TWO_REALS)
    names = {name: f"other_{name}" for name in one.tensors}
    renamed = replace(
        one,
        graph=Graph(tuple(_renamed(node, names) for node in one.graph.nodes), one.graph.output),
        tensors={names[k]: v for k, v in one.tensors.items()},
    )
    both = {"R": one, "S": renamed}
    program = compile_program(plain_claim(TWO_REALS, both), both)
    assert program.outputs[0] == program.outputs[1]


def _renamed(node, names):
    fields = {f: names[v] for f, v in ((f, getattr(node, f)) for f in node.__slots__) if isinstance(v, str)}
    return replace(node, **fields)


def test_a_record_given_twice_is_inlined_once():
    artifact = random_mlp(np.random.default_rng(0), TWO_REALS)
    claim = plain_claim(TWO_REALS, {"R": artifact})
    twice = replace(claim, calls=claim.calls * 2)
    program = compile_program(twice, {"R": artifact})
    assert program.outputs[0] == program.outputs[1]


def test_rational_arguments_are_kept_exactly():
    artifact = made([Input(), AffineMap(0, "w", "b")], 1, {"w": [[1, 1]], "b": [0]})
    call = ClaimCall("R", (affine("1/3", {0: "1/7"}), affine(0, {1: 1})))
    claim = plain_claim(TWO_REALS, {"R": artifact}, calls=[call])
    program = compile_program(claim, {"R": artifact})
    arguments = program.layers[0]
    assert arguments.blocks[0].exact == {(0, 0): Fraction(1, 7)}
    assert arguments.exact_bias == (Fraction(1, 3), Fraction(0))
    assert arguments.bias[0] == float(Fraction(1, 3))
    assert ExactProgram(program).evaluate((Fraction(1), Fraction(0))).calls == (Fraction(1, 3) + Fraction(1, 7),)


def test_what_cannot_be_inlined_says_why():
    artifact = random_mlp(np.random.default_rng(0), TWO_REALS)
    claim = plain_claim(TWO_REALS, {"R": artifact})
    with pytest.raises(BindingError, match="B30"):
        compile_program(claim, {})
    with pytest.raises(BindingError, match="B31"):
        compile_program(claim, {"R": random_mlp(np.random.default_rng(0), MIXED)})
    huge = ClaimCall("R", (affine(10**400), affine(0, {1: 1})))
    with pytest.raises(Unsupported, match="X10"):
        compile_program(replace(claim, calls=(huge,)), {"R": artifact})
