"""A verdict as JSON and back: what a cache or a saved state holds of a rule.

What comes back is not believed where it can be checked at once: witnesses are replayed in exact arithmetic, and a proof
has to be one of this claim, whole in structure. That its leaves hold is for the kernel of a certificate to say; until
then a kept `proved` is as good as the place where it was kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.spec_lang.features import RecordType
from rewarden.verifier.linear import program_of
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.program import Program
from rewarden.verifier.region_words import Described, Part
from rewarden.verifier.trail import Trail, trail_in, trail_out
from rewarden.verifier.unwritten import Unwritten
from rewarden.verifier.verdict import Reason, RuleResult, Verdict, Work
from rewarden.verifier.witness import Witness, replay, replay_premise, with_types

if TYPE_CHECKING:
    from rewarden.verifier.engines.interface import Rows

FORMAT, VERSION = "rewarden-verdict", 1
IRRELEVANT = ("time_limit", "coverage_budget")  # options that change no verdict that is kept
WORDS = ("beyond", "pieces", "slopes")  # of a proof that is owed: about what it is to be, and how


class Keeper(Protocol):
    """Where verdicts are kept, by key. `code` names the verifier that decided them; `damaged` is told of what cannot be
    used; `earlier`: what is kept is of other verifications."""

    earlier: bool

    @property
    def code(self) -> str: ...
    def wants(self, result: RuleResult, options: VerifyOptions) -> bool: ...
    def get(self, key: str) -> object | None: ...
    def put(self, key: str, kept: dict[str, Any]) -> None: ...
    def damaged(self, key: str, why: str) -> None: ...


class KeptError(ValueError):
    """What was kept is damaged, or about something else."""


# ── what a verdict hangs on ────────────────────────────────────────────────────────────────────
def key_of(claim: Claim, options: VerifyOptions, rows: Rows, code: str) -> str:
    """A digest of all that decides: the claim (which names its rewards and data by digest, and knows no comments), the
    options, the rows that searches start from, and `code`, the verifier itself."""
    chosen = {name: str(getattr(options, name)) for name in VerifyOptions.__slots__ if name not in IRRELEVANT}
    seeds = {kind: sha256(np.ascontiguousarray(values).tobytes()).hexdigest() for kind, values in sorted(rows.items())}
    said = {"claim": claim_digest(claim), "options": chosen, "rows": seeds, "code": code, "version": VERSION}
    return digest_of(canonical_json(said))


def lasting(result: RuleResult, options: VerifyOptions) -> bool:
    """Whether a second run would say the same: what a clock or a person has stopped may not."""
    if result.stopped:
        return False
    return result.verdict is not Verdict.UNKNOWN or options.time_limit is None


# ── to JSON ────────────────────────────────────────────────────────────────────────────────────
def to_kept(result: RuleResult, key: str) -> dict[str, Any]:
    """JSON-ready, without floats: they are written in hexadecimal."""
    content = {
        "verdict": result.verdict.value,
        "reason": result.reason,
        "engine": result.engine,
        "coverage": float(result.coverage).hex(),
        "non_finite": result.non_finite,
        "work": {name: getattr(result.work, name) for name in Work.__slots__},
        "warnings": list(result.warnings),
        "witness": _point(result.witness),
        "premise_witness": _point(result.premise_witness),
        "proof": _proof(result.proof),
        "claim": result.claim is not None,
        "unsettled": None if result.unsettled is None else _described(result.unsettled),
    }
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "key": key,
        "content": content,
        "digest": digest_of(canonical_json(content)),
    }


def _point(witness: Witness | None) -> list[str] | None:
    return None if witness is None else [str(x) for x in witness.point]


def _proof(proof: Mapping[str, Any] | Unwritten | None) -> dict[str, Any] | None:
    if not isinstance(proof, Unwritten):
        return None if proof is None else dict(proof)
    owed = {"boxes": proof.boxes, "trail": None if proof.trail is None else trail_out(proof.trail)}
    said = {name: True for name in WORDS if getattr(proof, name)}
    return {**owed, **said}


def _described(region: Described) -> dict[str, Any]:
    parts = [
        {"words": p.words, "sides": _hex(p.sides), "share": str(p.share), "instance": p.instance} for p in region.parts
    ]
    return {"parts": parts, "boxes": region.boxes}


def _hex(sides: Mapping[str, Any]) -> dict[str, Any]:
    return {
        label: {**side, "lo": side["lo"].hex(), "hi": side["hi"].hex()} if isinstance(side, dict) else side
        for label, side in sides.items()
    }


# ── and back ───────────────────────────────────────────────────────────────────────────────────
def of_kept(
    kept: object, key: str, claim: Claim, rewards: Mapping[str, Artifact], types: Mapping[str, RecordType]
) -> RuleResult:
    """The verdict that was kept under this key. KeptError for everything that is not sound."""
    try:
        return _of_kept(kept, key, claim, rewards, types)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError, OverflowError) as error:
        raise KeptError(f"{type(error).__name__}: {error}") from error


def _of_kept(
    kept: Any,  # noqa: ANN401 - JSON from a file
    key: str,
    claim: Claim,
    rewards: Mapping[str, Artifact],
    types: Mapping[str, RecordType],
) -> RuleResult:
    if (kept["format"], kept["format_version"], kept["key"]) != (FORMAT, VERSION, key):
        raise KeptError("it is about something else")
    content = kept["content"]
    if digest_of(canonical_json(content)) != kept["digest"]:
        raise KeptError("its digest is another")
    verdict = Verdict(content["verdict"])
    program = program_of(claim, rewards)
    witness = premise = None
    if content["witness"] is not None:
        witness = replay(claim, program, rewards, _values(content["witness"], claim))
    if content["premise_witness"] is not None:
        premise = replay_premise(claim, program, rewards, _values(content["premise_witness"], claim))
    if (witness is None) != (content["witness"] is None) or (witness is None) != (verdict is not Verdict.VIOLATED):
        raise KeptError("the witness is none")
    if premise is None and (content["premise_witness"] is not None or verdict is Verdict.PROVED):
        raise KeptError("no record satisfies the premise")
    proof: Mapping[str, Any] | Unwritten | None = None
    if content["proof"] is not None:
        if verdict is not Verdict.PROVED:
            raise KeptError("a proof of what is not proved")
        proof = _proof_in(content["proof"], claim, rewards, program)
    return RuleResult(
        rule=claim.rule,
        severity=claim.severity,
        verdict=verdict,
        reason=_reason(content["reason"]),
        witness=None if witness is None else with_types(witness, types),
        premise_witness=None if premise is None else with_types(premise, types),
        coverage=float.fromhex(content["coverage"]),
        proof=proof,
        claim=claim if content["claim"] is True else None,
        engine=None if content["engine"] is None else str(content["engine"]),
        work=Work(**{name: _count(content["work"][name]) for name in Work.__slots__}),
        warnings=tuple(str(w) for w in content["warnings"]),
        non_finite=content["non_finite"] is True,
        unsettled=None if content["unsettled"] is None else _region(content["unsettled"]),
    )


def _reason(text: str) -> str:
    return Reason(text) if text in set(Reason) else str(text)


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise KeptError(f"{value!r} is no count")
    return value


def _values(texts: list[str], claim: Claim) -> tuple[Fraction, ...]:
    if len(texts) != len(claim.variables):
        raise KeptError("a point of another claim")
    return tuple(Fraction(text) for text in texts)


def _region(told: Mapping[str, Any]) -> Described:
    parts = [
        Part(str(p["words"]), _unhex(p["sides"]), Fraction(p["share"]), _count(p["instance"])) for p in told["parts"]
    ]
    return Described(tuple(parts), _count(told["boxes"]))


def _unhex(sides: Mapping[str, Any]) -> dict[str, Any]:
    return {
        label: {**side, "lo": float.fromhex(side["lo"]), "hi": float.fromhex(side["hi"])}
        if isinstance(side, dict)
        else [str(case) for case in side]
        for label, side in sides.items()
    }


def _proof_in(
    proof: Mapping[str, Any], claim: Claim, rewards: Mapping[str, Artifact], program: Program
) -> Mapping[str, Any] | Unwritten:
    words = {name: name in proof for name in WORDS}
    if any(proof[name] is not True for name in WORDS if words[name]):
        raise KeptError(f"what a proof is to be ({', '.join(WORDS)}) is true, or is not there")
    said = {name: part for name, part in proof.items() if name not in WORDS}
    if set(said) != {"boxes", "trail"}:
        require_whole(said, claim)  # the kernel refuses words that are wrong
        return proof
    if said["trail"] is None:
        return _owed(said["boxes"], None, words)
    if words["beyond"]:  # a trail through the program without the patches that the premise opens
        from rewarden.verifier.opened import opened  # brings torch along, which the others come back without

        less = opened(claim, rewards)
        if less is None:
            raise KeptError("the premise opens no patch")
        program = program_of(*less)
    trail = trail_in(said["trail"], program)
    return _owed(said["boxes"], trail, words)


def _owed(boxes: object, trail: Trail | None, words: Mapping[str, bool]) -> Unwritten:
    beyond, pieces, slopes = (words[name] for name in WORDS)
    return Unwritten(_count(boxes), trail, beyond=beyond, pieces=pieces, slopes=slopes)


def require_whole(proof: Mapping[str, Any], claim: Claim) -> None:
    """A proof object of this claim with a complete tree for every goal and box. KeptError."""
    if set(proof) != {"format", "format_version", "claim", "witness", "goals"} or proof["format"] != "rewarden-proof":
        raise KeptError("not a proof")
    if proof["format_version"] != 1 or proof["claim"] != claim_digest(claim):
        raise KeptError("a proof of another claim")
    if [len(trees) for trees in proof["goals"]] != [len(claim.boxes)] * len(claim.goals):
        raise KeptError("a proof with trees missing")
    for tree in (tree for trees in proof["goals"] for tree in trees):
        waiting = 1
        for node in tree:
            if waiting <= 0:
                raise KeptError("a tree with nodes beyond its end")
            waiting += _arity(node, claim) - 1
        if waiting:
            raise KeptError("a tree with nodes missing")


def _arity(node: list[Any], claim: Claim) -> int:
    match node[0]:
        case "cut" | "sign":
            return 2
        case "case":
            return len(claim.clauses[_count(node[1])])
        case "leaf":
            return 0
    raise KeptError(f"no node is called {node[0]!r}")
