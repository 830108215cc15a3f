"""`rewarden check`: is the spec itself well formed?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarden import exits
from rewarden.commands import options

if TYPE_CHECKING:
    from rewarden.spec_lang import Spec


def check(
    specs: Annotated[
        list[Path] | None, typer.Argument(metavar="SPEC...", help="Spec files; by default those of rewarden.toml.")
    ] = None,
    param: options.Params = None,
    quiet: options.Quiet = False,
) -> int:
    """Parse and type-check a spec, read its data, find premises that nothing satisfies. No reward is needed."""
    from rewarden.binding import Asked, all_specs, load_asked_spec
    from rewarden.output import emit, note
    from rewarden.spec_lang.errors import RewardenError

    statuses = []
    for path in all_specs(specs or ()):
        try:
            spec, _ = load_asked_spec(Asked(spec=path, params=param or ()))
            rows = {name: _rows(spec, name) for name in spec.data}
            vacuous = _vacuous(spec)
        except RewardenError as error:
            note(error.render())
            statuses.append(exits.UNUSABLE)
            continue
        statuses.append(exits.VIOLATED if vacuous else exits.PROVED)
        if not quiet or vacuous:
            emit(_lines(path, spec, rows, vacuous))
    return exits.worst(statuses)


def _rows(spec: Spec, data: str) -> int:
    """Read every member of a data set, which checks it; its number of rows."""
    return max(len(spec.table(data, member).require_rows().values) for member, _ in spec.data[data].members)


def _vacuous(spec: Spec) -> list[str]:
    """The rules whose premise no record satisfies, whatever the reward: shown by Z3, exactly."""
    from rewarden.spec_lang.z3_terms import premise_satisfiable

    return [rule.name for rule in spec.rules if premise_satisfiable(spec.obligation(rule.name)).status == "unsat"]


def _lines(path: Path, spec: Spec, rows: dict[str, int], vacuous: list[str]) -> list[str]:
    must = sum(rule.severity == "must" for rule in spec.rules)
    verdict = f"{len(vacuous)} vacuous" if vacuous else "fine"
    lines = [f"{path}: {len(spec.rules)} rules ({must} must), {len(rows)} data sets: {verdict}"]
    lines += [
        f"  vacuous {rule.severity} {rule.name} at {rule.span}: no record satisfies its premise"
        for rule in spec.rules
        if rule.name in vacuous
    ]
    lines += [f"  data {name}: {count} rows, every one in range" for name, count in rows.items()]
    return lines


def explain(code: Annotated[str, typer.Argument(metavar="CODE", help="The code of an error, such as U02.")]) -> int:
    """Say what an error's code means, in a paragraph."""
    import textwrap

    from rewarden.codes import explanations
    from rewarden.nearby import did_you_mean
    from rewarden.output import emit
    from rewarden.spec_lang.errors import UsageError

    known = explanations()
    text = known.get(code.upper())
    if text is None:
        raise UsageError("G60", f"no explanation is kept for {code}", help=did_you_mean(code.upper(), known))
    emit([f"{code.upper()}:", *textwrap.wrap(text, 96, initial_indent="  ", subsequent_indent="  ")])
    return exits.PROVED
