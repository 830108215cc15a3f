"""What a certificate says of a reward that forgot rows: the claim, and the manifests that bear it out.

The nearest request on the reward's line of edits is told. Nothing older is: the manifest of its parent, from which the
rows were forgotten, names tables that still held them, and against such a digest whoever knows all other rows could
test what he guesses. Of the ledger there is the digest at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewarden.certificate.kernel_json import Refused, canonical, digest, parse
from rewarden.certificate.kernel_lineage import MAX_LINE, read_lineage
from rewarden.reward.artifact import Artifact
from rewarden.reward.lineage import Step, steps_of
from rewarden.reward.store import read_manifest
from rewarden.spec_lang.errors import ArtifactError

KEEPS = ("patch", "envelope", "slope", "last-layer", "squash")  # edits that change what is there, and learn nothing


@dataclass(frozen=True, slots=True)
class Lineage:
    """A claim in the form of claims.json, and the manifests of the line, from the reward's parent to the artifact that
    came of the request."""

    claim: Mapping[str, Any]
    line: tuple[Mapping[str, Any], ...] = ()

    @property
    def rule(self) -> str:
        return str(self.claim["rule"])

    @property
    def digest(self) -> str:
        return digest(canonical(self.claim))

    @property
    def evidence(self) -> dict[str, Any]:
        head = {"format": "rewarden-lineage", "format_version": 1, "claim": self.digest}
        return {**head, "line": list(self.line)}


def lineage_of(name: str, artifact: Artifact, near: Sequence[Path] = ()) -> Lineage | None:
    """What is to be said of a reward called `name`; None where no request to forget is on its line, as far as the
    ancestors lie in the folders `near`, and where an edit since may have brought rows back (a revert, learning)."""
    if artifact.parent is None:
        return None
    since: list[str] = []
    line: list[Mapping[str, Any]] = []
    for step in steps_of(artifact, near):
        manifest = _manifest(artifact.manifest_bytes) if not since else _read(step)
        if manifest is None or step.edit is None or len(since) > MAX_LINE:
            return None
        line.append(manifest)
        if step.edit.kind == "unlearn":
            return _told(name, artifact.digest, step, tuple(reversed(since)), tuple(line))
        if step.edit.kind not in KEEPS:
            return None
        since.append(step.edit.kind)
    return None


def _told(
    name: str, own: str, step: Step, since: tuple[str, ...], line: tuple[Mapping[str, Any], ...]
) -> Lineage | None:
    """None where the manifest does not say enough, as those of older versions do not."""
    assert step.edit is not None
    said = step.edit.statement
    claim = {
        "rule": f"lineage of {name}",
        "severity": "should",
        "rewards": {name: own},
        "lineage": {
            "artifact": step.digest,
            "parent": step.parent,
            "since": list(since),
            "road": said.get("road"),
            "forgotten": _count(said.get("forgotten")),
            "left": _count(said.get("left")),
            "epsilon": said.get("epsilon"),
            "delta": said.get("delta"),
            "data": [{"table": source["table"], "rows": source["rows"]} for source in line[-1]["data"]],
            "ledger": _ledger(step.places),
        },
    }
    try:
        read_lineage(claim)
    except Refused:
        return None
    return Lineage(claim, line[1:])


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _ledger(places: Sequence[Path]) -> str | None:
    """The digest of the ledger beside an artifact."""
    from rewarden.unlearning import ledger_of

    for place in map(ledger_of, places):
        if place.is_file():
            return digest(place.read_bytes())
    return None


def _read(step: Step) -> Mapping[str, Any] | None:
    """The manifest of an artifact that lies somewhere."""
    for place in step.places:
        try:
            data = read_manifest(place)
            if digest(data) == step.digest:
                return _manifest(data)
        except ArtifactError:
            continue
    return None


def _manifest(data: bytes) -> Mapping[str, Any] | None:
    try:
        found = parse(data)
    except Refused:
        return None
    return found if isinstance(found, dict) else None
