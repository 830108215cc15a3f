"""Certificate kernel: claims about rows of data, counted again.

A claim with `rows` is about the rows of tables that it names by digest, and that are in the certificate's `tables`. A
row gives every variable a number; at each row at which every clause has a true atom every goal must have one, or, where
the claim has a `share`, the part of those rows at which it has is compared with a level. Each row is evaluated
exactly: nothing is bounded, and the evidence only says what the count will be. Standard library only.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from rewarden.certificate.kernel_claim import Claim, truth
from rewarden.certificate.kernel_files import MAX_FILE, read_file, table_name
from rewarden.certificate.kernel_json import digest, parse, refuse, used
from rewarden.certificate.kernel_program import Program
from rewarden.certificate.kernel_shapes import array, digest_text, maybe, one_of, rational, read, text, within

MAX_ROWS = 1 << 24
MAX_WORK = 1 << 32  # rows times weights and terms of atoms
MAX_TABLES = 16  # of one claim: data of pairs have two
COMPARED = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_NUMBER = within(0, MAX_ROWS)
_SHARE = maybe({"op": one_of(*COMPARED), "level": rational})
SHAPE: dict[str, Any] = {  # of such a claim, in addition; it has no boxes
    "rows": {"count": within(1, MAX_ROWS), "tables": [digest_text], "columns": [_NUMBER], "share": _SHARE},
    "boxes": lambda value, what: array(value, what, 0),
}
_COUNT = {"holding": _NUMBER, "kept": _NUMBER, "first": maybe(_NUMBER)}


class Count(NamedTuple):
    """`holding`: rows that satisfy the premise; `kept`: the goals, too; `first`: of those that do not, from 0."""

    holding: int
    kept: int
    first: int | None


def recounted(
    claim: Claim, program: Program, tables: Path, evidence: object, head: Mapping[str, object]
) -> tuple[str, str, int]:
    """Verdict and reason, from the tables; refused if the evidence states another count, or no row is counted."""
    used.add("kernel_rows")
    stated = read(evidence, {**head, "count": _COUNT}, "a recount")["count"]
    found = count(claim, program, tables)
    if Count(**stated) != found:
        refuse(f"the rows were counted wrongly: {found.kept} of {found.holding} rows keep it")
    if not found.holding:
        refuse("no row satisfies the premise: the claim is vacuous")
    assert claim.rows is not None
    share = claim.rows["share"]
    if share is None:
        good = found.kept == found.holding
    else:
        good = COMPARED[share["op"]](Fraction(found.kept, found.holding), share["level"])
    first = "" if found.first is None else f"; row {found.first + 1} is the first that does not"
    counted = f"{found.holding} of {claim.rows['count']} rows satisfy the premise, {found.kept} of these the conclusion"
    return "proved" if good else "violated", f"{counted}{first}: each was evaluated again", 0


def count(claim: Claim, program: Program, tables: Path) -> Count:
    """By evaluating the claim at every row."""
    assert claim.rows is not None
    stated, columns = claim.rows["count"], claim.rows["columns"]
    if len(columns) != len(claim.names):
        refuse("each variable needs a column")
    if not 1 <= len(claim.rows["tables"]) <= MAX_TABLES:
        refuse("a claim about rows has one table, or a few")
    atoms = [atom.form for clause in (*claim.clauses, *claim.goals) for atom in clause]
    if stated * (program.weights + sum(1 + len(form.variables) + len(form.calls) for form in atoms)) > MAX_WORK:
        refuse("there are too many rows for so large a claim")
    limit = MAX_FILE // len(claim.rows["tables"])
    each = [rows_of(read_file(tables / table_name(name), limit), name, stated) for name in claim.rows["tables"]]
    holding, kept, first = 0, 0, None
    for k, parts in enumerate(zip(*each, strict=True)):
        row = [x for part in parts for x in part]
        if max(columns, default=0) >= len(row) or not all(map(math.isfinite, row)):
            refuse("the tables have too few columns, or hold a number that is not finite")
        x = [Fraction(row[c]) for c in columns]
        premise, goals = truth(claim, program.over([(v, v) for v in x]), x)
        holding, kept = holding + premise, kept + (premise and goals)
        if premise and not goals and first is None:
            first = k
    return Count(holding, kept, first)


def rows_of(data: bytes, name: str, stated: int) -> Iterator[Sequence[float]]:
    """The rows of a canonical table: a line of JSON, and binary64 numbers row by row, no byte more."""
    if digest(data) != name:
        refuse(f"the table {name} is {digest(data)}")
    head, _, body = data.partition(b"\n")
    names = read(parse(head), {"columns": [text], "rows": stated}, "a table")["columns"]
    if not names or len(body) != 8 * len(names) * stated:
        refuse("a table is cut short, or goes on")
    return struct.iter_unpack(f"<{len(names)}d", body)
