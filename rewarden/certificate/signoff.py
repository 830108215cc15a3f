"""Sign-off: a person's signed word that a spec, by its digest, says what is meant.

An in-toto Statement (v1) in a DSSE envelope, as a certificate is, whose subject is the spec's digest. The digest is of
the spec's meaning (comments and layout do not change it), so that a sign-off outlives a reformatting and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewarden.certificate.envelope import MAX_ENVELOPE, add_signature, bundled, open_envelope, payload_of, sign
from rewarden.certificate.kernel_json import Refused, parse
from rewarden.certificate.keys import fingerprint
from rewarden.spec_lang.canonical import canonical_json
from rewarden.spec_lang.errors import CertificateError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from rewarden.spec_lang import Spec

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://rewarden.dev/sign-off/v1"
SAYS = "I have read this spec, and it says what I mean."


def signed_off(spec: Spec, key: Ed25519PrivateKey, before: bytes | None = None) -> bytes:
    """A sign-off of this spec; with `before`, an earlier one of the same spec with one more signature.

    CertificateError C37 if `before` is about another spec, or the same with other words; C35 if this key has signed it.
    """
    statement = canonical_json(_statement(spec))
    if before is None:
        return sign(statement, key)
    if payload_of(before) != statement:
        raise CertificateError(
            "C37",
            f"the sign-off is not of this {spec.name}, but of another or an earlier one",
            help="name another file, so that the earlier sign-off is kept",
        )
    return add_signature(before, key)


def signers_of(path: Path, keys: Sequence[Ed25519PublicKey]) -> tuple[str, tuple[str, ...]]:
    """The digest of the spec that a file signs off, and the fingerprints of those keys that have signed it.

    CertificateError C33 if none has, C34 for no envelope, C37 if it is no sign-off.
    """
    payload, found = open_envelope(bundled(path, MAX_ENVELOPE), keys)
    try:
        value = parse(payload)
        if not isinstance(value, dict) or (value["_type"], value["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise CertificateError("C37", f"{path.name} is no sign-off of a spec")
        if value["predicate"]["says"] != SAYS:
            raise CertificateError("C37", f"{path.name} is no sign-off of a spec: it says something else")
        (subject,) = value["subject"]
        digest = "sha256:" + str(subject["digest"]["sha256"])
    except (Refused, KeyError, TypeError, ValueError) as error:
        raise CertificateError("C37", f"{path.name} is no sign-off of a spec: {error}") from None
    return digest, tuple(fingerprint(key) for key in found)


def _statement(spec: Spec) -> dict[str, Any]:
    kind, _, value = spec.digest.partition(":")
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": f"{spec.name}.rwd", "digest": {kind: value}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "schema_version": 1,
            "says": SAYS,
            "rules": [{"name": rule.name, "title": rule.title, "severity": str(rule.severity)} for rule in spec.rules],
        },
    }
