"""What other tools read: by their own schemas and parsers, and with names and titles that mean harm."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from referencing import Registry, Resource

from rewarden.ci.outcome import Finding, Outcome, Place, Trouble
from rewarden.outputs import document, github, junit, sarif
from rewarden.outputs.clean import markdown
from rewarden.outputs.words import summary_lines
from tests.reference.outcomes import WAIVER, outcome, rule
from tests.reference.sarif import problems

SCHEMAS = Path(__file__).resolve().parents[2] / "docs" / "schemas"
HOSTILE = [
    "a\n::error::gone",
    "a\r\n  ::stop-commands::x\n##[add-mask]key",
    "]]> <script>alert(1)</script> &amp; <!--",
    "\x1b[31mred\x00\x08\ud800 \ufffe \u202e",
    "| a | b |\n\n# head `code` **bold** [x](http://evil) ![i](http://evil) @somebody #1 $x$ ~~s~~",
    "{0} {{}} %0A %25 100 % :: , = [0](1)",
    "x" * 100_000,
]
SPECIAL = "a b/ü#%?[1]/cart.rwd"


def _all(text: str) -> Outcome:
    """A text in every place that a spec, a waiver or a message may bring one to."""
    rules = (
        rule("violated", title=text, reason=text),
        rule("unknown", title=text, reason=text, name="open"),
        rule("violated", title=text, severity="should", name="mild"),
        rule("violated", title=text, waiver=WAIVER.__class__(WAIVER.fingerprint, text, text, WAIVER.expires)),
        rule("vacuous", title=text, known=True, name="known", warnings=(text,)),
        rule("proved", title=text, name="fine"),
    )
    findings = (Finding("S03", "error", text, Place("cart.rwd", 3, 2), text), Finding("S07", "warning", text))
    troubles = (Trouble("G74", text, 2, Place(SPECIAL), text), Trouble("internal", text, 5))
    return outcome(*rules, findings=findings, troubles=troubles, notices=(text,), against="old.json")


def _validator(name: str) -> jsonschema.Draft202012Validator:
    loaded = {path.name: json.loads(path.read_text()) for path in SCHEMAS.glob("*.schema.json")}
    registry: Any = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in loaded.values()
    )
    jsonschema.Draft202012Validator.check_schema(loaded[name])
    return jsonschema.Draft202012Validator(loaded[name], registry=registry)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


# ── JSON ───────────────────────────────────────────────────────────────────────────────────────
def test_json_follows_the_published_schema() -> None:
    """But for witnesses, which are tried on real runs, in test_ci_command."""
    for found in (_all("a title"), outcome(rule("proved")), Outcome((), 2, troubles=(Trouble("G71", "m", 2),))):
        told = json.loads(document.text_of(found))
        told["runs"] = [
            {**run, "rules": [r for r in run["rules"] if r["verdict"] != "violated"]} for run in told["runs"]
        ]
        _validator("ci.schema.json").validate(told)


def test_the_schema_minds_what_is_missing() -> None:
    told = document.to_json(outcome(rule("proved")))
    del told["runs"][0]["rules"][0]["fingerprint"]
    with pytest.raises(jsonschema.ValidationError):
        _validator("ci.schema.json").validate(told)


def test_schemas_are_in_the_package() -> None:
    from importlib.resources import files

    for name in ("ci.schema.json", "result.schema.json"):
        assert json.loads((files("rewarden.outputs") / name).read_text()) == json.loads((SCHEMAS / name).read_text())


# ── SARIF ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("text", ["a title", "", *HOSTILE])
def test_sarif_is_what_the_standard_asks_for(text: str) -> None:
    log = sarif.to_sarif(_all(_encodable(text) or "message"))
    assert problems(json.loads(json.dumps(log))) == []


def test_sarif_says_where_and_which_and_what_went_wrong() -> None:
    (run,) = sarif.to_sarif(_all("a title"))["runs"]
    results = {result["ruleId"]: result for result in run["results"]}
    assert "cart/fine" not in results  # what holds is no alert
    slow = next(r for r in run["results"] if r["ruleId"] == "cart/slow")
    place = slow["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "specs/cart.rwd", "uriBaseId": "%SRCROOT%"}
    assert place["region"] == {"startLine": 7, "startColumn": 1}
    assert slow["partialFingerprints"]["rewardenRule/v1"] == "rwf1:" + "a1" * 16
    assert (slow["kind"], slow["level"]) == ("fail", "error")
    assert (results["cart/open"]["kind"], results["cart/open"]["level"]) == ("open", "none")
    assert results["cart/mild"]["level"] == "warning"
    assert results["cart/known"]["baselineState"] == "unchanged"
    assert slow["baselineState"] == "new"
    waived = [r for r in run["results"] if "suppressions" in r]
    assert waived[0]["suppressions"][0]["status"] == "accepted"
    assert results["S03"]["level"] == "error"
    invocation = run["invocations"][0]
    assert invocation["executionSuccessful"] is False
    assert invocation["exitCode"] == 5
    places = [n["locations"][0] for n in invocation["toolExecutionNotifications"] if "locations" in n]
    assert places[0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20b/%C3%BC%23%25%3F%5B1%5D/cart.rwd"


def test_rule_ids_do_not_move_with_lines() -> None:
    def ids(line: int) -> list[str]:
        from dataclasses import replace

        found = replace(rule("violated"), place=Place("specs/cart.rwd", line))
        return [r["id"] for r in sarif.to_sarif(outcome(found))["runs"][0]["tool"]["driver"]["rules"]]

    assert ids(3) == ids(300) == ["cart/slow"]


# ── JUnit ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("text", ["a title", *HOSTILE])
def test_junit_is_well_formed_and_counts(text: str) -> None:
    root = ElementTree.fromstring(junit.bytes_of(_all(text)))
    (suite,) = root.findall("testsuite")
    cases = suite.findall("testcase")
    assert suite.get("tests") == str(len(cases)) == "9"
    # slow and the finding that is an error; what is open and the two troubles; what is excused or does not count
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("2", "3", "3")
    assert not [e for case in cases for e in case if e.tag not in ("failure", "error", "skipped")]


def test_junit_counts_what_the_threshold_says() -> None:
    root = ElementTree.fromstring(junit.bytes_of(outcome(rule("violated", severity="should"), fail_on="should")))
    assert [e.tag for e in root.iter() if e.tag in ("failure", "skipped")] == ["failure"]


# ── GitHub ─────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("text", ["a title", *HOSTILE])
def test_annotations_are_one_command_a_line(text: str) -> None:
    found = list(github.commands(_all(text)))
    assert len(found) == 5 + 2 + 2 + 1  # rules that are not proved, findings, troubles, notices
    for said in found:
        assert re.fullmatch(r"::(error|warning|notice) [^\r\n]*::[^\r\n]*", said)
        properties = re.match(r"::\w+ (.*?)::", said)[1]
        assert all(re.fullmatch(r"(file|line|col|title)=[^:,]*", pair) for pair in properties.split(","))


def test_annotations_have_the_level_of_what_they_say() -> None:
    levels = [said.split(" ")[0] for said in github.commands(_all("a"))][:5]
    assert levels == ["::error", "::error", "::warning", "::notice", "::notice"]


@pytest.mark.parametrize("text", HOSTILE)
def test_lines_beside_annotations_are_no_commands(text: str) -> None:
    first, *inside, last = github.guarded([text, *summary_lines(_all(text))])
    token = first.removeprefix("::stop-commands::")
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert last == f"::{token}::"
    assert not any(token in said for said in inside)
    assert github.guarded([]) == []


@pytest.mark.parametrize("text", HOSTILE)
def test_the_job_summary_shows_texts_as_they_are(text: str) -> None:
    found = github.job_summary(_all(text))
    rows = [line for line in found.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 6
    assert {row.count("|") for row in rows} == {6}
    assert not re.search(r"<|\]\(|@\w|https?:|`|\$", found)


def test_markdown_keeps_what_means_nothing() -> None:
    assert markdown("a = 1, b; (c) 5 % of m/s - x") == "a = 1, b; (c) 5 % of m/s - x"
    assert markdown("a|b\n*c*") == "a&#124;b &#42;c&#42;"


def test_the_job_summary_is_cut_where_nobody_reads_on() -> None:
    found = github.job_summary(outcome(*(rule("violated", name=f"r{k}") for k in range(250))))
    assert "and 50 more." in found


# ── words ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("text", HOSTILE)
def test_the_summary_keeps_to_its_lines(text: str) -> None:
    for said in summary_lines(_all(text)):
        assert not re.search(r"[\x00-\x08\x0a-\x1f]", said)
        assert len(said) < 10_000


def test_forms_do_not_change_what_is_found() -> None:
    found = _all("a")
    assert {document.to_json(found)["status"], found.status} == {5}
