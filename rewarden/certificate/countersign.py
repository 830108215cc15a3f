"""One more signature on a certificate that is there: by a reviewer, an auditor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rewarden.atomic import write_bytes
from rewarden.certificate.envelope import (
    ENVELOPE,
    KEYS,
    MAX_ENVELOPE,
    add_signature,
    bundled,
    check_signatures,
    has_signed,
)
from rewarden.certificate.keys import MAX_PEM, public_pem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def countersign(folder: Path, key: Ed25519PrivateKey) -> tuple[str, ...]:
    """Add a signature and its public key to a certificate; the fingerprints of all who have signed then.

    The statement must not be damaged (C33, C34), and not be signed by this key (C35). The envelope is written first:
    after a kill between the two writes the signature is there without its key, and signing again encloses it.
    """
    check_signatures(folder)
    data, enclosed = bundled(folder / ENVELOPE, MAX_ENVELOPE), bundled(folder / KEYS, MAX_PEM)
    mine = public_pem(key.public_key())
    if mine in enclosed or not has_signed(data, key.public_key()):
        write_bytes(folder / ENVELOPE, add_signature(data, key))
    write_bytes(folder / KEYS, enclosed + mine)
    return check_signatures(folder)[1].signers
