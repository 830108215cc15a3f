"""Ed25519 keys in PEM files: made, read, and named by a fingerprint that two people can compare.

The private half is readable by its owner alone. The public half is meant to be committed beside the specs.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rewarden.spec_lang.errors import CertificateError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_PEM = 1 << 14
MOST_KEYS = 64
_BLOCK = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\s*", re.DOTALL)


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
    """The one public key of a PEM file. CertificateError C31 if it is none."""
    return _public_key(_pem(path), path.name)


def require_key(path: Path) -> None:
    """UsageError G52 for what is no public key: it says nothing about a certificate, and is told before the work."""
    try:
        load_public_key(path)
    except CertificateError as error:
        raise UsageError("G52", f"--public-key: {error.message}", help="name an Ed25519 public key (PEM)") from None


def public_keys(data: bytes, name: str) -> tuple[Ed25519PublicKey, ...]:
    """The keys of a file that holds one PEM block after the other. CertificateError C31 for anything else."""
    blocks = _BLOCK.findall(data)
    if not blocks or len(blocks) > MOST_KEYS or b"".join(blocks) != data:
        raise CertificateError("C31", f"{name} does not hold public keys, 1 to {MOST_KEYS} of them, and nothing else")
    return tuple(_public_key(block, name) for block in blocks)


def public_pem(key: Ed25519PublicKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of the raw public key: 64 hex digits in groups of eight, for two people to compare."""
    text = hashlib.sha256(key.public_bytes_raw()).hexdigest()
    return " ".join(text[k : k + 8] for k in range(0, 64, 8))


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
