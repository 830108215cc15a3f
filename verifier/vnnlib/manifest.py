"""The manifest of an export, read back: which rule, part and box a query was written for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rewarden.spec_lang.errors import UsageError

MAX_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class Written:
    """`claim` is the digest of the claim that the query is a case of, `instance` the number of its box."""

    rule: str
    part: str
    claim: str
    instance: int


def find_query(raw: bytes, path: str) -> Written:
    """What the query at `path` (below the export's folder) was written for. UsageError G84."""
    try:
        manifest = json.loads(raw) if len(raw) <= MAX_BYTES else None
        found = next(_written(manifest, path), None)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        found = None
    if found is None:
        raise UsageError(
            "G84", f"the manifest says nothing of {path}", help="name a query in the folder that vnnlib-export wrote"
        )
    return found


def _written(manifest: Any, path: str) -> Iterator[Written]:  # noqa: ANN401 - whatever the file holds
    for rule in manifest["rules"]:
        for case in rule["cases"]:
            if path in (case["query"], case["query_2"]):
                found = Written(rule["rule"], rule["part"], rule["claim"], case["instance"])
                if all(isinstance(text, str) for text in (found.rule, found.part, found.claim)):
                    yield found
