"""`rewarden check OLD NEW --compare` and `rewarden check SPEC --smt2 DIR`, once the command line is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rewarden import exits
from rewarden.atomic import write_text

if TYPE_CHECKING:
    from rewarden.spec_lang import Spec


def run_compare(
    old: Path,
    new: Path,
    params: Mapping[str, object] | Sequence[str],
    json_file: Path | None,
    quiet: bool,
    allow: tuple[Path, ...] = (),
) -> int:
    """Print what changed from OLD to NEW; 0 if NEW protects at least as much, 1 if that is not so or not known.

    Status 1 says that a human has to look: some `must` rule of OLD became weaker, was removed, replaced by another one
    or lowered to `should`, or it is undecided whether it did. A stronger rule may be as wrong, but it never lets a
    reward pass that was refused before, and verifying the reward says no by itself. So CI may pass status 0 unread.
    A parameter goes to those of the two specs that declare it. Errors (2) are raised.
    """
    from rewarden.binding import params_of
    from rewarden.output import STDOUT, emit, put_json
    from rewarden.spec_lang.compare.json import comparison_json
    from rewarden.spec_lang.compare.specs import compare_specs
    from rewarden.spec_lang.compare.text import comparison_lines

    given = params if isinstance(params, Mapping) else params_of(params)
    specs = _load(old, given, allow), _load(new, given, allow)
    undeclared = [name for name in given if all(name not in spec.params for spec in specs)]
    if undeclared:
        _refuse(undeclared[0], specs)
    found = compare_specs(*specs)
    if json_file is not None:
        put_json(comparison_json(found), json_file)
    if json_file != STDOUT and (not quiet or not found.safe):
        emit(comparison_lines(found))
    return exits.PROVED if found.safe else exits.VIOLATED


def _load(path: Path, given: Mapping[str, object], allow: tuple[Path, ...]) -> Spec:
    from rewarden.spec_lang import load_spec

    spec = load_spec(path, allow=allow)
    mine = {name: value for name, value in given.items() if name in spec.params}
    return load_spec(path, params=mine, allow=allow) if mine else spec


def _refuse(name: str, specs: Sequence[Spec]) -> None:
    from rewarden.nearby import did_you_mean
    from rewarden.spec_lang.errors import UsageError

    known = [param for spec in specs for param in spec.params]
    raise UsageError("G65", f"neither spec has a parameter {name}", help=did_you_mean(name, known))


def run_smt2(spec: Spec, out_dir: Path, rules: Sequence[str] | None) -> int:
    """Write DIR/RULE.smt2 for the rules named, or for all; a rule that has no script, or whose data cannot be read, is
    told and left out.

    Nothing is written if a file that says something else is in the way (UsageError G66). Status 2 if a rule that was
    named has no script, or none has.
    """
    from rewarden.output import emit, note
    from rewarden.spec_lang.errors import RewardenError, UsageError
    from rewarden.spec_lang.smt2.script import smt2

    names = tuple(rules or ())
    texts: dict[Path, str] = {}
    refused = 0
    for rule in [spec.rule(name) for name in names] or spec.rules:
        try:
            texts[out_dir / f"{rule.name}.smt2"] = smt2(spec, rule.name)
        except RewardenError as error:
            refused += 1
            note(error.render())
    for target, text in texts.items():
        if target.exists() and target.read_bytes() != text.encode("utf-8"):
            raise UsageError("G66", f"{target} exists already, with another text", help="name another folder")
    for target, text in texts.items():
        write_text(target, text)
    emit(f"{target}" for target in texts)
    return exits.UNUSABLE if not texts or (names and refused) else exits.PROVED
