"""A starter project: the draft of a table, a network, an artifact or a space as a spec that checks, and its config.

Nothing is written before the spec has been parsed, checked and held against the data that it names, so that what stands
there afterwards passes `rewarden check` as it is.
"""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path

from rewarden.atomic import write_text
from rewarden.config import FILE
from rewarden.draft.field import REVIEW, Draft, DraftField, DraftRecord, record_lines, shown
from rewarden.draft.naming import usable
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.format.formatter import format_text

_PREFERRED = ("better", "chosen", "preferred", "winner")  # the member of a pair that was preferred, as commonly named


def write_starter(folder: Path, source: str | Path | None) -> tuple[Path, ...]:
    """Write the project. UsageError G05 where one of its files exists, G40 for a source of no known kind."""
    name = spec_name(source, folder)
    spec, config = folder / f"{name}.rwd", folder / FILE
    for file in (spec, config):
        if file.exists():
            raise UsageError("G05", f"{file} exists already", help="rewarden init never overwrites: move it first")
    draft = draft_of(source)
    text = spec_text(name, draft, folder)
    _require_sound(text, spec)
    write_text(spec, format_text(text, spec.name))
    write_text(config, _config_text(spec, draft, folder))
    return config, spec


def draft_of(source: str | Path | None) -> Draft:
    """What a source shows; imports no more than that kind of source needs."""
    from rewarden.draft import networks, spaces, tables

    if source is None:
        note = (f"{REVIEW}: yours to write",)
        return Draft("", (DraftRecord("Step", (DraftField("x", "real in -1 .. 1", note),)),))
    if spaces.is_space(str(source)):
        return spaces.from_space(str(source))
    path = Path(source)
    if path.suffix.lower() == ".onnx":
        return networks.from_network(path)
    if path.suffix.lower() in tables.SUFFIXES:
        return tables.from_table(path)
    if path.suffix.lower() == ".rwz" or (path / "manifest.json").is_file():
        return networks.from_artifact(path)
    kinds = f"a table ({', '.join(tables.SUFFIXES)}), an .onnx file, an artifact, gym:ENVIRONMENT or module:space"
    raise UsageError("G40", f"{shown(source)}: nothing that features can be read off", help=f"--from takes {kinds}")


def spec_text(name: str, draft: Draft, folder: Path) -> str:
    """The spec, for a file in `folder`: data are named where they lie below it."""
    data = _relative(draft.table, folder)
    origin = f"those of {draft.origin}" if draft.origin else "yours to name"
    blocks = [
        [f"spec {name} v1"],
        [
            f"# Drafted by `rewarden init`; the features are {origin}.",
            "# A range is a promise: every proof is about all records in it. Go through the ranges and through what is",
            f"# marked {REVIEW}, and add units, as in `real [m/s] in 0 .. 40`.",
        ],
        *(record_lines(record) for record in draft.records),
    ]
    if draft.remarks:
        blocks.append([f"# {remark}" for remark in draft.remarks])
    params = ", ".join(f"{param}: {kind}" for param, kind in draft.params)
    declarations = [f"reward R({params})"]
    if draft.table is not None:
        kind = draft.records[0].name
        members = ", ".join(f"{member}: {kind}" for member in draft.members)
        rows = f"logs: {kind}" if draft.members == ("",) else f"{_several(draft)}: ({members})"
        if data is None:
            declarations.append(
                f"# A spec reads data from its own folder and below: move {draft.table.name} there, then"
            )
            declarations.append(f'# data {rows} from "{draft.table.name}"')
        else:
            declarations.append(f'data {rows} from "{data}"')
    blocks += [declarations, _rule(draft, data is not None), _next_steps(draft, f"{name}.rwd")]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _several(draft: Draft) -> str:
    """What rows of several records are called: preferences, or moves from one record to the next."""
    return "prefs" if draft.members[0] in _PREFERRED else "moves"


def _rule(draft: Draft, data: bool) -> list[str]:
    """One rule to begin with, that says something true of most rewards."""
    records = ", ".join(f"{param}: {kind}" for param, kind in draft.params)
    call = f"R({', '.join(param for param, _ in draft.params)})"
    if data and draft.members == ("",):
        title, quantifier, claim = (
            "Nothing is worth more than the best that was recorded.",
            None,
            f"{call} <= max(R(logs))",
        )
    elif data and draft.members[0] in _PREFERRED:
        better, worse = draft.members[:2]
        title, quantifier = "The reward agrees with most recorded preferences.", "forall p in prefs"
        claim = f"share(R(p.{better}) > R(p.{worse})) >= 0.6"
    elif draft.identified != "exact" and len(draft.params) == 1:
        # The level of such a reward means nothing, differences do.
        title, quantifier = "No two moments are worlds apart.", f"forall a, b: {draft.params[0][1]}"
        claim = "|R(a) - R(b)| <= 100"
    else:
        title, quantifier, claim = "The reward stays within bounds.", None, f"|{call}| <= 100"
    return [f"--- {title}", "should first_rule:", f"  {quantifier or f'forall {records}'}", f"  expect {claim}"]


def _next_steps(draft: Draft, spec: str) -> list[str]:
    steps = [f"review this file, then `rewarden check {spec}`"]
    if draft.artifact is None:
        steps.append(
            "rules are verified about an artifact: `rewarden learn CONFIG -o reward` makes one of data, "
            f"`rewarden import NET.onnx --features {spec} -o reward` one of a network"
        )
    steps.append(
        f"`rewarden suggest {spec} --reward ARTIFACT -o suggested.rwd` drafts more rules, each with how well it holds"
    )
    steps.append("`rewarden verify` proves each rule or shows the record that breaks it")
    lines = ["# Next:"]
    for number, step in enumerate(steps, start=1):
        lines += textwrap.wrap(step, 106, initial_indent=f"# {number}. ", subsequent_indent="#    ")
    return lines


def _config_text(spec: Path, draft: Draft, folder: Path) -> str:
    if draft.artifact is None:
        place, note = "reward", "  # make it with `rewarden learn` or `rewarden import`"
    else:
        place, note = Path(os.path.relpath(draft.artifact, folder)).as_posix(), ""
    quoted = place.replace("\\", "\\\\").replace('"', '\\"')
    lines = ["# What rewarden's commands read when they are given no arguments.", f'specs = ["{spec.name}"]']
    return "\n".join([*lines, "", "[rewards]", f'R = "{quoted}"{note}', ""])


def _require_sound(text: str, place: Path) -> None:
    """The spec parses, checks, and every row of its data fits: an error before anything is written."""
    from rewarden.spec_lang import parse_spec

    spec = parse_spec(text, place.name, base=place.parent)
    for data, declaration in spec.data.items():
        for member, _ in declaration.members:
            spec.table(data, member).require_rows()


def spec_name(source: str | Path | None, folder: Path) -> str:
    """A name for the spec, after its source or its folder."""
    raw = folder.resolve().name if source is None else Path(str(source).rpartition(":")[2]).stem
    name = re.sub(r"[^A-Za-z0-9_]+", "_", raw).strip("_").lower()
    return name if usable(name) else "rules"


def _relative(table: Path | None, folder: Path) -> str | None:
    """The table as the spec names it, where the spec may read it."""
    if table is None:
        return None
    try:
        place = table.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return None
    return None if any(mark in place for mark in '"\\\n') else place
