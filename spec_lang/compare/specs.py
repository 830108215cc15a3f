"""Two versions of a spec: what became weaker, stronger, equal or disjoint, with a situation that shows each difference.

`compare_specs(old, new)` is what a reviewer of a pull request asks. A rule is the set of rewards that satisfy it. Read
`compare_model` for what is answered, `compare_rules` for how, `compare_separate` for why a claimed difference is one.
Everything is deterministic: budgets are work, equal input gives equal output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rewarden.spec_lang import syntax
from rewarden.spec_lang.compare.align import Aligned, Ball, align, align_domain
from rewarden.spec_lang.compare.data import CommonData, common_data
from rewarden.spec_lang.compare.domain import domain_changes
from rewarden.spec_lang.compare.findings import findings_of
from rewarden.spec_lang.compare.frame import SIDES, Frame, Side, Unmatched, frame_of, other
from rewarden.spec_lang.compare.lift import lifted
from rewarden.spec_lang.compare.listing import declaration_changes, example_changes, notes_of, param_changes
from rewarden.spec_lang.compare.loop_sums import CYCLE_LENGTHS, LoopRule
from rewarden.spec_lang.compare.loops import loop_entails
from rewarden.spec_lang.compare.model import CHANGES, Comparison, RuleChange, Situation
from rewarden.spec_lang.compare.moves import Moves, with_moves
from rewarden.spec_lang.compare.rules import Found, Setting, entails, equal_text, verdict
from rewarden.spec_lang.compare.shares import counts_note
from rewarden.spec_lang.compare.situation import count_situation, situation
from rewarden.spec_lang.compare.z3 import Budget
from rewarden.spec_lang.errors import RewardenError
from rewarden.spec_lang.forms import TooLarge
from rewarden.spec_lang.lower import Lowered, with_instances
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.spec import Rule, Spec

RENAMES = 40  # pairs of an old and a new name that are compared beyond their text


def compare_specs(old: Spec, new: Spec, budget: Budget | None = None) -> Comparison:
    """What NEW changed. Reads the data of both specs; data that cannot be read leaves its rules undecided."""
    work = _Work(old, new, budget or Budget())
    rules = work.rules()
    order = {name: k for k, name in enumerate(CHANGES)}
    rules.sort(key=lambda change: order[change.change])
    found = tuple(rules)
    domains = domain_changes(work.frame, work.setting.domains, work.setting.budget, old, new)
    params = param_changes(old, new, found)
    examples = example_changes(old, new)
    return Comparison(
        old_name=old.source.name,
        new_name=new.source.name,
        old_digest=old.digest,
        new_digest=new.digest,
        rules=found,
        domains=domains,
        data=work.data.changes,
        params=params,
        examples=examples,
        declarations=declaration_changes(old, new),
        findings=findings_of(found, domains, work.data.changes, params, examples, old, new),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """A rule in the frame: its obligations; why they can be compared by their text only, or not at all."""

    parts: tuple[Aligned, ...] = ()
    reason: str = ""
    loops: LoopRule | None = None  # of a rule about loops
    away: bool = False  # `not near` data that could not be read: the parts are those of the rule near them

    def same_text(self, other: _Parts) -> bool:
        alike = (self.loops is None, self.away) == (other.loops is None, other.away)
        return bool(self.parts) and alike and equal_text(self.parts, other.parts)


class _Work:
    """Mutable while two specs are compared: rules aligned once each."""

    def __init__(self, old: Spec, new: Spec, budget: Budget) -> None:
        self.old, self.new = old, new
        self.frame: Frame
        self.moves: Moves
        self.frame, self.moves = with_moves(frame_of(*lifted(old, new)))
        self.data: CommonData = common_data(self.frame)
        domains = {side: _domains(self.frame, side) for side in SIDES}
        self.setting = Setting(self.frame, self.data.matrices, domains, budget)
        self._aligned: dict[tuple[Side, str], _Parts] = {}

    # ── which rules belong together ────────────────────────────────────────────────────────────
    def rules(self) -> list[RuleChange]:
        partners = self._partners()
        back = {b: a for a, b in partners.items()}
        found = [
            self._compared(self.old.rule(back[rule.name]), rule)
            if rule.name in back
            else RuleChange("added", None, rule, by="text")
            for rule in self.new.rules
        ]
        return found + [
            RuleChange("removed", rule, None, by="text") for rule in self.old.rules if rule.name not in partners
        ]

    def _partners(self) -> dict[str, str]:
        """OLD's name → NEW's: by name, then by what they say, by id or title, and last by meaning."""
        names = {rule.name for rule in self.new.rules}
        partners = {rule.name: rule.name for rule in self.old.rules if rule.name in names}
        gone = [rule for rule in self.old.rules if rule.name not in partners]
        come = [rule for rule in self.new.rules if rule.name not in partners]
        for a in gone:
            for b in come:
                alike = self._parts("old", a.name).same_text(self._parts("new", b.name))
                if b.name not in partners.values() and alike:
                    partners[a.name] = b.name
                    break
        for a in gone:
            for b in come:
                if a.name not in partners and b.name not in partners.values() and _same_label(a, b):
                    partners[a.name] = b.name
        tries = 0
        for a in gone:
            for b in come:
                if a.name in partners or b.name in partners.values() or not _alike(a, b) or tries >= RENAMES:
                    continue
                tries += 1
                if self._equal(a, b):
                    partners[a.name] = b.name
        return partners

    def _equal(self, a: Rule, b: Rule) -> bool:
        x, y = self._parts("old", a.name), self._parts("new", b.name)
        if x.reason or y.reason or x.loops is not None or y.loops is not None:
            return False
        return all(
            entails(self.setting, strong, weak, refute=False).status == "proved"
            for strong, weak in ((x.parts, y.parts), (y.parts, x.parts))
        )

    # ── one pair ───────────────────────────────────────────────────────────────────────────────
    def _compared(self, a: Rule, b: Rule) -> RuleChange:
        notes = notes_of(self.old, self.new, a.name, b.name)
        x, y = self._parts("old", a.name), self._parts("new", b.name)
        if x.same_text(y):
            return RuleChange("equal", a, b, "proved", "proved", by="text", notes=notes)
        reason = x.reason or y.reason
        if reason:
            return RuleChange("undecided", a, b, reason=reason, notes=notes)
        forth, back = self._entails(x, y), self._entails(y, x)
        reasons = dict.fromkeys(found.reason for found in (forth, back) if found.reason)
        return RuleChange(
            change=verdict(forth.status, back.status),
            old=a,
            new=b,
            old_implies_new=forth.status,
            new_implies_old=back.status,
            situations=self._situations(forth, back),
            reason="; ".join(reasons),
            by="z3",
            notes=notes + _counts(x.parts, y.parts),
        )

    def _entails(self, strong: _Parts, weak: _Parts) -> Found:
        setting = self.setting
        match strong.loops, weak.loops:
            case None, None:
                return entails(setting, strong.parts, weak.parts)
            case LoopRule() as a, LoopRule() as b:
                found = loop_entails(setting.frame, setting.data, setting.domains, setting.budget, (a, b))
                reason = "no loop was found that tells them apart, nor a reason why there is none"
                return Found(found.status, found.separation, reason * (found.status == "unknown"))
        return Found("unknown", reason="only one of the rules is about loops, which have every length")

    def _situations(self, forth: Found, back: Found) -> tuple[Situation, ...]:
        """What NEW refuses first if it is stronger, what OLD refused if it is weaker."""
        shown: list[Situation] = []
        for found in (back, forth):
            if found.separation is not None:
                accepting = other(found.separation.point.rule.side)
                domains = self.setting.domains[accepting]
                shown.append(situation(self.frame, domains, found.separation, only_outside=found.only_outside))
            if found.counting is not None:
                shown.append(count_situation(self.frame, found.counting))
        return tuple(shown)

    # ── rules in the frame ─────────────────────────────────────────────────────────────────────
    def _parts(self, side: Side, name: str) -> _Parts:
        if (side, name) not in self._aligned:
            self._aligned[side, name] = self._align(side, name)
        return self._aligned[side, name]

    def _align(self, side: Side, name: str) -> _Parts:
        spec = self.frame.spec(side)
        cycle = spec.rule(name).kind == "cycle"
        reason = ""
        try:
            loops = tuple(spec.unrolled(name, k) for k in CYCLE_LENGTHS) if cycle else ()
            obligations = loops or spec.obligations_of(name)
        except RewardenError as error:
            reason = f"{side.upper()}: {error.code}: {error.message}"
            obligations = _without_rows(spec.lowered[name])
        away = bool(reason) and spec.lowered[name].away is not None
        try:
            names = self.data.side(side)
            ball = _ball(spec, name)
            parts = tuple(align(o, side, self.frame, names, ball) for o in obligations)
            if not loops:
                return _Parts(parts, reason, away=away)
            move = self.moves.get((side, name))
            return _Parts(
                parts, reason, LoopRule(parts, None if move is None else align(move, side, self.frame, names))
            )
        except (Unmatched, TooLarge) as error:
            return _Parts(reason=str(error))


def _counts(old: Sequence[Aligned], new: Sequence[Aligned]) -> tuple[str, ...]:
    """What two rules about a share of rows ask of them."""
    if len(old) != 1 or len(new) != 1 or old[0].share is None or new[0].share is None:
        return ()
    note = counts_note(old[0], new[0])
    return (note,) if note else ()


def _without_rows(lowered: Lowered) -> tuple[Obligation, ...]:
    """A rule about data that cannot be read: enough to see that it is the same rule about the same file. A rule about
    records not near them is told as the one near them, since without rows its premise would not say how far."""
    if lowered.data is None or lowered.single is None:
        return ()
    width = sum(len(view.variables) for view in lowered.single.records if view is not lowered.anchor)
    return (with_instances(replace(lowered, away=None), np.zeros((0, width))),)


def _ball(spec: Spec, rule: str) -> Ball | None:
    for item in spec.expanded.items:
        match item:
            case syntax.RuleDecl(name=name, quantifier=syntax.Near(norm=norm, span=span)) if name == rule:
                return Ball(norm, span)
    return None


def _domains(frame: Frame, side: Side) -> Mapping[str, Aligned]:
    found: dict[str, Aligned] = {}
    for name in frame.spec(side).features:
        try:
            found[frame.type_of(side, name).name] = align_domain(side, name, frame)
        except (Unmatched, TooLarge):
            continue  # rules about it say why they are not compared
    return found


def _same_label(a: Rule, b: Rule) -> bool:
    return bool(a.requirement and a.requirement == b.requirement) or bool(a.title and a.title == b.title)


def _alike(a: Rule, b: Rule) -> bool:
    return (a.kind, a.rewards, a.data) == (b.kind, b.rewards, b.data)
