"""What a caller has at hand as points of an obligation: rows of a batch, or records by name such as a witness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fractions import Fraction
from numbers import Real

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rewarden.spec_lang.errors import BindingError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.sampling.row_truth import Rows

NamedRecords = Mapping[str, Mapping[str, object]]  # record → feature → value in problem units
Points = Tensor | NDArray[np.float64] | NamedRecords | Sequence[NamedRecords]

CANDIDATES = 4096  # pairs, or triples, that are looked at in one batch, at most


def takes_rows_of(obligation: Obligation) -> str | None:
    """The record type whose rows can stand for all records of the rule; None for rules about data and mixed types."""
    types = {view.type_name for view in obligation.records}
    plain = obligation.instances is None and obligation.share is None and not obligation.case
    return types.pop() if plain and len(types) == 1 else None


def require_rows(rows: Rows, types: Sequence[RecordType]) -> RecordType:
    """The one type that a batch of rows is of. BindingError B25 where that is none or unclear, or no row is one."""
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise BindingError("B25", "a batch holds finite numbers [row, column]", help="give encoded rows, unmasked")
    fitting = [t for t in types if t.width == rows.shape[1]]
    if len(fitting) != 1:
        known = ", ".join(f"{t.name}: {t.width}" for t in types) or "none"
        what = f"of {' or '.join(t.name for t in fitting)}" if fitting else "of no type that the rules take"
        help = f"columns by type: {known}; or give points by rule"
        raise BindingError("B25", f"a batch with {rows.shape[1]} columns is {what}", help=help)
    columns = fitting[0].columns()
    lo, hi = (
        np.array([float(limit) for limit in limits]) for limits in zip(*((c.lo, c.hi) for c in columns), strict=True)
    )
    if len(rows) and not ((lo <= rows) & (rows <= hi)).all(axis=1).any():
        help = "rows are in problem units, before any normaliser, enums as one column per case"
        raise BindingError("B25", f"no row of the batch is in the ranges of {fitting[0].name}", help=help)
    return fitting[0]


def combined(obligation: Obligation, rows: Rows, generator: np.random.Generator) -> Rows:
    """Points [m, variables] whose records are rows [n, width]: each row, or all pairs of them, or some of those.

    Of records `varying f` all but the first give their f only; everything else is the first one's.
    """
    views = obligation.records
    count = len(rows)
    if len(views) == 1:
        chosen = np.arange(count)[None]
    elif count ** len(views) <= CANDIDATES:
        chosen = np.stack([axis.ravel() for axis in np.meshgrid(*[np.arange(count)] * len(views), indexing="ij")])
    else:
        chosen = generator.integers(count, size=(len(views), CANDIDATES))
    points = np.zeros((chosen.shape[1], len(obligation.variables)))
    for view, index in reversed(list(zip(views, chosen, strict=True))):
        points[:, list(view.variables)] = rows[index]
    return points


def arrays_of(obligations: Sequence[Obligation], types: Mapping[str, RecordType], points: Points) -> dict[int, Rows]:
    """Points [n, variables] by number of the obligation that they are points of: of a rule about traces, that of their
    length. BindingError B25."""
    if isinstance(points, (Tensor, np.ndarray)):
        rows = np.asarray(points.detach().cpu() if isinstance(points, Tensor) else points, dtype=np.float64)
        fitting = [k for k, o in enumerate(obligations) if rows.ndim == 2 and len(o.variables) == rows.shape[1]]
        if len(fitting) != 1 or not np.isfinite(rows).all():
            wanted = " or ".join(str(len(o.variables)) for o in obligations)
            name = obligations[0].rule.name
            raise BindingError("B25", f"points of {name} are finite numbers [n, {wanted}]", help="or name the records")
        return {fitting[0]: rows}
    found: dict[int, list[Rows]] = {}
    for records in [points] if isinstance(points, Mapping) else points:
        fitting = [k for k, o in enumerate(obligations) if {view.name for view in o.records} == set(records)]
        k = fitting[0] if fitting else 0
        found.setdefault(k, []).append(from_records(obligations[k], types, records))
    return {k: np.stack(rows) for k, rows in found.items()}


def from_records(obligation: Obligation, types: Mapping[str, RecordType], records: NamedRecords) -> Rows:
    """One point [variables] of named records. BindingError B25 for a name or value that does not fit."""
    point = np.zeros(len(obligation.variables))
    names = {view.name for view in obligation.records}
    _require_names(f"a point of {obligation.rule.name}", set(records), names)
    for view in reversed(obligation.records):
        record = types[view.type_name]
        given = records[view.name]
        _require_names(f"{view.name} of {obligation.rule.name}", set(given), {f.name for f in record.features})
        values = [x for feature in record.features for x in _encoded(feature, given[feature.name])]
        point[list(view.variables)] = values
    return point


def _require_names(what: str, given: set[str], wanted: set[str]) -> None:
    for name in sorted(given - wanted):
        close = get_close_matches(name, sorted(wanted), n=1)
        raise BindingError(
            "B25", f"{what} has no {name}", help=f"did you mean {close[0]}?" if close else _listed(wanted)
        )
    if wanted - given:
        raise BindingError("B25", f"{what} lacks {', '.join(sorted(wanted - given))}", help=_listed(wanted))


def _listed(names: set[str]) -> str:
    return f"name {', '.join(sorted(names))}"


def _encoded(feature: Feature, value: object) -> list[float]:
    if feature.kind == "enum":
        if value not in feature.cases:
            raise _unfit(feature, value, f"write one of {', '.join(feature.cases)}")
        return [float(case == value) for case in feature.cases]
    items = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if len(items) != feature.width:
        raise _unfit(feature, value, f"give {feature.width} numbers")
    return [_number(feature, item) for item in items]


def _number(feature: Feature, value: object) -> float:
    if not isinstance(value, (Real, Fraction, np.bool_)):
        raise _unfit(feature, value, "give a number in the declared unit")
    return float(value)


def _unfit(feature: Feature, value: object, help: str) -> BindingError:
    return BindingError("B25", f"{value!r} is no value of {feature.name}", help=help)
