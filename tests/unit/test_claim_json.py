from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewarden.spec_lang.canonical import canonical_json, digest_of, parse_canonical, parse_rational, rational_text
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claim_json import (
    claim_digest,
    claim_object,
    claims_document,
    dump_claim,
    load_claim,
    load_claims,
)
from rewarden.spec_lang.claims import claim_of
from rewarden.spec_lang.errors import CertificateError
from tests.reference.warehouse import DIGESTS, POOR_DAY, F, near_logs, no_speed_bonus, slow_near_people


def bound(obligation) -> Claim:
    return claim_of(obligation, rewards=DIGESTS, statistics={POOR_DAY: F("31/100")}, data_digests=DIGESTS)


CLAIMS = (
    bound(no_speed_bonus()),
    bound(slow_near_people()),
    bound(near_logs(np.array([[1.0, 0.1, 1, 0, 1, 0], [2.0, 0.2, 0, 1, 0, 0]]))),
)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.rule)
def test_round_trip(claim):
    text = dump_claim(claim)
    assert load_claim(text) == claim
    assert claim_digest(claim) == digest_of(text)
    assert b" " not in text.replace(b"quantile(R(logs), 1/20)", b"")


def test_documents_are_sorted_by_rule():
    document = claims_document(CLAIMS)
    assert document == claims_document(reversed(CLAIMS))
    assert [claim.rule for claim in load_claims(document)] == ["near_logs", "no_speed_bonus", "slow_near_people"]
    assert json.loads(document)["format"] == "rewarden-claims"
    with pytest.raises(ValueError):
        claims_document([CLAIMS[0], CLAIMS[0]])


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(dump_claim(CLAIMS[0]))
    change(value)
    return canonical_json(value)


def goal(value: dict[str, Any]) -> dict[str, Any]:
    return value["goals"][0][0]["affine"]


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(extra=1),
        lambda v: v.pop("instances"),
        lambda v: v.update(severity="may"),
        lambda v: v.update(rule=3),
        lambda v: v.update(boxes=[]),
        lambda v: v["boxes"][0].pop(),
        lambda v: v["boxes"][0].__setitem__(0, ["5", "0"]),
        lambda v: v["boxes"][0].__setitem__(2, ["1/2", "1"]),
        lambda v: v["boxes"][0].__setitem__(0, ["0", "5", "6"]),
        lambda v: v["variables"][0].update(discrete=1),
        lambda v: v["variables"][0].update(unit=1),
        lambda v: v["records"][0]["variables"].__setitem__(0, 99),
        lambda v: v["records"][0]["variables"].__setitem__(0, True),
        lambda v: v["rewards"].pop("R"),
        lambda v: v.update(rewards=[]),
        lambda v: v["calls"][0]["arguments"][0]["calls"].append([0, "1"]),
        lambda v: goal(v).update(constant="31/0"),
        lambda v: goal(v).update(constant="62/200"),
        lambda v: goal(v).update(constant="+1"),
        lambda v: goal(v).update(constant="-0"),
        lambda v: goal(v).update(constant="1/1"),
        lambda v: goal(v).update(constant=" 1"),
        lambda v: goal(v).update(constant="٣"),
        lambda v: goal(v).update(constant=1),
        lambda v: goal(v).update(constant="1" * 9000),
        lambda v: goal(v)["calls"].append([1, "1"]),
        lambda v: goal(v)["calls"].append([0, "1"]),
        lambda v: goal(v)["calls"].__setitem__(0, [0, "0"]),
        lambda v: goal(v)["calls"].__setitem__(0, [0]),
        lambda v: goal(v)["variables"].extend([[2, "1"], [1, "1"]]),
        lambda v: v["goals"][0][0].update(strict="no"),
        lambda v: v.update(clauses={}),
    ],
)
def test_the_loader_is_strict(change):
    with pytest.raises(CertificateError) as caught:
        load_claim(changed(change))
    assert caught.value.code == "C20"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        dump_claim(CLAIMS[0]) + b"\n",
        dump_claim(CLAIMS[0]).replace(b'"strict":false', b'"strict": false', 1),
        dump_claim(CLAIMS[0]).replace(b'"rule":', b'"rule":"x","rule":', 1),
        json.dumps(dict(reversed(claim_object(CLAIMS[0]).items())), separators=(",", ":")).encode(),
    ],
)
def test_only_the_canonical_text_is_accepted(text):
    with pytest.raises(CertificateError):
        load_claim(text)


def test_documents_are_checked_too():
    one = claim_object(CLAIMS[0])
    for document in (
        {"format": "other", "format_version": 1, "claims": []},
        {"format": "rewarden-claims", "format_version": 2, "claims": []},
        {"format": "rewarden-claims", "format_version": 1, "claims": [one, one]},
        {"format": "rewarden-claims", "format_version": 1},
    ):
        with pytest.raises(CertificateError):
            load_claims(canonical_json(document))


@given(st.fractions())
def test_rationals_round_trip(value):
    assert parse_rational(rational_text(value)) == value


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@given(json_values)
def test_canonical_json_round_trips(value):
    try:
        text = canonical_json(value)
    except UnicodeEncodeError:
        return  # a lone surrogate is not text
    assert parse_canonical(text) == value
    assert canonical_json(parse_canonical(text)) == text


@pytest.mark.parametrize("value", [1.0, {"a": [float("nan")]}, {1: 2}, {"a": Fraction(1, 2)}, {"a": {3}}, b"x"])
def test_canonical_json_refuses_what_is_not_exact(value):
    with pytest.raises(TypeError):
        canonical_json(value)


def test_floats_are_not_read():
    for text in (b"1.0", b"1e3", b"NaN", b"Infinity"):
        with pytest.raises(ValueError):
            parse_canonical(text)
