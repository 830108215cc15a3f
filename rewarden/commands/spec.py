"""`rewarden check`: is the spec itself well formed?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewarden import exits
from rewarden.commands import options


def check(
    specs: Annotated[
        list[Path] | None, typer.Argument(metavar="[SPEC]...", help="Spec files; by default those of rewarden.toml.")
    ] = None,
    param: options.Params = None,
    quiet: options.Quiet = False,
) -> int:
    """Parse, resolve and type-check a spec, and read its data. No reward is needed."""
    from rewarden.binding import Asked, all_specs, load_asked_spec
    from rewarden.output import emit, note
    from rewarden.spec_lang.errors import RewardenError

    statuses = []
    for path in all_specs(specs or ()):
        try:
            spec, _ = load_asked_spec(Asked(spec=path, params=param or ()))
            rows = {name: len(spec.table(name).values) for name in spec.data}
        except RewardenError as error:
            note(error.render())
            statuses.append(exits.UNUSABLE)
            continue
        if not quiet:
            emit(_lines(path, spec, rows))
    return exits.worst(statuses)


def _lines(path: Path, spec: object, rows: dict[str, int]) -> list[str]:
    rules = list(spec.rules)  # type: ignore[attr-defined]
    must = sum(rule.severity == "must" for rule in rules)
    lines = [f"{path}: {len(rules)} rules ({must} must), {len(rows)} data sets: fine"]
    lines += [f"  data {name}: {count} rows, every one in range" for name, count in rows.items()]
    return lines
