"""Results as JSON; the published schema is `docs/schemas/result.schema.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rewarden.atomic import write_text

if TYPE_CHECKING:
    from rewarden.verifier.verdict import VerificationResult


def result_text(result: VerificationResult, more: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The same result gives the same bytes: keys in a fixed order, no times, no paths of this machine. `more` stands
    beside it."""
    return json.dumps({**_with_fingerprints(result), **more}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _with_fingerprints(result: VerificationResult) -> dict[str, Any]:
    """A result that knows its spec can be the baseline of a later one."""
    from rewarden.api import Verification

    told = result.to_json()
    if isinstance(result, Verification):
        from rewarden.ci.fingerprint import fingerprint

        told["rules"] = [{**rule, "fingerprint": fingerprint(result.of, rule["name"])} for rule in told["rules"]]
        texts = {name: text.to_json() for name, text in result.texts.items()}
        told["rules"] = [
            {**rule, "text": texts[rule["name"]]} if rule["name"] in texts else rule for rule in told["rules"]
        ]
    return told


def write_result(result: VerificationResult, path: str | Path) -> None:
    """Write it whole."""
    write_text(path, result_text(result))
