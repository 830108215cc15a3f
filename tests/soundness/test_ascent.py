"""Slopes by ascent: fewer boxes, and leaves that hold in exact arithmetic with the slopes that are written down."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from rewarden.verifier import leaves
from rewarden.verifier.branch import prove
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import INPUT, Block, Layer, Program
from tests.property.test_proof_trees import check_proof
from tests.reference.random_programs import atom, claim_over

INPUTS = 3


def layered(seed: int, share: Fraction) -> Program:
    """A random network of two hidden layers, and a level that random points miss by a share of their spread."""
    rng = np.random.default_rng(seed)
    widths = (INPUTS, 8, 8, 1)
    layers: list[Layer] = []
    for k, (a, b) in enumerate(pairwise(widths)):
        weight = np.round(64 * rng.normal(size=(b, a)) / np.sqrt(a)) / 64
        bias = np.round(64 * rng.normal(size=b) / 4) / 64
        layers.append(Layer("relu" if k < 2 else "linear", (Block(k - 1 if k else INPUT, weight),), bias))
    x = 2.0 * rng.random((4000, INPUTS)) - 1.0
    for layer in layers:
        x = x @ layer.blocks[0].weight.T + layer.bias
        x = np.maximum(x, 0.0) if layer.kind == "relu" else x
    level = Fraction(float(x.min())) - share * Fraction(float(x.max() - x.min()))
    box = ((Fraction(-1), Fraction(1)),) * INPUTS
    return Program(claim_over((box,), ((atom(-level, {}, {0: 1}),),)), tuple(layers), (2,))


def tree_of(outcome) -> list:
    assert outcome.status == "proved"
    return outcome.proof["goals"][0][0]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fewer_boxes_and_leaves_that_hold_exactly(seed, monkeypatch):
    program = layered(seed, Fraction(1, 20))
    options = VerifyOptions(budget=4000, batch_size=64)
    found = prove(program, program.claim, options)
    again = prove(program, program.claim, options)
    assert (found.boxes, tree_of(found)) == (again.boxes, tree_of(again))
    assert check_proof(program, found.proof, limit=30)
    monkeypatch.setattr(leaves, "_with_slopes", lambda engine, batch, *rest: torch.zeros(batch.size, dtype=torch.bool))
    plain = prove(program, program.claim, options)
    assert found.boxes < plain.boxes
    assert len(tree_of(found)) < len(tree_of(plain))


def test_slopes_are_not_asked_for_where_a_rule_fails():
    program = layered(1, Fraction(-1, 50))
    assert prove(program, program.claim, VerifyOptions(budget=400, batch_size=64)).status == "violated"
