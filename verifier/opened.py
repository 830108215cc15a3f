"""Rewards without the patches that a rule's premise excludes: what "beyond all of these regions" is to a stack of them.

A patch is no part of a reward where some row of its gate is at the gate. A premise such as `x <= 1 or x >= 2` says of
none of its alternatives that it holds, but each of them may open the gate by itself. So a patch is left out of the
calls of a claim if some clause, whose atoms speak of variables alone, opens it: if for every atom the least value of
some row, where the atom holds in the box, is at least the gate. At every point that satisfies the premise the rewards
are those with the patches, exactly; elsewhere a claim says nothing.

Thousands of regions are as many clauses, and each is looked at for each patch that is left: no combination of
alternatives is ever formed. The certificate kernel does the same where a proof says so (`beyond` in docs/formats.md),
so all is exact here, too, and a proof about what is left is one about the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import inf, nextafter

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Patch
from rewarden.reward.tables import has_tables, is_table
from rewarden.reward.widths import patch_tensors
from rewarden.spec_lang.claim import AffineAtom, Box, Claim, ClaimCall, Clause
from rewarden.verifier.by_table import left_open
from rewarden.verifier.narrowing import narrowed
from rewarden.verifier.scribe.patched import Form, composed, extent

Array = NDArray[np.float64]
Edges = list[tuple[int, float]]  # of rows: offsets up to which an atom opens them


def opened(claim: Claim, artifacts: Mapping[str, Artifact]) -> tuple[Claim, dict[str, Artifact]] | None:
    """The claim about rewards without the patches that its premise opens, and these; None where there are none."""
    clauses = [clause for clause in claim.clauses if not any(atom.affine.calls for atom in clause)]
    names = [call.reward for call in claim.calls]
    away = claim.near is not None and not claim.near.inside
    if not (clauses or away) or len(claim.boxes) != 1 or claim.loops is not None or len(set(names)) < len(names):
        return None
    tables = any(has_tables(artifacts[name]) for name in names)
    if not away and not tables and not any(len(clause) > 1 for clause in clauses):
        return None  # facts of one atom narrow the boxes that everything is bounded on, and need nothing of this
    found = dict(artifacts)
    for call in claim.calls:
        if call.reward in artifacts and artifacts[call.reward].patches:
            found[call.reward] = _without(claim, call, artifacts[call.reward], clauses)
    if all(found[name] is artifacts[name] for name in found):
        return None
    return replace(claim, rewards=tuple((name, found[name].digest) for name, _ in claim.rewards)), found


def _without(claim: Claim, call: ClaimCall, artifact: Artifact, clauses: Sequence[Clause]) -> Artifact:
    patches: list[Patch] = []
    tensors = dict(artifact.tensors)
    known: dict[bytes, list[list[Edges]]] = {}
    forms: dict[bytes, list[Form]] = {}
    for number, patch in enumerate(artifact.patches):
        rows, gate = artifact.tensors[patch.rows], artifact.tensors[patch.gate]
        key = rows.tobytes() + gate.tobytes()
        if key not in known:
            known[key] = list(_edges(claim, call, rows, Fraction(float(gate[0])), clauses))
        offsets = artifact.tensors[patch.offsets]
        each = np.atleast_2d(offsets).astype(np.float64)
        left = _left(each, known[key])
        if claim.near is not None and len(left):
            if key not in forms:
                forms[key] = [composed(row, call.arguments) for row in rows.astype(np.float64).tolist()]
            left = left[left_open(claim, forms[key], Fraction(float(gate[0])), each[left])]
        if not is_table(patch, artifact.tensors):
            patches += [patch] * len(left)
        elif len(left) == len(offsets):
            patches.append(patch)
        elif len(left):
            name = f"{patch.offsets}[{number}]"
            tensors[name] = offsets[left]
            patches.append(replace(patch, offsets=name))
    if patches == list(artifact.patches):
        return artifact
    used = {name for patch in patches for name in patch_tensors(patch)} | artifact.with_patches(()).tensors.keys()
    kept = {name: tensor for name, tensor in tensors.items() if name in used}
    return replace(artifact, tensors=kept, patches=tuple(patches))


def _left(offsets: Array, clauses: Sequence[Sequence[Edges]]) -> NDArray[np.intp]:
    """The numbers of patches [boxes, rows] that no clause opens."""
    left = np.arange(len(offsets))
    for atoms in clauses:
        some = left
        for edges in atoms:
            at = offsets[some]
            some = some[np.any([at[:, i] <= edge for i, edge in edges], axis=0)] if edges else some[:0]
            if not len(some):
                break
        else:
            left = np.setdiff1d(left, some, assume_unique=True)
        if not len(left):
            break
    return left


def _edges(
    claim: Claim, call: ClaimCall, rows: NDArray[np.float32], gate: Fraction, clauses: Sequence[Clause]
) -> Iterator[list[Edges]]:
    """Of each clause for each atom the rows that it opens: at offsets of at most an edge. An atom that holds nowhere
    in the box opens everything, and is left out."""
    box, discrete = claim.boxes[0], [variable.discrete for variable in claim.variables]
    forms = [composed(row, call.arguments) for row in rows.astype(np.float64).tolist()]
    reading: dict[int, list[int]] = {}
    for i, (_, entries) in enumerate(forms):
        for k in entries:
            reading.setdefault(k, []).append(i)
    everywhere = [extent(form, box)[0] for form in forms]
    if clauses:  # rows that whatever atom holds opens
        yield [[(i, _down(value - gate)) for i, value in enumerate(everywhere)]]
    for clause in clauses:
        atoms = []
        for atom in clause:
            cell = narrowed(box, (atom,), discrete)
            if cell is None:
                continue
            touched = sorted({i for k, _ in atom.affine.variables for i in reading.get(k, ())})
            least = {i: max(everywhere[i], _least_where(forms[i], atom, cell)) for i in touched}
            atoms.append([(i, _down(value - gate)) for i, value in least.items() if value > everywhere[i]])
        yield atoms


def _least_where(form: Form, atom: AffineAtom, cell: Box) -> Fraction:
    """A lower bound of a form where an atom holds: over what it leaves of the box, less a multiple of it."""
    found = extent(form, cell)[0]
    if len(atom.affine.variables) > 1:
        for k, slope in atom.affine.variables:
            factor = form[1].get(k, Fraction(0)) / slope
            if factor > 0:
                entries = dict(form[1])
                for j, c in atom.affine.variables:
                    entries[j] = entries.get(j, Fraction(0)) - factor * c
                found = max(found, extent((form[0] - factor * atom.affine.constant, entries), cell)[0])
    return found


def _down(value: Fraction) -> float:
    """The largest float64 that is not above `value`: binary32 numbers are at most the one where they are at most the
    other."""
    try:
        nearest = float(value)
    except OverflowError:
        return inf if value > 0 else -inf
    return nearest if Fraction(nearest) <= value else nextafter(nearest, -inf)
