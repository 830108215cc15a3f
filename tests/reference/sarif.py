"""What SARIF 2.1.0 asks of a log, and GitHub's code scanning besides, as far as Rewarden writes it: slow and obvious.

Written from the text of the standard (sections in brackets) and GitHub's page "SARIF support for code scanning".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlparse

ALLOWED = {
    "log": {"$schema", "version", "runs"},
    "run": {"tool", "invocations", "columnKind", "results"},
    "driver": {"name", "version", "semanticVersion", "shortDescription", "rules", "notifications"},
    "descriptor": {
        "id", "name", "shortDescription", "fullDescription", "help", "defaultConfiguration", "properties",
    },
    "invocation": {"executionSuccessful", "exitCode", "toolExecutionNotifications"},
    "notification": {"level", "message", "descriptor", "locations"},
    "result": {
        "ruleId", "ruleIndex", "kind", "level", "message", "locations", "partialFingerprints", "properties",
        "suppressions", "baselineState",
    },
}  # fmt: skip
LEVELS = {"none", "note", "warning", "error"}


def problems(log: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with it, as sentences."""
    return list(_log(log))


def _log(log: Mapping[str, Any]) -> Iterator[str]:
    yield from _only(log, "log")
    if log["version"] != "2.1.0":  # 3.13.2
        yield "version"
    for run in log["runs"]:
        yield from _run(run)


def _run(run: Mapping[str, Any]) -> Iterator[str]:
    yield from _only(run, "run")
    driver = run["tool"]["driver"]
    yield from _only(driver, "driver")
    if not driver["name"] or run["columnKind"] not in ("utf16CodeUnits", "unicodeCodePoints"):  # 3.14.17
        yield "name or columnKind"
    ids = [descriptor["id"] for descriptor in driver["rules"]]
    if len(set(ids)) != len(ids):  # 3.49.3
        yield "two descriptors of one id"
    for descriptor in driver["rules"]:
        yield from _descriptor(descriptor)
    for invocation in run["invocations"]:
        yield from _only(invocation, "invocation")
        if not isinstance(invocation["executionSuccessful"], bool):  # 3.20.14
            yield "executionSuccessful"
        for notification in invocation["toolExecutionNotifications"]:
            yield from _only(notification, "notification")
            yield from _message(notification["message"])
            yield from _locations(notification.get("locations", []))
            known = {descriptor["id"] for descriptor in driver["notifications"]}
            if "descriptor" in notification and notification["descriptor"]["id"] not in known:  # 3.58.2
                yield "a notification of no descriptor"
    for result in run["results"]:
        yield from _result(result, ids)


def _descriptor(descriptor: Mapping[str, Any]) -> Iterator[str]:
    yield from _only(descriptor, "descriptor")
    for name in ("shortDescription", "fullDescription", "help"):  # GitHub asks for all of them
        yield from _message(descriptor[name])
    if descriptor["defaultConfiguration"]["level"] not in LEVELS:
        yield "level of a descriptor"
    tags = descriptor["properties"]["tags"]
    if len(set(tags)) != len(tags):  # 3.8.2.1
        yield "tags twice"


def _result(result: Mapping[str, Any], ids: list[str]) -> Iterator[str]:
    yield from _only(result, "result")
    if ids[result["ruleIndex"]] != result["ruleId"]:  # 3.27.6
        yield "ruleIndex"
    if result["level"] not in LEVELS or (result["kind"] != "fail" and result["level"] != "none"):  # 3.27.9, 3.27.10
        yield "level and kind"
    if result["kind"] not in {"pass", "open", "informational", "notApplicable", "review", "fail"}:
        yield "kind"
    yield from _message(result["message"])
    yield from _locations(result.get("locations", []))
    if not all(isinstance(text, str) for text in result.get("partialFingerprints", {}).values()):
        yield "fingerprints"
    if result.get("baselineState", "new") not in {"new", "unchanged", "updated", "absent"}:
        yield "baselineState"
    for suppression in result.get("suppressions", []):  # 3.35
        if set(suppression) - {"kind", "status", "justification"} or suppression["kind"] not in {
            "inSource",
            "external",
        }:
            yield "suppression"


def _message(message: Mapping[str, Any]) -> Iterator[str]:
    text = message["text"]
    if set(message) != {"text"} or not text.strip():
        yield "an empty message"
    if re.search(r"[^\n\x20-\x7e\x80-\uffff\U00010000-\U0010ffff]", text):
        yield "control characters"
    if re.search(r"(?<!\\)\[[^\]]*\]\(", text):  # 3.11.6
        yield "a link"
    if re.sub(r"\{\{|\}\}", "", text).count("{") or re.sub(r"\{\{|\}\}", "", text).count("}"):  # 3.11.5
        yield "a placeholder"


def _locations(locations: list[Mapping[str, Any]]) -> Iterator[str]:
    for location in locations:
        place = location["physicalLocation"]
        uri = place["artifactLocation"]["uri"]
        parsed = urlparse(uri)
        if "\\" in uri or re.search(r"[^\x21-\x7e]", uri) or unquote(uri).startswith("//"):  # 3.4.3
            yield f"not a URI: {uri}"
        if not parsed.scheme and (uri.startswith("/") or place["artifactLocation"].get("uriBaseId") != "%SRCROOT%"):
            yield f"relative to nothing: {uri}"
        region = place["region"]
        if region["startLine"] < 1 or region["startColumn"] < 1:  # 3.30.5, 3.30.6
            yield "region"


def _only(found: Mapping[str, Any], kind: str) -> Iterator[str]:
    strange = set(found) - ALLOWED[kind]
    if strange:
        yield f"{kind}: {sorted(strange)}"
