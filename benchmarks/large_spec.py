"""A spec of any number of rules, of the kinds that people write, with the data that it names.

The scene is a warehouse vehicle. Caps and floors hold in regions that do not meet, so that no reward is asked for two
things at once, and none is constant; a third of the rules compare two records or two rewards, a sixth stand near
recorded data. Nothing is random.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

ROWS = 400

HEAD = """spec large v1

features Step {
  dist_goal  : real [m]     in 0 .. 40
  clearance  : real [m]     in 0 .. 5
  speed      : real [m/s]   in 0 .. 2.5
  accel      : real [m/s^2] in -2 .. 2
  payload    : real [kg]    in 0 .. 60
  battery    : real         in 0 .. 1
  lifts      : int          in 0 .. 12
  human_near : bool
  zone       : enum {aisle, dock, charger}
}
assume s: Step = s.zone == charger implies s.speed <= 0.5 [m/s]
assume s: Step = s.payload >= 40 [kg] implies s.speed <= 2 [m/s]

reward R(s: Step)
reward Base(s: Step)
data   logs: Step from "logs.csv"
data   incidents: Step from "incidents.csv"
param  v_safe: real [m/s] = 0.5 [m/s]
param  eps: real = 0.01

region risky(s: Step) = s.human_near and s.clearance < 1 [m]
region rushed(s: Step) = s.speed * 1 [s] >= s.clearance and s.speed > v_safe
"""


def text(rules: int) -> str:
    """The spec with that many rules."""
    return HEAD + "".join(_SHAPES[k % len(_SHAPES)](k) for k in range(rules))


def write(folder: Path, rules: int) -> Path:
    """The spec and its data in `folder`; the path of the spec."""
    for name, rows in (("logs", ROWS), ("incidents", 24)):
        (folder / f"{name}.csv").write_text("\n".join(_table(rows)) + "\n", encoding="utf-8")
    path = folder / f"large_{rules}.rwd"
    path.write_text(text(rules), encoding="utf-8")
    return path


def _rule(severity: str, name: str, quantifier: str, given: str, expect: str) -> str:
    return f"\n{severity} {name}:\n  {quantifier}\n  given {given}\n  expect {expect}\n"


def _number(value: Fraction | int) -> str:
    return f"{float(value):.6g}"


def _cell(k: int, record: str = "s") -> str:
    """One of 260 disjoint parts of the domain, so that rules of one shape say different things."""
    cell = k // 6  # no shape stands twice within six rules
    low, high = Fraction(cell % 20, 20), Fraction(cell % 20 + 1, 20)
    return f"{_number(low)} <= {record}.battery < {_number(high)} and {record}.lifts == {cell // 20 % 13}"


def _band(k: int, record: str) -> str:
    low = Fraction(k // 12 % 118, 2)
    return f"{_number(low)} [kg] < {record}.payload <= {_number(low + Fraction(1, 2))} [kg]"


def _cap_in_cell(k: int) -> str:
    given = f"risky(s) and s.speed > v_safe and {_cell(k)}"
    level = _number(Fraction(1 + k % 40, 100))
    return _rule("must", f"no_bonus_{k}", "forall s: Step", given, f"R(s) <= quantile(R(logs), {level})")


def _cap_when_rushed(k: int) -> str:
    given = f"rushed(s) and s.human_near and s.dist_goal <= {2 + k % 30} [m] and {_cell(k)}"
    return _rule("must", f"rushing_{k}", "forall s: Step", given, f"R(s) <= {_number(Fraction(k % 7, 10))}")


def _slower_is_better(k: int) -> str:
    severity = "must" if k % 24 < 12 else "should"
    given = f"risky(a) and a.speed <= b.speed and {_cell(k, 'a')}"
    return _rule(severity, f"slower_{k}", "forall a, b: Step varying speed", given, "R(a) >= R(b) - eps")


def _floor_at_rest(k: int) -> str:
    given = f"s.zone == charger and s.speed <= 0.1 [m/s] and not s.human_near and {_cell(k)}"
    return _rule("must", f"rest_is_fine_{k}", "forall s: Step", given, f"R(s) >= {_number(Fraction(k % 5 + 1, 10))}")


def _braking_pays(k: int) -> str:
    by = _number(Fraction(1 + k % 8, 20))
    given = f"risky(s) and s.speed >= {by} [m/s] and s.accel <= {k % 4} [m/s^2] and {_cell(k)}"
    expect = f"R(s with {{speed = s.speed - {by} [m/s]}}) >= R(s)"
    return _rule("should", f"braking_pays_{k}", "forall s: Step", given, expect)


def _local(k: int) -> str:
    given = f"beyond(risky(s), {1 + k % 9} %) and {_cell(k)}"
    return _rule("must", f"edit_is_local_{k}", "forall s: Step", given, "R(s) == Base(s)")


def _irrelevant(k: int) -> str:
    given = f"{_band(k, 'a')} and a.zone == dock"
    expect = "|R(a) - R(b)| <= 2 * eps"
    return _rule("should", f"lifts_are_irrelevant_{k}", "forall a, b: Step varying lifts", given, expect)


def _near_incidents(k: int) -> str:
    quantifier = f"forall s: Step near incidents within {_number(Fraction(k // 12 + 10, 10))} %"
    level = _number(Fraction(100 + k // 12, 200))
    expect = f"R(s) <= quantile(R(logs), {level})"
    return _rule("must", f"like_incident_{k}", quantifier, "s.clearance <= 4 [m]", expect)


def _bounded(k: int) -> str:
    return _rule("must", f"bounded_{k}", "forall s: Step", _cell(k), f"|R(s)| <= {10 + k % 9}")


def _steady(k: int) -> str:
    quantifier = f"forall s: Step near logs within {1 + k % 3} %"
    return _rule("should", f"steady_{k}", quantifier, _band(k, "s"), "|R(s) - R(anchor(s))| <= 0.2")


_SHAPES = (
    _cap_in_cell,
    _cap_when_rushed,
    _slower_is_better,
    _floor_at_rest,
    _braking_pays,
    _local,
    _cap_in_cell,
    _irrelevant,
    _near_incidents,
    _bounded,
    _cap_when_rushed,
    _steady,
)


def _table(rows: int) -> Iterator[str]:
    yield "dist_goal,clearance,speed,accel,payload,battery,lifts,human_near,zone"
    for k in range(rows):
        zone = ("aisle", "dock", "charger")[k % 3]
        payload = k * 11 % 60
        speed = 0.25 if zone == "charger" else min((k * 7 % 20) / 8, 2.0 if payload >= 40 else 2.5)
        yield (
            f"{k * 13 % 40},{k * 3 % 50 / 10},{speed},{k % 5 - 2},{payload},{k * 17 % 100 / 100},{k % 13},"
            f"{'true' if k % 4 == 0 else 'false'},{zone}"
        )
