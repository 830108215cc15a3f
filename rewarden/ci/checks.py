"""The check of a spec itself, decided once and kept: what is kept is named by all that decides it.

A key covers the texts of the spec's files (findings name lines), its meaning, its data, and the code that checks.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from rewarden.ci.kept import kept_or_found
from rewarden.ci.outcome import Finding, Place
from rewarden.ci.told import finding_of_kept, finding_to_kept

if TYPE_CHECKING:
    from rewarden.spec_lang.errors import Diagnostic
    from rewarden.spec_lang.spec import Spec
    from rewarden.verdict_cache import VerdictCache

FORMAT, VERSION = "rewarden-check", 1


def findings_of(spec: Spec, file: str, kept: VerdictCache | None) -> tuple[Finding, ...]:
    """What `rewarden check` finds. Reads all data (SpecError where rows do not fit)."""
    from rewarden.checking import row_counts

    row_counts(spec)
    if kept is None:
        return _found(spec, file)
    key = _key(spec, file, kept.code)
    return kept_or_found(
        kept,
        key,
        lambda: _found(spec, file),
        lambda found: [finding_to_kept(one) for one in found],
        lambda content: tuple(finding_of_kept(one) for one in content),
    )


def finding(diagnostic: Diagnostic, file: str, own: str) -> Finding:
    """`own`: the name that the spec's own file has in places; it is called `file`."""
    place = None
    if diagnostic.labels:
        span = diagnostic.labels[0].span
        place = Place(file if span.source.name == own else span.source.name, span.line, span.column)
    return Finding(diagnostic.code, diagnostic.severity, diagnostic.message, place, diagnostic.help)


def _found(spec: Spec, file: str) -> tuple[Finding, ...]:
    from rewarden.spec_lang.sanity.checks import check_spec

    return tuple(finding(diagnostic, file, spec.source.name) for diagnostic in check_spec(spec).diagnostics)


def _key(spec: Spec, file: str, code: str) -> dict[str, Any]:
    texts = {item.span.source for item in spec.expanded.items} | {spec.source}
    return {
        "format": FORMAT,
        "version": VERSION,
        "code": code,
        "file": file,
        "spec": spec.digest,
        "texts": sorted([text.name, sha256(text.text.encode()).hexdigest()] for text in texts),
        "data": {f"{name}.{member}": spec.table(name, member).table_digest for name, member in sorted(spec.tables)},
    }
