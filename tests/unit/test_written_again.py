"""A proof that the kernel refuses is written once more, by the kernel's own bounds, before its rule is unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rewarden as rw
from rewarden.reward.agreement import evaluate
from rewarden.spec_lang.errors import CertificateError
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.scribe.late import with_proof
from rewarden.verifier.scribe.leaves import Answer
from rewarden.verifier.scribe.swift import Swift
from rewarden.verifier.unwritten import Unwritten
from tests.reference.certificates import network

SPEC = """spec again v1
features S {{ x0: real in -1 .. 1, x1: real in -1 .. 1 }}
reward R(s: S)
must capped:
  forall s: S
  expect R(s) <= {level}
"""


@pytest.fixture
def verified(tmp_path: Path) -> rw.VerificationResult:
    """Of a rule that one box does not settle."""
    reward = network(5, 2, (8, 8))
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 201)] * 2), axis=-1).reshape(-1, 2)
    level = float(evaluate(reward, grid)[0].max()) + 0.01
    (tmp_path / "r.rwd").write_text(SPEC.format(level=level))
    found = rw.verify(rw.load_spec(tmp_path / "r.rwd"), VerifyOptions(engine="cells"), rewards={"R": reward})
    assert found["capped"].verdict == "proved"
    return found


def bold(monkeypatch: pytest.MonkeyPatch, leaf: Sequence[object] = ("leaf", 0, [], [], [])) -> None:
    """Compiled code takes every branch for a leaf."""
    attempt = Swift.attempt

    def tried(self: Swift, *asked: Any) -> list[Answer]:
        return [replace(answer, leaf=[*leaf]) for answer in attempt(self, *asked)]

    monkeypatch.setattr(Swift, "attempt", tried)


def leaves(folder: Path) -> int:
    (path,) = (folder / "proofs").iterdir()
    return path.read_text().count('["leaf"')


def test_it_is_written_again_by_the_kernels_own_bounds(
    verified: rw.VerificationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rw.certify(verified, tmp_path / "whole")
    assert (dict(whole.refused), whole.status) == ({}, 0)
    assert leaves(tmp_path / "whole") > 1, "or the bold leaf would be one"
    bold(monkeypatch)
    again = rw.certify(verified, tmp_path / "again")
    assert (dict(again.refused), again.status) == ({}, 0)
    assert leaves(tmp_path / "again") > 1
    assert rw.check_certificate(tmp_path / "again", rewards=verified.bound).accepted


def test_what_boxes_have_proved_is_written_where_that_is_refused(
    verified: rw.VerificationResult, tmp_path: Path
) -> None:
    """A proof as the bounds engine leaves one, that is none."""
    result = verified["capped"]
    proved = rw.verify(verified.of, VerifyOptions(engine="bounds"), rewards=verified.bound)["capped"].proof
    assert isinstance(proved, Mapping)
    bad = replace(result, engine="bounds", proof={**proved, "goals": [[[["leaf", 0, [], [], []]]]]})
    rw.certify(replace(verified, rules=(bad,)), tmp_path / "again")
    assert rw.check_certificate(tmp_path / "again", rewards=verified.bound).accepted
    with pytest.raises(CertificateError):
        rw.certify(replace(verified, rules=(replace(bad, engine="z3"),)), tmp_path / "other")


def test_boxes_are_asked_where_nothing_is_found_along_a_trail(
    verified: rw.VerificationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rewarden.verifier.scribe.late.written", lambda *_: "none was found")
    rw.certify(verified, tmp_path / "boxes")
    assert rw.check_certificate(tmp_path / "boxes", rewards=verified.bound).accepted
    bare = replace(verified["capped"], proof=Unwritten(1))
    assert "none was found" in with_proof(bare, verified.bound).reason


def test_what_is_refused_twice_is_withheld(
    verified: rw.VerificationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bold(monkeypatch)
    monkeypatch.setattr("rewarden.verifier.scribe.late.with_careful_proof", unheard)
    with pytest.raises(CertificateError) as refused:
        rw.certify(verified, tmp_path / "c")
    assert refused.value.code == "C40"
    assert not (tmp_path / "c").exists()


def unheard(result: object, rewards: Mapping[str, object]) -> None:
    return None
