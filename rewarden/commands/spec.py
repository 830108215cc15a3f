"""`rewarden check` and `rewarden explain`: is the spec itself in order, and what does an error mean?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarden import exits
from rewarden.commands import options

if TYPE_CHECKING:
    from rewarden.binding import Asked
    from rewarden.checking import Checked, Unusable
    from rewarden.spec_lang import Spec
    from rewarden.spec_lang.sanity.checks import Identified


def check(
    specs: Annotated[
        list[Path] | None, typer.Argument(metavar="SPEC...", help="Spec files; by default those of rewarden.toml.")
    ] = None,
    param: options.Params = None,
    rule: Annotated[
        list[str] | None, typer.Option("--rule", metavar="NAME", help="Only this rule, with --smt2; repeatable.")
    ] = None,
    identified: Annotated[
        str,
        typer.Option(
            metavar="exact|shift|affine", help="How far rewards will be known: warn of rules that the rest could flip."
        ),
    ] = "exact",
    compare: Annotated[
        bool, typer.Option("--compare", help="Of two specs, OLD and NEW: which rules became weaker or stronger?")
    ] = False,
    smt2: Annotated[
        Path | None, typer.Option("--smt2", metavar="DIR", help="Write the rules as SMT-LIB to a folder to make.")
    ] = None,
    json: options.JsonOrStdout = None,
    allow_path: options.Allow = None,
    quiet: options.Quiet = False,
) -> int:
    """Check a spec itself: names, types, units and data, then by proof its premises, its examples, its rules together.

    Exit status 1: must rules whose premise nothing satisfies, or that no reward satisfies; an example that fails.
    """
    from rewarden.binding import Asked, all_specs, params_of
    from rewarden.checking import to_json, told
    from rewarden.output import STDOUT, emit, put_json
    from rewarden.spec_lang.errors import UsageError

    if json is not None and not json.parent.is_dir():
        raise UsageError("G61", f"there is no folder {json.parent} to write {json.name} to", help="make it first")
    if compare:
        from rewarden.commands.compare import run_compare

        old, new = _two(specs or ())
        return run_compare(old, new, params_of(param or ()), json, quiet, allow=tuple(allow_path or ()))
    asked = Asked(params=tuple(param or ()), allow=tuple(allow_path or ()))
    paths = all_specs(specs or ())
    if smt2 is not None:
        return _smt2(paths, asked, smt2, rule or ())
    if rule:
        raise UsageError("G63", "--rule goes with --smt2", help="the other checks are about all rules together")
    known = _identified(identified)
    results = []
    for path in paths:
        results.append(_checked(replace(asked, spec=path), known))
        if json != STDOUT:
            emit(told(results[-1], quiet=quiet))
    if json is not None:
        put_json(to_json(results), json)
    return exits.worst(result.status for result in results)


def _checked(asked: Asked, identified: Identified) -> Checked | Unusable:
    """One spec, checked; errors are told at once."""
    from rewarden.binding import load_asked_spec
    from rewarden.checking import Checked, Unusable, row_counts, shown
    from rewarden.output import note
    from rewarden.spec_lang.errors import RewardenError

    assert asked.spec is not None
    name = shown(asked.spec)
    try:
        spec, _ = load_asked_spec(asked)
        rows = row_counts(spec)
        from rewarden.spec_lang.sanity.checks import check_spec

        return Checked(name, spec, check_spec(spec, identified=identified), rows)
    except RewardenError as error:
        note(error.render())
        return Unusable(name, error)


def _two(specs: Sequence[Path]) -> tuple[Path, Path]:
    from rewarden.spec_lang.errors import UsageError

    if len(specs) != 2:
        raise UsageError("G62", f"--compare takes two specs, not {len(specs)}", help="rewarden check OLD NEW --compare")
    return specs[0], specs[1]


def _identified(text: str) -> Identified:
    from rewarden.spec_lang.errors import UsageError

    match text:
        case "exact" | "shift" | "affine":
            return text
    raise UsageError("G64", f"--identified {text}", help="a reward is known exactly, up to a shift, or an affine map")


def _smt2(paths: Sequence[Path], asked: Asked, folder: Path, rules: Sequence[str]) -> int:
    from rewarden.binding import load_asked_spec
    from rewarden.commands.compare import run_smt2
    from rewarden.spec_lang.errors import UsageError

    if len(paths) != 1:
        raise UsageError("G63", f"--smt2 takes one spec, not {len(paths)}", help="name the spec")
    spec: Spec
    spec, _ = load_asked_spec(replace(asked, spec=paths[0]))
    return run_smt2(spec, folder, tuple(rules))


# ── explain ────────────────────────────────────────────────────────────────────────────────────
_FAMILIES = {
    "P": "the text of a spec",
    "N": "names",
    "T": "types",
    "U": "units",
    "L": "what a rule means",
    "S": "the spec as a whole",
    "D": "data",
    "B": "binding a reward",
    "X": "what has no exact form, or no engine",
    "A": "artifacts",
    "E": "edits",
    "C": "certificates and keys",
    "G": "commands and configuration",
}


def explain(
    code: Annotated[
        str | None, typer.Argument(metavar="CODE", help="The code of an error, such as U02; without it, all codes.")
    ] = None,
) -> int:
    """Say what an error's code means, in a paragraph; without a code, list all of them."""
    import textwrap

    from rewarden.codes import explanations
    from rewarden.nearby import did_you_mean
    from rewarden.output import emit
    from rewarden.spec_lang.errors import UsageError

    known = explanations()
    if code is None:
        emit(_all_codes(known))
        return exits.PROVED
    text = known.get(code.upper())
    if text is None:
        raise UsageError("G60", f"no explanation is kept for {code}", help=did_you_mean(code.upper(), known))
    emit([f"{code.upper()}:", *textwrap.wrap(text, 96, initial_indent="  ", subsequent_indent="  ")])
    return exits.PROVED


def _all_codes(known: dict[str, str]) -> list[str]:
    """Every code with the beginning of its explanation, by family."""
    import textwrap

    found: list[str] = []
    letters = [*_FAMILIES, *sorted({code[0] for code in known} - set(_FAMILIES))]
    for letter in letters:
        codes = sorted(code for code in known if code[0] == letter)
        if codes:
            found += ["", f"{letter}: {_FAMILIES.get(letter, 'others')}"]
            found += [f"  {code}  {textwrap.shorten(known[code], 88, placeholder=' …')}" for code in codes]
    return found[1:]
