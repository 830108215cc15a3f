"""Signing: a DSSE envelope around a statement, with any number of Ed25519 signatures.

The payload is the statement's canonical JSON; a signature covers its type and its bytes (DSSE's pre-authentication
encoding), and not the other signatures: whoever signs later signs the same bytes. A signature says who vouches, never
that something is true: truth is the kernel's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rewarden.certificate.kernel_files import read_regular
from rewarden.certificate.kernel_json import Refused, parse
from rewarden.certificate.keys import MAX_PEM, MOST_KEYS, fingerprint, public_keys
from rewarden.spec_lang.canonical import canonical_json
from rewarden.spec_lang.errors import CertificateError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from securesystemslib.dsse import Envelope

PAYLOAD_TYPE = "application/vnd.in-toto+json"
ENVELOPE = "envelope.dsse.json"
KEYS = "public_key.pem"
MAX_ENVELOPE = 1 << 26


@dataclass(frozen=True, slots=True)
class Signature:
    """What the signatures of an envelope say. `trusted` only where the caller brought the keys himself.

    `signers`: fingerprints of those keys, of the ones that were tried, that have signed.
    """

    verified: bool
    trusted: bool
    signers: tuple[str, ...]
    sentence: str


def sign(payload: bytes, key: Ed25519PrivateKey) -> bytes:
    """The envelope, as canonical JSON."""
    from securesystemslib.dsse import Envelope

    return _signed(Envelope(payload, PAYLOAD_TYPE, {}), key)


def add_signature(data: bytes, key: Ed25519PrivateKey) -> bytes:
    """The envelope with one more signature. CertificateError C34 for no envelope, C35 if this key has signed it."""
    envelope = _read(data)
    if _accepts(envelope, key.public_key()):
        raise CertificateError("C35", f"the key {fingerprint(key.public_key())} has signed this already")
    if len(envelope.signatures) >= MOST_KEYS:
        raise CertificateError("C34", f"the envelope has {MOST_KEYS} signatures; no more are taken")
    return _signed(envelope, key)


def has_signed(data: bytes, key: Ed25519PublicKey) -> bool:
    """Whether an envelope has a signature by this key. CertificateError C34 if it is none."""
    return _accepts(_read(data), key)


def payload_of(data: bytes) -> bytes:
    """What an envelope is about, whoever signed it. CertificateError C34 if it is none."""
    payload: bytes = _read(data).payload
    return payload


def open_envelope(data: bytes, keys: Sequence[Ed25519PublicKey]) -> tuple[bytes, tuple[Ed25519PublicKey, ...]]:
    """The payload, and those of the keys that have signed it: at least one.

    CertificateError C33 if none of them has, C34 if this is no envelope.
    """
    envelope = _read(data)
    found = tuple(key for key in keys if _accepts(envelope, key))
    if not found:
        raise CertificateError(
            "C33",
            "the signature does not fit the statement and the key",
            help="the statement was changed after it was signed, or another key signed it",
        )
    return envelope.payload, found


def check_signatures(folder: Path, trusted: Sequence[Ed25519PublicKey] = ()) -> tuple[bytes, Signature]:
    """The statement in a certificate folder, and what its signatures say.

    With `trusted` (keys that the caller got elsewhere) one of those must have signed. Without, the keys in the folder
    itself, each of them, which shows only that the statement was not damaged. CertificateError C3x if it does not hold.
    """
    data = bundled(folder / ENVELOPE, MAX_ENVELOPE)
    if trusted:
        payload, found = open_envelope(data, trusted)
        prints = tuple(fingerprint(key) for key in found)
        return payload, Signature(True, True, prints, f"signature: by the key you gave, {' and '.join(prints)}")
    enclosed = public_keys(bundled(folder / KEYS, MAX_PEM), KEYS)
    payload, found = open_envelope(data, enclosed)
    if len(found) < len(enclosed):
        missing = next(key for key in enclosed if key not in found)
        raise CertificateError("C33", f"the enclosed key {fingerprint(missing)} has not signed the statement")
    prints = tuple(fingerprint(key) for key in found)
    keys = "key; key not trusted unless you compare this fingerprint:" if len(found) == 1 else (
        "keys; keys not trusted unless you compare these fingerprints:"
    )  # fmt: skip
    return payload, Signature(True, False, prints, f"signature: by the enclosed {keys} {' and '.join(prints)}")


def bundled(path: Path, limit: int) -> bytes:
    """A file of a certificate or beside it. CertificateError C34 if it is missing, a link, or too large."""
    try:
        return read_regular(path, limit)
    except Refused as error:
        raise CertificateError("C34", f"the certificate: {error}") from None
    except OSError as error:
        raise CertificateError(
            "C34", f"{path.name}: {error.strerror}", help="a certificate that was not signed has none"
        ) from None


def _signed(envelope: Envelope, key: Ed25519PrivateKey) -> bytes:
    from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # not in its __all__

    envelope.sign(CryptoSigner(key))
    return canonical_json(envelope.to_dict())


def _accepts(envelope: Envelope, key: Ed25519PublicKey) -> bool:
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # not in its __all__

    try:
        envelope.verify([SSlibKey.from_crypto(key)], threshold=1)
    except VerificationError:
        return False
    return True


def _read(data: bytes) -> Envelope:
    from securesystemslib.dsse import Envelope

    try:
        value = parse(data)
        if not isinstance(value, dict) or set(value) != {"payload", "payloadType", "signatures"}:
            raise Refused("its fields are not payload, payloadType and signatures")
        if not isinstance(value["signatures"], list) or len(value["signatures"]) > MOST_KEYS:
            raise Refused(f"its signatures are not a list of at most {MOST_KEYS}")
        envelope = Envelope.from_dict(value)
        if envelope.payload_type != PAYLOAD_TYPE:
            raise Refused(f"its payload is not {PAYLOAD_TYPE}")
    except (Refused, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CertificateError("C34", f"the envelope cannot be read: {error}") from None
    except Exception as error:  # securesystemslib has its own tree of format errors
        raise CertificateError("C34", f"the envelope cannot be read: {type(error).__name__}") from None
    return envelope
