"""Who vouches for a certificate and for its spec, and how this report knows whose keys they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rewarden.certificate.keys import fingerprint, load_public_key
from rewarden.certificate.match import Checked
from rewarden.certificate.policy import Policy
from rewarden.certificate.signoff import signers_of
from rewarden.spec_lang import Spec
from rewarden.spec_lang.errors import CertificateError


@dataclass(frozen=True, slots=True)
class Signer:
    """`who` in words, `what` has been signed, the key's `fingerprint`, and `known`: where the key is known from."""

    who: str
    what: str
    fingerprint: str
    known: str


def signers(checked: Checked, spec: Spec, public_key: Path | None, policy: Policy | None) -> tuple[Signer, ...]:
    """Those who have signed, by a key or by the roles of a policy; by the certificate's own keys where neither is
    given, which show no more than that nothing was damaged."""
    if not checked.signature.verified:
        return ()
    signed = checked.signature.signers
    if policy is not None:
        return tuple(_by_role(policy, spec, signed))
    if public_key is not None:
        own = fingerprint(load_public_key(public_key))
        return tuple(
            Signer(public_key.name, "the certificate", own, "given to this report as trusted")
            for one in signed
            if one == own
        )
    known = "enclosed in the certificate: compare the fingerprint by another way"
    return tuple(Signer("not known", "the certificate", one, known) for one in signed)


def _by_role(policy: Policy, spec: Spec, signed: tuple[str, ...]) -> Iterator[Signer]:
    known = f"named by the policy {policy.path.name}"
    for role in policy.roles_of("certificate"):
        for one in map(fingerprint, role.keys):
            if one in signed:
                yield Signer(role.name, "the certificate", one, known)
    off: set[str] = set()
    for place in policy.sign_offs:
        try:
            digest, by = signers_of(place, policy.keys_of("spec"))
        except CertificateError:
            continue  # an objection of the policy's, which the report has as such
        off |= set(by) if digest == spec.digest else set()
    for role in policy.roles_of("spec"):
        for one in map(fingerprint, role.keys):
            if one in off:
                yield Signer(role.name, "the spec, as saying what is meant", one, known)
