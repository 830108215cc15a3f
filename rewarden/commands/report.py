"""`rewarden report`: a certificate as something to read, to print and to file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewarden import exits
from rewarden.commands import options


def report(
    certificate: Annotated[Path, typer.Argument(metavar="CERT", help="The certificate's folder.")],
    spec: Annotated[Path, typer.Option("--spec", metavar="SPEC", help="The spec that it is about.")],
    reward: options.Rewards = None,
    before: Annotated[
        list[str] | None,
        typer.Option("--before", metavar="[NAME=]ARTIFACT", help="An earlier artifact, to show the difference beside."),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option("--requirements", metavar="FILE", help="A CSV (id, text) of what has to be covered."),
    ] = None,
    param: options.Params = None,
    allow: options.Allow = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", metavar="FILE", help="Trust this key (PEM) and no other.")
    ] = None,
    policy: Annotated[Path | None, typer.Option("--policy", metavar="FILE", help="Hold it to this policy.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the page.")] = None,
    pdf: Annotated[Path | None, typer.Option("--pdf", metavar="FILE", help="Write it for paper.")] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the requirements with rules and evidence.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that check proofs.")] = 1,
) -> int:
    """Check a certificate, and write what an auditor reads: a page, a PDF, a table of requirements."""
    from rewarden import jobs
    from rewarden.atomic import write_bytes, write_text
    from rewarden.binding import params_of, places_of
    from rewarden.certificate.keys import require_key
    from rewarden.output import emit
    from rewarden.spec_lang import load_spec
    from rewarden.spec_lang.diagnostics import printable
    from rewarden.spec_lang.errors import UsageError

    if not certificate.is_dir():
        raise UsageError("G50", f"{certificate}: there is no certificate folder of this name")
    if html is None and pdf is None and csv is None:
        raise UsageError("G46", "no report is asked for", help="name a file: --html, --pdf or --csv")
    if public_key is not None:
        require_key(public_key)
    read = load_spec(spec, params=params_of(param or ()), allow=tuple(allow or ()))
    older = places_of(before) if before else {}
    found = jobs.audit_report(
        certificate,
        spec=read,
        rewards=places_of(reward or ()),
        before=older,
        requirements=requirements,
        public_key=public_key,
        policy=policy,
        workers=workers,
    )
    if html is not None:
        write_text(html, found.html())
    if pdf is not None:
        write_bytes(pdf, found.pdf())
    if csv is not None:
        write_text(csv, found.csv())
    emit([f"wrote {path}" for path in (html, pdf, csv) if path is not None])
    problems = found.checked.problems
    emit([*(f"  {printable(problem)}" for problem in problems), "accepted" if found.accepted else "rejected"])
    return exits.PROVED if found.accepted else exits.REJECTED
