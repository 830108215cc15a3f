"""One method by itself on the failing rules, and what it did: the rows of a table that holds methods side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from rewarden.editor.drift import Drift, drift
from rewarden.editor.effect import effects
from rewarden.editor.mend import Mender, PatchResult
from rewarden.editor.methods.choose import METHODS, patch
from rewarden.editor.steepness import Steepness
from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.canonical import floats_as_text
from rewarden.spec_lang.errors import EditError, RewardenError
from rewarden.spec_lang.spec import Spec
from rewarden.verifier.verdict import VerificationResult

SAMPLED = 20_000  # records of the domain


@dataclass(frozen=True, slots=True)
class Moved:
    """What a method did to one reward. `domain`: on records sampled from the domain. `acts` is the share of the domain
    in which patches may act, `most` by how much at most any record moves; both certified, None where weights moved.
    `attained` is the largest change that was met with. On `rows` `over` (rows of the spec's data, if there are any):
    how many `moved`, by how much at most and in the mean, and of `pairs` how many turned. `rise`: how much the rims of
    patches rise at most over the whole range of a column, `along` the steepest; None without patches."""

    reward: str
    patches: int
    domain: Drift
    acts: str | None
    most: str | None
    attained: float
    over: str
    rows: int
    moved: int
    largest: float
    mean: float
    flips: int
    pairs: int
    ranks: int
    rise: float | None = None
    along: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """One method's result: rules that hold now (`holds`), `proved` of those that failed, `broken` of those that held,
    rules that it is not for (`unmended`, with reasons), and what it `moved`. Or why it was `declined` for all of them,
    or why it is `open`: time or somebody has stopped it, or its edit was not verified to the end in the time it had."""

    method: str
    guarantee: str
    holds: tuple[str, ...] = ()
    proved: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    unmended: Mapping[str, str] | None = None
    moved: tuple[Moved, ...] = ()
    seconds: float = 0.0
    declined: str = ""
    open: str = ""

    def to_json(self) -> dict[str, Any]:
        """`drift` and `patches` are of all rewards together."""
        return {
            "method": self.method,
            "guarantee": self.guarantee,
            "declined": self.declined or None,
            "open": self.open or None,
            "holds": list(self.holds),
            "proved": list(self.proved),
            "broken": list(self.broken),
            "unmended": dict(self.unmended or {}),
            "patches": sum(one.patches for one in self.moved),
            "drift": None
            if not self.moved
            else {
                "rows": self.moved[0].domain.rows,
                "changed": max(one.domain.changed for one in self.moved),
                "largest": repr(max(one.domain.largest for one in self.moved)),
                "mean": repr(max(one.domain.mean for one in self.moved)),
            },
            "rewards": [floats_as_text(asdict(one)) for one in self.moved],
            "seconds": repr(self.seconds),
        }

    @staticmethod
    def from_json(told: Mapping[str, Any]) -> Compared:
        """KeyError, TypeError or ValueError for what is no such thing."""
        return Compared(
            str(told["method"]),
            str(told["guarantee"]),
            _names(told["holds"]),
            _names(told["proved"]),
            _names(told["broken"]),
            {str(rule): str(reason) for rule, reason in told["unmended"].items()},
            tuple(_moved_from(one) for one in told["rewards"]),
            float(told["seconds"]),
            str(told["declined"] or ""),
            str(told["open"] or ""),
        )


def _names(told: Sequence[object]) -> tuple[str, ...]:
    return tuple(map(str, told))


def _moved_from(told: Mapping[str, Any]) -> Moved:
    domain = told["domain"]
    floats = {key: float(told[key]) for key in ("attained", "largest", "mean")}
    return Moved(
        **{
            **told,
            **floats,
            "domain": Drift(domain["rows"], domain["changed"], float(domain["largest"]), float(domain["mean"])),
            "rise": None if told["rise"] is None else float(told["rise"]),
        }
    )


def compared(
    spec: Spec,
    rewards: Mapping[str, Artifact],
    mender: Mender,
    name: str,
    rules: Sequence[str] | None,
    before: VerificationResult,
) -> Compared:
    """What the method called `name` makes of the failing rules. Rules that it is not for are left to others. Raises
    EditError E06 where nothing fails."""
    guarantee, start = METHODS[name].guarantee, time.monotonic()
    try:
        result = patch(spec, rewards, mender, name, rules, before, apart=True)
    except RewardenError as error:
        return Compared(name, guarantee, declined=error.message, seconds=round(time.monotonic() - start, 3))
    seconds = round(time.monotonic() - start, 3)  # as it is kept: what is told again is what was told
    if result.artifact is None and not result.unmended:
        raise EditError("E06", "no rule that was asked for fails: there is nothing to compare")
    if result.artifact is None:
        reasons = list(dict.fromkeys(result.unmended.values()))
        told = [f"{rule}: {reason}" for rule, reason in result.unmended.items()] if len(reasons) > 1 else reasons
        return Compared(name, guarantee, declined="; ".join(told), seconds=seconds)
    holds = tuple(r.rule for r in result.after.rules if r.verdict == "proved")
    proved = tuple(r.rule for r in before.rules if r.verdict != "proved" and r.rule in holds)
    moved = _moved(spec, rewards, result)
    return Compared(name, guarantee, holds, proved, result.broken, result.unmended, moved, seconds)


def _moved(spec: Spec, rewards: Mapping[str, Artifact], result: PatchResult) -> tuple[Moved, ...]:
    did, found = effects(spec, rewards, result), []
    for name, after in result.artifacts.items():
        before, effect = rewards[name], did[name]
        acts = None if effect.acts is None else str(effect.acts.most)
        most = None if effect.most is None else str(effect.most)
        sampled = random_rows([record.type for record in before.records], SAMPLED, 2)
        domain = drift(before, after, sampled.astype("float64"))
        rise, along = _steepest(after, effect.rims)
        found.append(
            Moved(
                name, len(after.patches) - len(before.patches), domain, acts, most,
                max(effect.attained, domain.largest),
                effect.over, effect.drift.rows, effect.drift.changed, effect.drift.largest,
                effect.drift.mean, effect.flips, effect.pairs, effect.ranks, rise, along,
            )
        )  # fmt: skip
    return tuple(found)


def _steepest(artifact: Artifact, rims: Sequence[Steepness]) -> tuple[float | None, str]:
    spans = {column.name: column.hi - column.lo for column in artifact.columns}
    rises = [(most * Fraction(spans[name]), name) for rim in rims for name, most in rim.lipschitz.items()]
    if not rises:
        return None, ""
    most, along = max(rises, key=lambda rise: rise[0])
    return float(most), along
