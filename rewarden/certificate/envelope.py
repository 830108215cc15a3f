"""Signing: a DSSE envelope around the statement, with Ed25519.

The payload is the statement's canonical JSON; the signature covers its type and its bytes (DSSE's pre-authentication
encoding). A key is a PEM file, the private one readable by its owner alone. A signature says who vouches, never that
something is true: truth is the kernel's business.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rewarden.certificate.kernel_json import Refused, parse, read_regular
from rewarden.spec_lang.canonical import canonical_json
from rewarden.spec_lang.errors import CertificateError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_PEM = 1 << 14


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature check found. `trusted` only where the caller brought the key himself."""

    verified: bool
    trusted: bool
    fingerprint: str | None
    sentence: str


# ── keys ───────────────────────────────────────────────────────────────────────────────────────
def generate_key(private_path: Path) -> Path:
    """Make a key: the private half at `private_path` (mode 0600), the public half beside it as `….pub.pem`, returned.

    Never overwrites: CertificateError C30 where either file exists or cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_path = private_path.with_name(private_path.stem + ".pub.pem")
    try:
        private_path.parent.mkdir(parents=True, exist_ok=True)
        for path, data, mode in ((private_path, secret, 0o600), (public_path, public_pem(key.public_key()), 0o644)):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
    except OSError as error:
        raise CertificateError(
            "C30", f"{error.filename}: {error.strerror}", help="keys are never overwritten: name another place"
        ) from None
    return public_path


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """An unencrypted PEM private key. CertificateError C31 if it is none, C32 if others can read it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _pem(path)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise CertificateError("C32", f"{path} can be read by others than its owner", help=f"chmod 600 {path}")
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError("C31", f"{path} holds no private key that can be used: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise CertificateError("C31", f"{path} holds a key that is not Ed25519")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """A PEM public key. CertificateError C31 if it is none."""
    return _public_key(_pem(path), path.name)


def public_pem(key: Ed25519PublicKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of the raw public key: 64 hex digits in groups of eight, for two people to compare."""
    text = hashlib.sha256(key.public_bytes_raw()).hexdigest()
    return " ".join(text[k : k + 8] for k in range(0, 64, 8))


# ── envelopes ──────────────────────────────────────────────────────────────────────────────────
def sign(payload: bytes, key: Ed25519PrivateKey) -> bytes:
    """The envelope, as canonical JSON."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # not in its __all__

    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(key))
    return canonical_json(envelope.to_dict())


def open_envelope(data: bytes, public_key: Ed25519PublicKey) -> bytes:
    """The payload, if this key has signed it. CertificateError C33 if it has not, C34 if this is no envelope."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # not in its __all__

    try:
        value = parse(data)
        if not isinstance(value, dict) or set(value) != {"payload", "payloadType", "signatures"}:
            raise Refused("its fields are not payload, payloadType and signatures")
        envelope = Envelope.from_dict(value)
        if envelope.payload_type != PAYLOAD_TYPE:
            raise Refused(f"its payload is not {PAYLOAD_TYPE}")
    except (Refused, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CertificateError("C34", f"the envelope cannot be read: {error}") from None
    except Exception as error:  # securesystemslib has its own tree of format errors
        raise CertificateError("C34", f"the envelope cannot be read: {type(error).__name__}") from None
    try:
        envelope.verify([SSlibKey.from_crypto(public_key)], threshold=1)
    except VerificationError:
        raise CertificateError(
            "C33",
            "the signature does not fit the statement and the key",
            help="the statement was changed after it was signed, or another key signed it",
        ) from None
    return envelope.payload


def check_signature(folder: Path, trusted_key: Path | None = None) -> tuple[bytes, Signature]:
    """The statement in a certificate folder, and what its signature says.

    With `trusted_key` (a PEM file that the caller got elsewhere) the signature must be by that key. Without, by the key
    in the folder itself, which shows only that the statement was not damaged. CertificateError C3x if it does not hold.
    """
    data = _bundled(folder / "envelope.dsse.json", 1 << 26)
    if trusted_key is not None:
        key = load_public_key(trusted_key)
        payload = open_envelope(data, key)
        print_of = fingerprint(key)
        return payload, Signature(True, True, print_of, f"signature: by the key you gave, {print_of}")
    key = _public_key(_bundled(folder / "public_key.pem", MAX_PEM), "public_key.pem")
    payload = open_envelope(data, key)
    print_of = fingerprint(key)
    sentence = f"signature: by the enclosed key; key not trusted unless you compare this fingerprint: {print_of}"
    return payload, Signature(True, False, print_of, sentence)


def _bundled(path: Path, limit: int) -> bytes:
    try:
        return read_regular(path, limit)
    except Refused as error:
        raise CertificateError("C34", f"the certificate: {error}") from None
    except OSError as error:
        raise CertificateError(
            "C34", f"{path.name}: {error.strerror}", help="a certificate that was not signed has none"
        ) from None


def _pem(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_PEM)
    except OSError as error:
        raise CertificateError("C31", f"{path}: {error.strerror}") from None


def _public_key(data: bytes, name: str) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError("C31", f"{name} holds no public key that can be used: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise CertificateError("C31", f"{name} holds a key that is not Ed25519")
    return key
