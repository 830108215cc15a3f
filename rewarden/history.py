"""An artifact's history wired to files, specs and the verifier: what `show`, `diff`, `revert`, `squash`, `merge` and
`bake` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from rewarden.reward.artifact import Artifact
from rewarden.reward.store import load_artifact
from rewarden.spec_lang.errors import EditError

if TYPE_CHECKING:
    from rewarden.api import Verification
    from rewarden.editor.history.chain import Chain
    from rewarden.spec_lang import Spec
    from rewarden.verifier.options import VerifyOptions
    from rewarden.verifier.progress import Report

STEPS = (1, 2, 4, 8)  # of the largest sampled difference, until one is proved to be a bound


def chain_of(path: Path, near: Sequence[Path] = (), most: int | None = None) -> Chain:
    """The edits of an artifact as far as its ancestors lie beside it, or in the folders of `near`; `most` of them."""
    from itertools import islice

    from rewarden.editor.history.chain import Chain
    from rewarden.reward.lineage import steps_of

    newest = load_artifact(path)
    return Chain.told(newest, islice(steps_of(newest, [path.resolve().parent, *near]), most))


def wanted(edit: str) -> int | None:
    """How much of a line has to be told for an edit and its parent: all of it, unless the edit is a number."""
    return int(edit) + 2 if edit.isdecimal() and len(edit) < 6 else None


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """Where two artifacts differ. `same` are equal by construction (digests, or tensors, graph and patches). Else
    `identical` is the verdict on "they are equal everywhere", with its coverage; `most` a proved bound of |A − B| over
    the whole domain (None where none of those tried was proved), `sampled` the largest that was seen."""

    same: bool
    identical: Verification | None = None
    most: Fraction | None = None
    sampled: float = 0.0


def difference(
    one: Artifact, other: Artifact, options: VerifyOptions | None = None, progress: Report | None = None
) -> Difference:
    """Raises EditError E32 for artifacts of different records: they cannot be compared."""
    from rewarden import api
    from rewarden.editor.methods.moved import sampled_change

    if one.records != other.records:
        raise EditError("E32", "the two rewards are over different records", help="compare versions of one reward")
    if (one.graph, one.patches) == (other.graph, other.patches) and one.tensors_bytes == other.tensors_bytes:
        return Difference(True)
    rewards = {"A": one, "B": other}
    identical = api.verify(_spec(one, Fraction(0)), options, coverage=True, rewards=rewards, progress=progress)
    seen = float(sampled_change(one, other).max())
    most = None
    for step in STEPS:
        limit = Fraction(float(f"{max(seen, 1e-9) * step:.3g}")) * Fraction(101, 100)
        result = api.verify(_spec(one, limit), options, rewards=rewards, progress=progress)
        if result["same"].verdict == "proved":
            most = limit
            break
    return Difference(False, identical, most, seen)


def _spec(artifact: Artifact, limit: Fraction) -> Spec:
    """A spec that says that A and B differ nowhere by more than the limit."""
    from rewarden.draft.field import record_lines
    from rewarden.draft.networks import declared_records
    from rewarden.spec_lang.spec import parse_spec

    types = declared_records(artifact)
    params = ", ".join(f"{record.param}: {record.type.name}" for record in artifact.records)
    names = ", ".join(record.param for record in artifact.records)
    claim = f"A({names}) == B({names})"
    if limit:
        claim = f"|A({names}) - B({names})| <= {limit.numerator} / {limit.denominator}"
    text = [
        "spec difference v1",
        *(line for record in types.values() for line in record_lines(record)),
        f"reward A({params})",
        f"reward B({params})",
        "should same:",
        f"  forall {params}",
        f"  expect {claim}",
    ]
    return parse_spec("\n".join(text) + "\n")


def situation(artifact: Artifact, point: Sequence[Fraction]) -> Mapping[str, Mapping[str, object]]:
    """A point of the encoded columns as records in problem units."""
    from rewarden.verifier.witness import decode

    found: dict[str, dict[str, object]] = {}
    start = 0
    for record in artifact.records:
        values: dict[str, object] = {}
        for feature in record.type.features:
            values[feature.name] = decode(feature, point[start : start + feature.width]).value
            start += feature.width
        found[record.param] = values
    return found


def still_holds(
    spec_path: Path, before: Artifact, after: Artifact, reward: str | None
) -> tuple[Verification, tuple[str, ...]]:
    """The rules on the new artifact, and those proved of the old that are not proved any more."""
    from rewarden import api

    spec = api.load_spec(spec_path)
    name = reward or next(iter(spec.rewards))
    old = api.verify(spec, rewards={name: before})
    new = api.verify(spec, rewards={name: after})
    lost = tuple(r.rule for r in old.rules if r.verdict == "proved" and new[r.rule].verdict != "proved")
    return new, lost
