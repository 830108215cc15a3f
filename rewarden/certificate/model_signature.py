"""Signatures of models by the OpenSSF's model-signing, matched with an artifact by digest.

Its signature of a folder (method `files`) lists each file with its SHA-256. An artifact's digest is the SHA-256 of its
manifest, and the manifest holds that of the tensors, so that both name the same bytes. Only the digests are compared
here: whether the signature itself holds, and whose it is, says `model_signing verify`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from pathlib import Path
from typing import Any

from rewarden.certificate.envelope import MAX_ENVELOPE, bundled
from rewarden.reward.artifact import Artifact
from rewarden.reward.store import MANIFEST, TENSORS
from rewarden.spec_lang.canonical import digest_of
from rewarden.spec_lang.errors import CertificateError

PREDICATE_TYPE = "https://model_signing/signature/v1.0"


def signed_files(path: Path) -> dict[str, str]:
    """File → `sha256:…`, of a Sigstore bundle that model-signing has written. CertificateError C36 if it is none."""
    try:
        bundle = json.loads(bundled(path, MAX_ENVELOPE))
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True))
        if statement["predicateType"] != PREDICATE_TYPE:
            raise ValueError(f"its predicate is not {PREDICATE_TYPE}")
        resources: list[dict[str, Any]] = statement["predicate"]["resources"]
        found = {str(r["name"]): f"{r['algorithm']}:{r['digest']}" for r in resources}
        if len(found) < len(resources):
            raise ValueError("it names a file twice")
        (subject,) = statement["subject"]
        root = hashlib.sha256(b"".join(bytes.fromhex(str(r["digest"])) for r in resources)).hexdigest()
        if subject["digest"] != {"sha256": root}:
            raise ValueError("its digest is not that of the files that it names")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise CertificateError("C36", f"{path.name} is no signature by model-signing: {error}") from None
    return found


def covers(path: Path, artifact: Artifact) -> bool:
    """Whether a signature names the manifest and the tensors of this artifact, by digest, and nothing else."""
    return signed_files(path) == {MANIFEST: artifact.digest, TENSORS: digest_of(artifact.tensors_bytes)}
