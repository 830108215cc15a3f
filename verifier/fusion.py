"""Linear layers fused away: what each pre-activation is in terms of the variables and of non-linear outputs.

Back-substitution through a linear layer is exact composition, so it is done once, here, and not once per box. What
binary64 loses in it is bounded elementwise (`rounding.product`) and carried as `error` matrices. Functionals (a goal
atom minus multiples of facts) are fused in rational arithmetic instead: they are few, and it matters that
R'(x) − R(x) with R' = R − q becomes exactly −q.

Under float32 semantics each layer that is executed brings its own rounding, an unknown number per neuron. Those are
sources like any other here (`rounding_of`), so that they are summed with the signs and weights that they arrive with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rewarden.spec_lang.claim import Affine
from rewarden.verifier.program import INPUT, Block, Layer, Program
from rewarden.verifier.rounding import Array, product, total, with_error


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """Coefficients [row, source width] on one source; the true ones are within `error` of `weight`, elementwise."""

    weight: Array
    error: Array


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Σ_s terms[s]·v_s + bias over basis sources: the variables (INPUT) and the outputs of relu and gated layers; and
    what layers were rounded by, where the program is executed."""

    terms: dict[int, Term]
    bias: Array
    bias_error: Array

    @property
    def input_only(self) -> bool:
        return all(source <= INPUT for source in self.terms)


def rounding_of(layer: int) -> int:
    """The source that stands for what binary32 has added to the pre-activations of a layer; its own inverse."""
    return INPUT - 1 - layer


def block_term(block: Block) -> Term:
    """A block's weights with the error of those that are rational."""
    weight = np.array(block.weight, dtype=np.float64)
    error = np.zeros_like(weight)
    for position, value in (block.exact or {}).items():
        weight[position], error[position] = with_error(value)
    return Term(weight, error)


def layer_bias(layer: Layer) -> tuple[Array, Array]:
    if layer.exact_bias is None:
        return np.array(layer.bias, dtype=np.float64), np.zeros(layer.rows)
    pairs = [with_error(b) for b in layer.exact_bias]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])


def fuse(program: Program) -> tuple[Rows, ...]:
    """Per layer: its pre-activation as rows over basis sources."""
    fused: list[Rows] = []
    with np.errstate(all="ignore"):  # non-finite numbers prove nothing, and are refused where bounds are accepted
        for layer in program.layers:
            fused.append(_fuse_layer(program, fused, layer))
    return tuple(fused)


def _is_rounded(program: Program, layer: int) -> bool:
    return program.executed is not None and program.executed.roundings[layer] is not None


def _fuse_layer(program: Program, fused: Sequence[Rows], layer: Layer) -> Rows:
    bias, bias_error = layer_bias(layer)
    terms: dict[int, Term] = {}
    if _is_rounded(program, len(fused)):
        terms[rounding_of(len(fused))] = Term(np.eye(layer.rows), np.zeros((layer.rows, layer.rows)))
    for block in layer.blocks:
        own = block_term(block)
        if block.source == INPUT or program.layers[block.source].kind != "linear":
            _add(terms, block.source, own)
            continue
        below = fused[block.source]
        for source, term in below.terms.items():
            _add(terms, source, Term(*product(own.weight, own.error, term.weight, term.error)))
        column, column_error = product(own.weight, own.error, below.bias[:, None], below.bias_error[:, None])
        bias, bias_error = total(bias, bias_error, column[:, 0], column_error[:, 0])
    return Rows(terms, bias, bias_error)


def _add(terms: dict[int, Term], source: int, term: Term) -> None:
    if source in terms:
        old = terms[source]
        term = Term(*total(old.weight, old.error, term.weight, term.error))
    terms[source] = term


SparseRow = dict[int, dict[int, Fraction]]  # source → column → coefficient


def functional_row(program: Program, affine: Affine) -> tuple[SparseRow, Fraction]:
    """An affine expression over variables and calls, exactly, over basis sources."""
    row: SparseRow = {INPUT: dict(affine.variables)}
    for call, coefficient in affine.calls:
        target = row.setdefault(program.outputs[call], {})
        target[0] = target.get(0, Fraction(0)) + coefficient
    constant = affine.constant
    for index in range(len(program.layers) - 1, -1, -1):
        layer = program.layers[index]
        if layer.kind != "linear" or index not in row:
            continue
        coefficients = {j: a for j, a in row.pop(index).items() if a}
        if _is_rounded(program, index):
            row[rounding_of(index)] = dict(coefficients)
        constant += expand_linear(layer, coefficients, row)
    kept = {s: {j: a for j, a in columns.items() if a} for s, columns in row.items()}
    return {s: columns for s, columns in kept.items() if columns}, constant


def expand_linear(layer: Layer, coefficients: dict[int, Fraction], row: SparseRow) -> Fraction:
    """Adds Σ_j a_j·(z_j without its bias) to `row`, exactly, and returns Σ_j a_j·bias_j."""
    for block in layer.blocks:
        target = row.setdefault(block.source, {})
        for j, a in coefficients.items():
            for column, w in block.row(j):
                old = target.get(column)
                target[column] = a * w if old is None else old + a * w
    constant = Fraction(0)
    for j, a in coefficients.items():
        exact_bias = None if layer.exact_bias is None else layer.exact_bias[j]
        constant += a * (Fraction(float(layer.bias[j])) if exact_bias is None else exact_bias)
    return constant


def _width(program: Program, source: int) -> int:
    if source == INPUT:
        return len(program.claim.variables)
    return program.layers[source].width if source > INPUT else program.layers[rounding_of(source)].rows


def functional_rows(program: Program, affines: Sequence[Affine]) -> Rows:
    """Several functionals as float64 rows with their conversion errors."""
    count = len(affines)
    terms: dict[int, Term] = {}
    bias, bias_error = np.zeros(count), np.zeros(count)
    for k, affine in enumerate(affines):
        row, constant = functional_row(program, affine)
        bias[k], bias_error[k] = with_error(constant)
        for source, columns in row.items():
            if source not in terms:
                width = _width(program, source)
                terms[source] = Term(np.zeros((count, width)), np.zeros((count, width)))
            for column, value in columns.items():
                terms[source].weight[k, column], terms[source].error[k, column] = with_error(value)
    return Rows(terms, bias, bias_error)


def stacked(rows: Sequence[Rows]) -> Rows:
    """The rows of all of them, one below the other."""
    if len(rows) == 1:
        return rows[0]
    counts = [len(one.bias) for one in rows]
    terms: dict[int, Term] = {}
    for number, one in enumerate(rows):
        start = sum(counts[:number])
        for source, term in one.terms.items():
            width = term.weight.shape[1]
            if source not in terms:
                terms[source] = Term(np.zeros((sum(counts), width)), np.zeros((sum(counts), width)))
            terms[source].weight[start : start + counts[number]] = term.weight
            terms[source].error[start : start + counts[number]] = term.error
    return Rows(terms, np.concatenate([one.bias for one in rows]), np.concatenate([one.bias_error for one in rows]))
