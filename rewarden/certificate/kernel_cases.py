"""Certificate kernel: claims with cases, about traces of several lengths ("Cases" in docs/formats.md).

Such a claim says several claims, and that not all of them are vacuous. So its proof is theirs, one after the other, and
a case may be without a witness while another has one. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rewarden.certificate.kernel_artifact import Reward
from rewarden.certificate.kernel_claim import Claim, read_plain
from rewarden.certificate.kernel_json import canonical, digest, refuse, used
from rewarden.certificate.kernel_program import Calls, Program, inline
from rewarden.certificate.kernel_shapes import array, read, text


def read_other(value: object) -> Claim:
    """A claim with cases, about a lineage, or about what is near rows."""
    if isinstance(value, dict) and "near" in value:
        from rewarden.certificate.kernel_table import read_near

        return read_near(value)
    if not isinstance(value, dict) or "lineage" not in value:
        return read_cases(value)
    from rewarden.certificate.kernel_lineage import read_lineage

    return read_lineage(value)


def read_cases(value: object) -> Claim:
    stated = read(value, {"rule": text, "severity": text, "cases": array}, "a claim")
    cases = tuple(read_plain(case) for case in stated["cases"]) or refuse("a claim has no cases")
    rewards = {pair for case in cases for pair in case.rewards.items()}
    if any((c.rule, c.severity, c.loops, c.rows) != (stated["rule"], stated["severity"], None, None) for c in cases):
        refuse("the cases of a claim are of one rule, and none is about loops or rows")
    if len(dict(rewards)) != len(rewards):
        refuse("the cases of a claim are about the same rewards")
    return replace(cases[0], digest=digest(canonical(value)), rewards=dict(rewards), cases=cases)


def judged(
    claim: Claim,
    evidence: object,
    tables: Path,
    rewards: Mapping[str, Reward],
    head: Callable[[Claim, str], dict[str, object]],
    program: Callable[[Claim, Mapping[str, Reward]], Program],
) -> tuple[str, str, int]:
    """Verdict and reason of a claim that has no trees: about a lineage, or about rows."""
    used.add("kernel_cases")
    if claim.lineage is not None:
        from rewarden.certificate.kernel_lineage import traced

        return traced(claim, rewards, evidence, head(claim, "rewarden-lineage"))
    from rewarden.certificate.kernel_rows import recounted

    return recounted(claim, program(claim, rewards), tables, evidence, head(claim, "rewarden-recount"))


def proofs(
    claim: Claim, evidence: object, head: Mapping[str, object], part: Mapping[str, object]
) -> list[tuple[Claim, Any, Callable[[int, Calls], Program]]]:
    """Of a proof that is not of the plain form: each case, what the proof says of it, and what makes its program."""
    used.add("kernel_cases")
    if isinstance(evidence, dict) and "pieces" in evidence:
        from rewarden.certificate.kernel_pieces import pieces

        return pieces(claim, evidence, head, part)
    if not claim.cases:
        from rewarden.certificate.kernel_near import beyond

        return [beyond(claim, evidence, head, part)]
    found = read(evidence, {**head, "cases": (part,) * len(claim.cases)}, "a proof of cases")
    return [(case, said, inline) for case, said in zip(claim.cases, found["cases"], strict=True)]
