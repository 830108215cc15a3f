"""Whose word counts, and for how long: a policy in a file, which certificates and specs are held to.

    [certificate]
    semantics = ["real"]         # which readings of the network are accepted
    tiers = ["exact"]            # which arithmetic may have checked the proofs
    max_age_days = 90            # since the statement was made, by its own word

    [[role]]                     # each must have signed
    name = "verifier"
    keys = ["keys/verifier.pub.pem"]

    [[role]]
    name = "auditor"
    keys = ["keys/ada.pub.pem", "keys/grace.pub.pem"]
    threshold = 1                # so many of its keys; all of them, if it is not said

    [[role]]
    name = "reviewer"
    keys = ["keys/kay.pub.pem"]
    signs = ["spec"]             # a sign-off of the spec by its digest (rewarden sign-off); "certificate", if not said

    [spec]
    sign_offs = ["driving.signoff.json"]     # where the sign-offs are

Paths are relative to the file. Unknown keys are errors: a typing error must not silently weaken a policy.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewarden.certificate.keys import fingerprint, load_public_key
from rewarden.certificate.statement import INSTANT
from rewarden.nearby import did_you_mean
from rewarden.spec_lang.diagnostics import printable
from rewarden.spec_lang.errors import CertificateError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LARGEST = 2**20  # bytes
SEMANTICS = ("real", "float32")
TIERS = ("exact", "flint", "float64")
EARLY = timedelta(days=1)  # clocks differ; a statement from farther in the future is refused
_SECTIONS = ("certificate", "role", "spec")
_CERTIFICATE = ("semantics", "tiers", "max_age_days")
_ROLE = ("name", "keys", "threshold", "signs")
_SPEC = ("sign_offs",)
SIGNED = ("certificate", "spec")


@dataclass(frozen=True, slots=True)
class Role:
    """Somebody who signs what is listed, by any of these keys; `threshold` of them must have."""

    name: str
    keys: tuple[Ed25519PublicKey, ...]
    threshold: int
    signs: tuple[str, ...]

    def missing(self, signers: Collection[str]) -> int:
        """How many signatures are wanting, of those with these fingerprints."""
        return max(0, self.threshold - sum(fingerprint(key) in signers for key in self.keys))


@dataclass(frozen=True, slots=True)
class Policy:
    """What is asked of a certificate and of its spec."""

    path: Path
    roles: tuple[Role, ...]
    semantics: tuple[str, ...] = SEMANTICS
    tiers: tuple[str, ...] = TIERS
    max_age: timedelta | None = None
    sign_offs: tuple[Path, ...] = ()
    key_files: tuple[Path, ...] = ()  # of all roles

    def roles_of(self, what: str) -> tuple[Role, ...]:
        """Those who must have signed the "certificate", or the "spec"."""
        return tuple(role for role in self.roles if what in role.signs)

    def keys_of(self, what: str) -> tuple[Ed25519PublicKey, ...]:
        return tuple(key for role in self.roles_of(what) for key in role.keys)


def load_policy(path: Path) -> Policy:
    """UsageError G53 for a file that cannot be read, G54 for what it says, or a key that it names."""
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError("G53", f"{path} is too large for a policy")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError("G53", f"the policy cannot be read: {path}: {error}") from error
    _known(table, _SECTIONS, path, "")
    asked, spec = _table(table, "certificate", path), _table(table, "spec", path)
    _known(asked, _CERTIFICATE, path, "certificate.")
    _known(spec, _SPEC, path, "spec.")
    roles = _roles(table, path)
    age = asked.get("max_age_days")
    if age is not None and (not isinstance(age, int) or isinstance(age, bool) or not 1 <= age <= 36_500):
        raise UsageError("G54", f"{path}: certificate.max_age_days is a whole number of days, 1 to 36500")
    return Policy(
        path,
        roles,
        _among(asked, "semantics", SEMANTICS, path, "certificate.") or SEMANTICS,
        _among(asked, "tiers", TIERS, path, "certificate.") or TIERS,
        None if age is None else timedelta(days=age),
        tuple(path.parent / name for name in _texts(spec, "sign_offs", path, "spec.")),
        tuple(path.parent / str(name) for one in table["role"] for name in one["keys"]),
    )


def objections(
    policy: Policy,
    statement: Mapping[str, Any],
    signers: Collection[str],
    signed_off: Mapping[str, Collection[str]],
    tier: str,
    now: datetime,
) -> list[str]:
    """What the policy has against a certificate whose proofs have been checked, in sentences.

    `signers`: fingerprints of the keys that have signed it; `signed_off`: the digest of a spec → those that have signed
    it off; `tier`: what the proofs were checked in.
    """
    predicate = statement["predicate"]
    found = [
        f"policy: the {role.name} has not signed: {role.missing(signers)} of {role.threshold} signatures are missing"
        for role in policy.roles_of("certificate")
        if role.missing(signers)
    ]
    if predicate["semantics"] not in policy.semantics:
        found.append(f"policy: {predicate['semantics']} semantics; accepted is {_either(policy.semantics)}")
    if tier.split()[0] not in policy.tiers:
        found.append(f"policy: the proofs were checked in {tier}; accepted is {_either(policy.tiers)}")
    found += _age(policy, str(predicate["issued"]), now)
    spec = "".join(str(one["digest"]["sha256"]) for one in statement["subject"][-1:])  # the last subject
    by = signed_off.get(f"sha256:{spec}", ())
    return found + [
        f"policy: the {role.name} has not signed off this spec" for role in policy.roles_of("spec") if role.missing(by)
    ]


def young_until(policy: Policy, issued: str) -> datetime | None:
    """The last moment at which the policy takes a statement for young enough; None where it does not ask."""
    made = datetime.strptime(issued, INSTANT).replace(tzinfo=UTC)
    return None if policy.max_age is None else made + policy.max_age


def _age(policy: Policy, issued: str, now: datetime) -> list[str]:
    made = datetime.strptime(issued, INSTANT).replace(tzinfo=UTC)
    if made > now + EARLY:
        return [f"policy: the statement says it was made on {made:%Y-%m-%d}, which is to come"]
    if policy.max_age is not None and now - made > policy.max_age:
        return [f"policy: made on {made:%Y-%m-%d}, more than {policy.max_age.days} days ago"]
    return []


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)


# ── reading ────────────────────────────────────────────────────────────────────────────────────
def _roles(table: Mapping[str, Any], path: Path) -> tuple[Role, ...]:
    listed = table.get("role", [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise UsageError("G54", f"{path}: role must be tables, [[role]]")
    found = tuple(_role(one, path, k) for k, one in enumerate(listed, start=1))
    names = [role.name for role in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError("G54", f"{path}: two roles are called {twice[0]}")
    if not found:
        raise UsageError("G54", f"{path}: a policy without a [[role]] trusts nobody", help="name a role and its keys")
    return found


def _role(table: Mapping[str, Any], path: Path, number: int) -> Role:
    where = f"role {number}: "
    _known(table, _ROLE, path, where)
    name = table.get("name")
    if not isinstance(name, str) or not name.strip():
        raise UsageError("G54", f"{path}: {where}name must be text, and not empty")
    places = _texts(table, "keys", path, where)
    try:
        keys = tuple(load_public_key(path.parent / place) for place in places)
    except CertificateError as error:
        raise UsageError("G54", f"{path}: {where}{error.message}") from None
    prints = {fingerprint(key) for key in keys}
    if not keys or len(prints) < len(keys):
        raise UsageError("G54", f"{path}: {where}keys must name one public key or more, each of them once")
    threshold = table.get("threshold", len(keys))
    if not isinstance(threshold, int) or isinstance(threshold, bool) or not 1 <= threshold <= len(keys):
        raise UsageError("G54", f"{path}: {where}threshold is a whole number, 1 to {len(keys)}")
    signs = _among(table, "signs", SIGNED, path, where) or ("certificate",)
    return Role(printable(name.strip()), keys, threshold, signs)


def _among(table: Mapping[str, Any], key: str, known: Sequence[str], path: Path, where: str) -> tuple[str, ...]:
    """The texts of a list, each one of those known; none where nothing is said."""
    found = _texts(table, key, path, where)
    for name in found:
        if name not in known:
            raise UsageError(
                "G54", f"{path}: {where}{key}: {name} is none of {', '.join(known)}", help=did_you_mean(name, known)
            )
    if key in table and not found:
        raise UsageError("G54", f"{path}: {where}{key} is empty", help="leave it out, or name some")
    return found


def _table(table: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise UsageError("G54", f"{path}: {key} must be a table, [{key}]")
    return value


def _texts(table: Mapping[str, Any], key: str, path: Path, where: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise UsageError("G54", f"{path}: {where}{key} must be a list of texts")
    return tuple(printable(one) for one in value)


def _known(table: Mapping[str, Any], known: Sequence[str], path: Path, where: str) -> None:
    for key in table:
        if key not in known:
            raise UsageError(
                "G54", f"{path}: {where}{printable(key)} is no setting of a policy", help=did_you_mean(key, known)
            )
