"""`rewarden check` finds premises that no record can satisfy."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewarden.cli import run

SPEC = """spec v v1
features S {{ x: real [m] in 0 .. 10
  on: bool }}
reward R(s: S)
assume s: S = s.on implies s.x <= 3 [m]
must rule:
  forall s: S
  given s.on and s.x {relation} 3 [m]
  expect R(s) <= 0
"""


@pytest.mark.parametrize(("relation", "status"), [(">=", 0), (">", 1)])
def test_a_vacuous_premise_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], relation: str, status: int
) -> None:
    path = tmp_path / "v.rwd"
    path.write_text(SPEC.format(relation=relation))
    assert run(["check", str(path)]) == status
    assert ("vacuous must rule" in capsys.readouterr().out) == bool(status)
