"""A node in which everything has been decided is linear: rationals say whether it holds a violation, and where.

Each neuron is then an affine function of the variables, held to the side that was decided; so are the rows.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from rewarden.verifier.exact_program import Point
from rewarden.verifier.lp.exact_simplex import Inequality, PivotsSpent, solution
from rewarden.verifier.lp.region import EITHER, LOOSE, OFF, ON, ExactRow, Node, Region
from rewarden.verifier.program import INPUT

PIVOTS = 2_000
MOST = 200_000  # entries of the table of inequalities, beyond which rationals take too long

Form = tuple[list[Fraction], Fraction]


class TooLarge(Exception):
    """Rational arithmetic would take too long."""


def is_decided(region: Region, node: Node) -> bool:
    """Is the node linear? All neurons, cases and discrete variables that count must be decided."""
    discrete = np.array([v.discrete for v in region.frame.program.claim.variables], dtype=np.bool_)
    return (
        len(node.decided) == len(region.cases)
        and not ((node.phase == EITHER) | (node.phase == LOOSE)).any()
        and bool((node.lo == node.hi)[discrete].all())
    )


def violation(region: Region, node: Node) -> Point | None:
    """An exact point of a decided node at which all its rows hold, or None: it has none. Raises TooLarge."""
    frame, variables = region.frame, len(region.cell)
    claim = frame.program.claim
    if (frame.neurons + len(node.on)) * (variables + 1) > MOST:
        raise TooLarge
    forms: dict[tuple[int, int], Form] = {}
    rows: list[Inequality] = []
    zero: Form = ([Fraction(0)] * variables, Fraction(0))
    for k in frame.layers:
        for j in range(frame.program.layers[k].width):
            n = frame.first[k] + j
            phase = int(node.phase[n])
            held = phase in (ON, OFF) and phase != region.stable[n]
            z = _form(frame.exact_neuron(k, j), forms, variables) if held or phase == ON else zero
            forms[k, j] = z if phase == ON else zero
            if held:
                sign = -1 if phase == ON else 1
                rows.append(Inequality(tuple(sign * c for c in z[0]), sign * z[1], False))
    for i, exact in enumerate(frame.exact_top):
        if node.on[i]:
            coefficients, constant = _form(exact, forms, variables)
            rows.append(Inequality(tuple(coefficients), constant, bool(frame.strict[i])))
    box = tuple(
        (Fraction(float(node.lo[j])), Fraction(float(node.hi[j]))) if claim.variables[j].discrete else bounds
        for j, bounds in enumerate(region.cell)
    )
    try:
        return solution(rows, box, PIVOTS)
    except PivotsSpent:
        raise TooLarge from None


def _form(row: ExactRow, forms: dict[tuple[int, int], Form], variables: int) -> Form:
    """A row over variables and neurons as one over variables."""
    terms, constant = row
    total = [Fraction(0)] * variables
    for source, columns in terms.items():
        for i, weight in columns.items():
            if source == INPUT:
                total[i] += weight
                continue
            inner, shift = forms[source, i]
            constant += weight * shift
            for v, c in enumerate(inner):
                if c:
                    total[v] += weight * c
    return total, constant
