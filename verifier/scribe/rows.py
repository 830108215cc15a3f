"""Rules about rows of data as a certificate has them: the claim, and what the kernel will count.

The rows themselves are evidence too: they are bundled as canonical tables (`tables_of`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Product, Smooth
from rewarden.spec_lang import Spec
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.tables import canonical_table
from rewarden.verifier.bind import bind, statistics_of
from rewarden.verifier.pointwise import Bound, whole_premise
from rewarden.verifier.rows import rows_of
from rewarden.verifier.verdict import RuleResult, Verdict, without_proof

RECOUNTED = 2**29  # weights times rows up to which a count without numpy is worth its time: a minute or two
CURVED = 256  # weights to a smooth neuron, which is evaluated to as many bits
BUNDLED = 2**26 - 2**20  # bytes of all rows


def with_recount(result: RuleResult, spec: Spec, rewards: Mapping[str, Artifact]) -> RuleResult:
    """The verdict with its claim and the evidence for it, or with the reason why there is none."""
    try:
        claim = bind(spec, result.rule, rewards)
    except Unsupported as error:
        return replace(result, reason=without_proof(result.reason, error.message))
    used = [rewards[name] for name, _ in claim.rewards]
    assert claim.rows is not None, "the engine for rows decides rules about rows"
    weights = sum(map(_weights, used))
    size = claim.rows.count * len(claim.variables)
    if claim.rows.count * weights > RECOUNTED or 8 * size > BUNDLED:
        return replace(
            result,
            claim=claim,
            reason=without_proof(result.reason, "its rows are too many to be bundled and counted again"),
        )
    obligation = spec.obligation(result.rule)
    rows = rows_of(obligation)
    bound = Bound(rewards, statistics_of(spec, obligation, rewards), spec.features)
    holding = np.flatnonzero(bound.holds(whole_premise(obligation), rows))
    kept = bound.holds(obligation.conclusion, rows[holding])
    failing = holding[~kept]
    count = {
        "holding": len(holding),
        "kept": int(kept.sum()),
        "first": int(failing[0]) if len(failing) else None,
    }
    head = {"format": "rewarden-recount", "format_version": 1, "claim": claim_digest(claim)}
    return replace(result, claim=claim, proof={**head, "count": count})


def _weights(artifact: Artifact) -> int:
    """That are not zero; a smooth neuron takes as long as many of them."""
    curved = [
        width
        for node, width in zip(artifact.graph.nodes, artifact.node_widths, strict=True)
        if isinstance(node, Smooth | Product)
    ]
    return sum(int(np.count_nonzero(tensor)) for tensor in artifact.tensors.values()) + CURVED * sum(curved)


def owes_a_recount(result: RuleResult) -> bool:
    """Is it a verdict of the engine for rows, without evidence as yet?"""
    return result.engine == "rows" and result.claim is None and result.verdict in (Verdict.PROVED, Verdict.VIOLATED)


def tables_of(spec: Spec, claims: Iterable[Claim]) -> dict[str, bytes]:
    """The canonical tables that claims about rows, or about what is near them, name, by digest."""
    tabled = [claim for claim in claims if claim.rows is not None or claim.near is not None]
    names = {claim.instances for claim in tabled if claim.instances is not None}
    tables = [table for name in sorted(names) for table in spec.members(name)]
    return {table.table_digest: canonical_table(table.record_type, table.values) for table in tables}
