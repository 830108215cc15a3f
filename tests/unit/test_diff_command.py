"""`rewarden diff` speaks of two rewards, not of a rule about them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

import rewarden as rw
from rewarden.cli import run
from rewarden.reward.store import save_artifact
from rewarden.spec_lang.spec import parse_spec
from rewarden.verifier.options import VerifyOptions
from tests.unit.test_methods import CAPPED, network

SHORT = VerifyOptions(budget=500, falsify_budget=500)


def test_what_differs_is_told_as_regions_and_amounts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parent = network(1, 4)
    child = rw.patch(parse_spec(CAPPED), verify_options=SHORT, R=parent).artifact
    assert child is not None
    for name, artifact in (("one", parent), ("other", child)):
        save_artifact(artifact, tmp_path / name)
    shown = tmp_path / "told.json"
    assert run(["diff", str(tmp_path / "one"), str(tmp_path / "other"), "--budget", "300", "--json", str(shown)]) == 0
    document = json.loads(shown.read_text())
    assert document["equal_everywhere"] == "violated"
    assert Fraction(document["at_most"]) >= Fraction(document["sampled"]) > 0
    shares = document["coverage"]["shares"]
    assert 0 < Fraction(shares["proved"]["exact"]) < 1
    assert sum(Fraction(share["exact"]) for share in shares.values()) == 1
    for boxes in document["coverage"]["slices"].values():
        assert all(box["side"] for box in boxes)
    told = capsys.readouterr().out
    for words in ("they differ nowhere by more than", "the same in", "different throughout", "they differ by"):
        assert words in told
    for words in ("premise", "violated", "the rule", "conclusion"):
        assert words not in told
    assert run(["diff", str(tmp_path / "one"), str(tmp_path / "one")]) == 0
    assert "the same reward" in capsys.readouterr().out
