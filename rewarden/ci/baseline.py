"""What was broken before: only what is new fails.

A baseline is JSON that `rewarden ci --json` or `rewarden verify --json` has written, or a certificate. A violation is
known where the baseline has a rule of the same fingerprint with the same verdict, violated or vacuous. A certificate
has no fingerprints of rules: there it is the claim that has to be the same, but for the digests of the rewards. Where
a rule is broken by more rewards than in the baseline, which of them were there cannot be told by its fingerprint: known
are those alone that are, by digest, the rewards of the baseline. A baseline excuses violations and proves nothing; it
is trusted like the rest of the repository, and no signature is checked.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rewarden.ci.outcome import RuleOutcome, RunOutcome
from rewarden.ci.told import KeptResult
from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.errors import CertificateError, UsageError

LARGEST = 2**28  # bytes
BROKEN = ("violated", "vacuous")


Rewards = Mapping[str, str]  # name → digest


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was broken: verdict and fingerprint, or verdict and digest of a claim whatever its rewards → by which
    rewards, as often as it was broken."""

    broken: Mapping[tuple[str, str], Sequence[Rewards]]

    def key(self, rule: RuleOutcome) -> tuple[str, str] | None:
        """What it knows a broken rule by."""
        if not rule.broken:
            return None
        verdict = rule.result.verdict.value
        for name in (rule.fingerprint, claim_of(rule)):
            if name is not None and (verdict, name) in self.broken:
                return verdict, name
        return None


def load_baseline(path: Path) -> Baseline:
    """UsageError G94 for what is no baseline; CertificateError C70 for a certificate that is damaged."""
    return _of_certificate(path) if path.is_dir() else _of_json(path)


def held_against(runs: Iterable[RunOutcome], baseline: Baseline) -> tuple[RunOutcome, ...]:
    """The runs, with what is known."""
    listed = [(run, [baseline.key(rule) for rule in run.rules]) for run in runs]
    count = Counter(key for _, keys in listed for key in keys if key is not None)

    def known(run: RunOutcome, key: tuple[str, str] | None) -> bool:
        if key is None:
            return False
        digests = {name: digest for name, (_, digest) in (run.rewards or {}).items()}
        before = baseline.broken[key]
        return count[key] <= len(before) or any(was.items() <= digests.items() for was in before)

    return tuple(
        replace(run, rules=tuple(replace(r, known=known(run, key)) for r, key in zip(run.rules, keys, strict=True)))
        for run, keys in listed
    )


def _gathered(broken: Iterable[tuple[object, object, object]]) -> Baseline:
    """Of verdict, name and rewards. TypeError for what is none."""
    found = defaultdict[tuple[str, str], list[Rewards]](list)
    for verdict, name, rewards in broken:
        if not isinstance(name, str):
            raise TypeError("a fingerprint is text")
        if not isinstance(rewards, dict):
            raise TypeError("rewards are digests by name")
        found[str(verdict), name].append(rewards)
    return Baseline(dict(found))


# ── JSON ───────────────────────────────────────────────────────────────────────────────────────
def _of_json(path: Path) -> Baseline:
    try:
        document = _read(path)
        results = document.get("runs", [document])
        rules = [(rule, result["rewards"]) for result in results for rule in result["rules"]]
        # What was waived is the waiver's business: it comes back when the waiver ends.
        broken = [(r, rewards) for r, rewards in rules if r["verdict"] in BROKEN and r.get("waiver") is None]
        return _gathered((r["verdict"], r["fingerprint"], rewards) for r, rewards in broken)
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        why = f"nothing is called {error}" if isinstance(error, KeyError) else str(error)
        help = "give JSON of rewarden ci or rewarden verify, of this version or later, or a certificate"
        raise UsageError("G94", f"{path} is no baseline: {why}", help=help) from error


def _read(path: Path) -> Any:  # noqa: ANN401 - JSON from a file
    if path.stat().st_size > LARGEST:
        raise ValueError("it is too large")
    return json.loads(path.read_bytes())


# ── certificates ───────────────────────────────────────────────────────────────────────────────
def _of_certificate(folder: Path) -> Baseline:
    try:
        predicate = json.loads(_statement(folder))["predicate"]
        data = (folder / "claims.json").read_bytes()
        if digest_of(data) != predicate["claims"]["digest"]:
            raise ValueError("claims.json is not the one that was signed")
        broken = {rule["name"]: rule["verdict"] for rule in predicate["rules"] if rule["verdict"] in BROKEN}
        claims = [claim for claim in json.loads(data)["claims"] if claim["rule"] in broken]
        return _gathered((broken[claim["rule"]], _digest(claim), _rewards(claim)) for claim in claims)
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise CertificateError("C70", f"the certificate {folder} cannot serve as a baseline: {error}") from error


def _rewards(claim: Mapping[str, Any]) -> Rewards:
    """That a claim is about, in any of its cases."""
    parts = claim.get("cases", (claim,))
    return {name: digest for part in parts for name, digest in part["rewards"].items()}


def _statement(folder: Path) -> bytes:
    """As signed; a signature that does not fit is CertificateError C33, one that is missing is no matter."""
    from rewarden.certificate.envelope import check_signatures

    if (folder / "envelope.dsse.json").exists():
        return check_signatures(folder)[0]
    return (folder / "statement.json").read_bytes()


def claim_of(rule: RuleOutcome) -> str | None:
    """What a certificate knows the rule by: a digest of its claim, whatever the reward is. None without a claim."""
    if isinstance(rule.result, KeptResult):
        return rule.result.claim
    if rule.result.claim is None:
        return None
    from rewarden.spec_lang.claim_json import claim_object

    return _digest(claim_object(rule.result.claim))


def _digest(claim: Mapping[str, Any]) -> str:
    return digest_of(canonical_json(dict(_without_rewards(claim))))


def _without_rewards(claim: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The claim of any reward; statistics of the data by the reward differ with it."""
    for key, value in claim.items():
        match key:
            case "cases":
                yield key, [dict(_without_rewards(case)) for case in value]
            case "rewards":
                yield key, sorted(value)
            case "constants":
                yield key, [{"text": c["text"], "data": c["data"]} for c in value]
            case _:
                yield key, value
