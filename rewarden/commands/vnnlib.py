"""`rewarden vnnlib`, `vnnlib-export` and `vnnlib-replay`: other verifiers' queries, and second opinions on ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rewarden import exits
from rewarden.commands import options

if TYPE_CHECKING:
    from rewarden.verifier.vnnlib.answer import Said
    from rewarden.verifier.vnnlib.export import Export
    from rewarden.verifier.vnnlib.query import Query

QueryFile = Annotated[Path, typer.Argument(metavar="QUERY", help="A query, VNN-LIB 1.0 or 2.")]
MANIFEST = "manifest.json"


def vnnlib(
    network: Annotated[Path, typer.Argument(metavar="NET", help="The (first) network, ONNX.")],
    query: QueryFile,
    more: Annotated[
        list[str] | None,
        typer.Option("--network", metavar="NAME=FILE", help="A further network of a VNN-LIB 2 query; repeatable."),
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Boxes that may be examined, per disjunct.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Stop after so many seconds of solving.")] = None,
    quiet: options.Quiet = False,
) -> int:
    """Answer a VNN-LIB query over the reals: sat (with a solution), unsat, unknown or timeout on the first line.

    Exit status: 0 unsat; 1 sat: what the query hopes against can happen; 2 no answer, the files are at fault; 3 unknown
    or timeout.
    """
    from rewarden.binding import verify_options
    from rewarden.config import Config
    from rewarden.output import emit, note
    from rewarden.progress import per_rule, progress
    from rewarden.verifier.vnnlib.answer import answer
    from rewarden.verifier.vnnlib.assignment import assignment_lines, is_exact

    read = _read_query(query)
    files = _networks(read, network, more or ())
    chosen = verify_options(Config(), {"budget": budget, "timeout": timeout})
    with progress(quiet) as report:
        found = answer(read, files, chosen, per_rule(report))
    emit([found.said])
    if found.said == "sat":
        emit(assignment_lines(read, found.inputs, found.outputs))
        rounded = [read.input_name(i) for i, value in enumerate(found.inputs) if not is_exact(value)]
        if rounded:
            note(f"{', '.join(rounded)}: no finite decimal; printed to 17 digits, exact in the check")
    if not quiet and found.said in ("unknown", "timeout"):
        note(found.reason)
    return _status(found.said)


def _status(said: Said) -> int:
    return {"unsat": exits.PROVED, "sat": exits.VIOLATED}.get(said, exits.INCONCLUSIVE)


def vnnlib_export(
    out: options.OutFolder,
    spec: options.SpecFile = None,
    reward: options.Rewards = None,
    rule: options.Rules = None,
    param: options.Params = None,
    quiet: options.Quiet = False,
) -> int:
    """Write rules and their rewards as VNN-LIB queries and ONNX networks, for a second opinion of another verifier.

    Exit status: 0 all rules are written; 3 some cannot be said in VNN-LIB.
    """
    import json

    from rewarden.atomic import new_folder, require_free
    from rewarden.binding import Asked, bind
    from rewarden.output import emit
    from rewarden.verifier.vnnlib.export import export

    bound = bind(Asked(spec, reward or (), param or (), rule or ()))
    require_free(out)
    with new_folder(out) as scratch:

        def put(name: str, content: bytes) -> None:
            (scratch / name).parent.mkdir(exist_ok=True)
            (scratch / name).write_bytes(content)

        done = export(bound.spec, bound.rewards, bound.rules, put)
        put(MANIFEST, (json.dumps(done.manifest, indent=1, sort_keys=True) + "\n").encode("ascii"))
    emit(_summary(done, out, quiet))
    return exits.INCONCLUSIVE if done.refused else exits.PROVED


def _summary(done: Export, out: Path, quiet: bool) -> list[str]:
    lines = []
    for claim in () if quiet else done.claims:
        facts = [f"{claim.queries} {'query' if claim.queries == 1 else 'queries'}"]
        facts += [f"{claim.empty} cases without any record"] if claim.empty else []
        facts += [f"{claim.settled} cases that hold by their bounds"] if claim.settled else []
        facts += [f"{claim.closed} strict comparisons closed (1.0)"] if claim.closed else []
        facts += [f"{claim.rounded} numbers rounded outward"] if claim.rounded else []
        lines.append(f"{claim.name}: {', '.join(facts)}")
    lines += [f"{rule}: not written: {reason}" for rule, reason in done.refused.items()]
    if quiet:
        return lines
    queries = sum(claim.queries for claim in done.claims)
    return [
        *lines,
        "",
        f"wrote {out}: {len(done.networks)} networks, {queries} queries, each in VNN-LIB 1.0 and 2.0",
        "all queries of a rule unsat: no record violates it; sat: a candidate, for rewarden vnnlib-replay",
    ]


def vnnlib_replay(
    query: Annotated[Path, typer.Argument(metavar="QUERY", help="A query that vnnlib-export wrote.")],
    solution: Annotated[Path, typer.Argument(metavar="SOLUTION", help="What a verifier answered, in either format.")],
    spec: options.SpecFile = None,
    reward: options.Rewards = None,
    param: options.Params = None,
) -> int:
    """Judge another verifier's solution exactly: is it a violation of the rule?

    Exit status: 1 it is; 3 it is not, such as a solution at equality alone.
    """
    from rewarden.binding import Asked, bind
    from rewarden.output import emit, witness_lines
    from rewarden.spec_lang.claim_json import claim_digest
    from rewarden.spec_lang.errors import UsageError
    from rewarden.verifier.bind import bind_obligation
    from rewarden.verifier.vnnlib import manifest
    from rewarden.verifier.vnnlib.reader import MAX_BYTES, read_file
    from rewarden.verifier.vnnlib.replay import read_inputs, replayed, variables_of

    read = _read_query(query)
    inputs = read_inputs(read, read_file(solution, MAX_BYTES), solution.name)
    raw = read_file(query.parent.parent / MANIFEST, manifest.MAX_BYTES)
    written = manifest.find_query(raw, f"{query.parent.name}/{query.name}")
    bound = bind(Asked(spec, reward or (), param or (), (written.rule,)))
    parts = bound.spec.obligations_of(written.rule)
    claims = (bind_obligation(bound.spec, part, bound.rewards) for part in parts if part.case == written.part)
    claim = next((claim for claim in claims if claim_digest(claim) == written.claim), None)
    if claim is None or not 0 <= written.instance < len(claim.boxes):
        raise UsageError("G84", f"{query} was written for another spec or reward", help="export the rule again")
    witness = replayed(claim, bound.rewards, written.instance, variables_of(claim, read, inputs))
    if witness is None:
        emit([f"not a violation of {written.rule}: at this point, and at exact points next to it, the rule holds"])
        return exits.INCONCLUSIVE
    emit([f"violated: {written.rule}", *witness_lines(witness)])
    return exits.VIOLATED


# ── files ──────────────────────────────────────────────────────────────────────────────────────
def _read_query(path: Path) -> Query:
    from rewarden.verifier.vnnlib.declarations import parse_query
    from rewarden.verifier.vnnlib.reader import MAX_BYTES, read_file

    return parse_query(read_file(path, MAX_BYTES), path.name)


def _networks(query: Query, first: Path, more: list[str] | tuple[()]) -> dict[str, Path]:
    """Name → file: the first network has the one that stands alone."""
    from rewarden.spec_lang.errors import UsageError

    files: dict[str, Path] = {query.networks[0].name: first}
    for text in more:
        name, equals, file = text.partition("=")
        if not equals or name in files:
            raise UsageError(
                "G81", f"--network {text}: expected NAME=FILE, each name once", help="the first needs none"
            )
        files[name] = Path(file)
    return files
