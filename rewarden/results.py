"""Results as JSON; the published schema is `docs/schemas/result.schema.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rewarden.atomic import write_text

if TYPE_CHECKING:
    from rewarden.verifier.verdict import VerificationResult


def result_text(result: VerificationResult) -> str:
    """The same result gives the same bytes: keys in a fixed order, no times, no paths of this machine."""
    return json.dumps(result.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_result(result: VerificationResult, path: str | Path) -> None:
    """Write it whole."""
    write_text(path, result_text(result))
