"""A case of a claim as the text of a query: is there a record at which the premise holds and the conclusion fails?

VNN-LIB 1.0 is written closed: every strict comparison as a non-strict one, since that is all that its readers agree
on. Bounds and constants without a short decimal are rounded outward. So the query admits at least the violations of the
case: `unsat` settles the case, `sat` is a candidate that has to be replayed. VNN-LIB 2.0 keeps strict comparisons, and
declares `real` networks, since that is what a rule speaks of. The header says what was closed and rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rewarden.spec_lang.claim import Claim
from rewarden.verifier.vnnlib.comparisons import Comparisons
from rewarden.verifier.vnnlib.forms import negated
from rewarden.verifier.vnnlib.propagation import folded, reach
from rewarden.verifier.vnnlib.split import Case
from rewarden.verifier.vnnlib.wiring import Joint, plain_columns, plain_variable
from rewarden.verifier.vnnlib.wording import affine_text, call_text, comment, functional_text, variable_text

VERSION = "(vnnlib-version <2.0>)"
JOINT = "joint"  # the name of the one network of all calls


@dataclass(frozen=True, slots=True)
class QueryText:
    """A query, and how many of its comparisons and constants are weaker than the rule's."""

    text: str
    closed: int
    rounded: int


@dataclass(frozen=True, slots=True)
class Application:
    """A network of a 2.0 query: its name there, and that of an earlier one with the same file (None: it is new)."""

    name: str
    same_as: str | None


def first_version(joint: Joint, case: Case, heading: Sequence[str]) -> QueryText:
    """VNN-LIB 1.0 about the joint network: `X_i` are the variables (and extras), `Y_k` the calls (and functionals)."""
    start = len(joint.claim.calls)
    computed = {functional: f"Y_{start + j}" for j, functional in enumerate(joint.functionals)}
    sheet = Comparisons("X_{}".format, "Y_{}".format, closed=True, functionals=computed)
    declared = [f"(declare-const X_{i} Real)" for i in range(joint.inputs)]
    declared += [f"(declare-const Y_{k} Real)" for k in range(joint.outputs)]
    lines = [*declared, *_joint_inputs(sheet, joint, case)]
    lines += [comment(f"{name} is {functional_text(joint, f)}") for f, name in computed.items()]
    ties = [sheet.atom(tie) for tie in joint.ties]
    lines += ["", "; the inputs that are tied to others", *_asserted(ties)] if ties else []
    return _finished(sheet, heading, [*lines, *_conditions(sheet, case)])


def stands_apart(claim: Claim, case: Case) -> bool:
    """Can VNN-LIB 2 say it with one application per call? Whatever is not fixed has to stand in some call's column."""
    return _mattering(claim, case) <= plain_columns(claim).keys()


def apart_version(claim: Claim, case: Case, applications: Sequence[Application], heading: Sequence[str]) -> QueryText:
    """VNN-LIB 2.0: call number k is an application of its network, from `Xk` to `Yk`."""
    plain = {i: f"X{k}[0,{column}]" for i, (k, column) in plain_columns(claim).items()}
    sheet = Comparisons(plain.__getitem__, "Y{}[0,0]".format, closed=False)
    declared = [
        _declared(application, f"X{k} real [1,{len(call.arguments)}]", f"Y{k} real [1,1]")
        for k, (application, call) in enumerate(zip(applications, claim.calls, strict=True))
    ]
    lines = [VERSION, *declared, *_applied(sheet, claim, case, plain), *_conditions(sheet, case)]
    return _finished(sheet, heading, lines)


def joint_version(joint: Joint, case: Case, heading: Sequence[str]) -> QueryText:
    """VNN-LIB 2.0 about the joint network."""
    sheet = Comparisons("X[0,{}]".format, "Y[0,{}]".format, closed=False)
    shapes = f"X real [1,{joint.inputs}]", f"Y real [1,{joint.outputs}]"
    lines = [VERSION, _declared(Application(JOINT, None), *shapes), *_joint_inputs(sheet, joint, case)]
    start = len(joint.claim.variables)
    ties = [sheet.tie(sheet.variable(start + e), row) for e, row in enumerate(joint.extras)]
    return _finished(sheet, heading, [*lines, *_asserted(ties), *_conditions(sheet, case)])


