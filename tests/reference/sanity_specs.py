"""A small spec for tests of the sanity checks: a head that has nothing wrong with it, to which rules are added."""

from __future__ import annotations

from pathlib import Path

from rewarden.spec_lang import Spec, parse_spec
from rewarden.spec_lang.sanity.checks import Budget, Sanity, check_spec
from rewarden.spec_lang.sanity.findings import Finding

HEAD = """spec depot v1

features Step {
  gap   : real [m]   in 0 .. 40
  speed : real [m/s] in 0 .. 2.5
  lifts : int        in 0 .. 5
  busy  : bool
  zone  : enum {aisle, dock, charger}
}
assume s: Step = s.zone == charger implies s.speed <= 0.5 [m/s]
reward R(s: Step)
reward Base(s: Step)
data logs: Step from "logs.csv"
data pairs: (better: Step, worse: Step) from "pairs.csv"
param eps: real = 0.01
region close(s: Step) = s.busy and s.gap < 1 [m]
relation move(a: Step, b: Step) = b.gap <= a.gap
"""

LOGS = """gap,speed,lifts,busy,zone
0.5,1,0,true,aisle
10,2,1,false,dock
20,0.25,2,false,charger
30,0,3,true,aisle
"""

_MEMBERS = ",".join(f"{m}.{name}" for m in ("better", "worse") for name in LOGS.split("\n")[0].split(","))
PAIRS = f"""{_MEMBERS}
1,1,0,true,aisle,2,2,1,false,dock
5,0,1,false,dock,6,1,2,false,aisle
"""


def write_data(folder: Path) -> Path:
    (folder / "logs.csv").write_text(LOGS)
    (folder / "pairs.csv").write_text(PAIRS)
    return folder


def depot(folder: Path, rules: str) -> Spec:
    return parse_spec(HEAD + rules, "depot.rwd", base=write_data(folder))


def sanity(folder: Path, rules: str, budget: Budget | None = None, **options: str) -> Sanity:
    return check_spec(depot(folder, rules), budget, **options)  # type: ignore[arg-type]


def of(found: Sanity, *codes: str) -> list[Finding]:
    """The findings with these codes; what the head leaves unused is never asked for."""
    return [finding for finding in found.findings if finding.diagnostic.code in codes]