# ── networks and their inputs ──────────────────────────────────────────────────────────────────
def _joint_inputs(sheet: Comparisons, joint: Joint, case: Case) -> list[str]:
    claim = joint.claim
    lines = []
    for i, bounds in enumerate(case.box):
        name = sheet.variable(i)
        lines += ["", comment(f"{name} is {variable_text(claim, i)}"), *_asserted(sheet.bounds(name, *bounds))]
    for e, row in enumerate(joint.extras):
        name = sheet.variable(len(claim.variables) + e)
        lines += ["", comment(f"{name} is {affine_text(claim, row)}")]
        lines += _asserted(sheet.bounds(name, *reach(row, case.box)))
    lines += ["", *(comment(f"{sheet.call(k)} is {call_text(claim, call)}") for k, call in enumerate(claim.calls))]
    return lines


def _declared(application: Application, inputs: str, outputs: str) -> str:
    same = "" if application.same_as is None else f"\n  (equal-to {application.same_as})"
    return f"(declare-network {application.name}{same}\n  (declare-input {inputs})\n  (declare-output {outputs})\n)"


def _applied(sheet: Comparisons, claim: Claim, case: Case, plain: dict[int, str]) -> list[str]:
    lines = []
    for k, call in enumerate(claim.calls):
        lines += ["", comment(f"{sheet.call(k)} is {call_text(claim, call)}")]
        for column, row in enumerate(call.arguments):
            name = f"X{k}[0,{column}]"
            lines += [comment(f"{name} is {affine_text(claim, row)}")]
            lines += _asserted(sheet.bounds(name, *reach(row, case.box)))
            free = folded(row, case.box)
            variable = plain_variable(row)
            if free.variables and (variable is None or plain[variable] != name):
                lines += _asserted([sheet.tie(name, free)])
    return lines


def _mattering(claim: Claim, case: Case) -> set[int]:
    """The variables that are not fixed and that something reads."""
    atoms = [atom.affine for clause in (*case.clauses, *case.goals) for atom in clause]
    rows = [row for call in claim.calls for row in call.arguments]
    return {i for row in (*atoms, *rows) for i, _ in folded(row, case.box).variables}


# ── premise and violation ──────────────────────────────────────────────────────────────────────
def _conditions(sheet: Comparisons, case: Case) -> list[str]:
    lines = ["", "; the premise, where the bounds do not say it already"] if case.clauses else []
    lines += _asserted([sheet.clause(clause) for clause in case.clauses])
    if any(goal == () for goal in case.goals):
        return [*lines, "", "; the conclusion fails throughout"]
    lines += ["", "; the conclusion fails"]
    violations = [[sheet.atom(negated(atom)) for atom in goal] for goal in case.goals]
    if len(violations) == 1:
        return lines + _asserted(violations[0])
    ways = (f"    (and {' '.join(atoms)})" for atoms in violations)
    return [*lines, "(assert (or", *ways, "))"]


def _asserted(comparisons: Sequence[str]) -> list[str]:
    return [f"(assert {comparison})" for comparison in comparisons]


def _finished(sheet: Comparisons, heading: Sequence[str], lines: Sequence[str]) -> QueryText:
    closed, rounded = "nothing: strict comparisons stand as they are", "nothing: every number is exact"
    if sheet.closings:
        closed = f"strict comparisons, {sheet.closings} of them, are non-strict: a solution at equality may be none"
    if sheet.roundings:
        rounded = f"{sheet.roundings} constants, outward, to a decimal a few units in binary64's last place away"
    head = [comment(line) for line in (*heading, f"closed: {closed}", f"rounded: {rounded}")]
    return QueryText("\n".join([*head, "", *lines, ""]), sheet.closings, sheet.roundings)
