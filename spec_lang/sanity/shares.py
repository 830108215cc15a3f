"""Must rules about a share of rows that no reward satisfies, by counting alone.

Of n rows 0 to n satisfy what is counted, fewer where part of it does not read rewards: then some rows do whatever the
reward, and others never. A rule that every such count violates, such as `share(q) > 1`, is out of reach; two that count
the same thing over the same rows, and of which every count violates one or the other, exclude each other. Only counts
that *violate* a rule are held against it: those that a confidence leaves open are not. A premise that reads rewards
moves n, and is not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.formulas import conjunction, disjunction
from rewarden.spec_lang.obligation import FALSE, TRUE, And, Atom, Formula, Obligation, Or, Share
from rewarden.spec_lang.sanity.prepared import Prepared
from rewarden.spec_lang.share_counts import refuting
from rewarden.spec_lang.term_walk import mentions_rewards


@dataclass(frozen=True, slots=True, eq=False)
class CountedShare:
    """A rule about a share of the `rows` of its data that satisfy its premise, the counts that do not violate it, and
    those that some reward might have."""

    rule: str
    obligation: Obligation
    share: Share
    rows: int
    asked: range
    possible: range

    @property
    def open(self) -> range:
        return _common(self.asked, self.possible)

    @property
    def asks(self) -> str:
        """`at least 2`."""
        if not self.asked:
            return f"more than all {self.rows}" if self.share.op[0] == ">" else "fewer than none"
        return f"at least {self.asked.start}" if self.share.op[0] == ">" else f"at most {self.asked.stop - 1}"

    @property
    def has(self) -> str:
        """`never has more than 1`: what decides where the rule alone is out of reach."""
        lo, hi = self.possible.start, self.possible.stop - 1
        if lo == hi:
            return f"always has {lo}"
        return f"never has more than {hi}" if self.share.op[0] == ">" else f"never has fewer than {lo}"

    def counts_as(self, other: CountedShare) -> bool:
        """The same thing over the same rows?"""
        a, b = self.obligation, other.obligation
        assert a.instances is not None
        assert b.instances is not None
        return (
            (a.instances.data, a.instances.fixed) == (b.instances.data, b.instances.fixed)
            and [replace(v, record="") for v in a.variables] == [replace(v, record="") for v in b.variables]
            and (a.structure, a.assume, a.premise) == (b.structure, b.assume, b.premise)
            and a.conclusion == b.conclusion
        )


def share_clashes(rules: Sequence[Prepared]) -> tuple[tuple[CountedShare, ...], ...]:
    """Each a rule that is out of reach, or two that exclude each other."""
    counted = [
        found for rule in rules for obligation in rule.obligations[:1] if (found := _counted(rule.name, obligation))
    ]
    alone = [(one,) for one in counted if not one.open]
    left = [one for one in counted if one.open]
    return (*alone, *((a, b) for a, b in combinations(left, 2) if a.counts_as(b) and not _common(a.open, b.open)))


def _common(a: range, b: range) -> range:
    return range(max(a.start, b.start), min(a.stop, b.stop))


def _counted(rule: str, obligation: Obligation) -> CountedShare | None:
    share, instances = obligation.share, obligation.instances
    if share is None or instances is None or mentions_rewards(obligation.premise):
        return None
    points = np.zeros((len(instances.anchors), len(obligation.variables)))
    for index, column in instances.fixed:
        points[:, index] = instances.anchors[:, column]
    domain = And((obligation.structure, obligation.assume, obligation.premise))
    rows = int(truth_of_rows(domain, points).sum())
    if not rows:
        return None  # the rule says nothing
    refuted = refuting(share, rows)
    counts = range(rows + 1)
    left = counts[len(refuted) :] if share.op[0] == ">" else counts[: len(counts) - len(refuted)]
    ends = (_whatever(obligation.conclusion, FALSE), _whatever(obligation.conclusion, TRUE))
    least, most = (int(truth_of_rows(And((domain, end)), points).sum()) for end in ends)
    return CountedShare(rule, obligation, share, rows, left, range(least, most + 1))


def _whatever(formula: Formula, about_rewards: Formula) -> Formula:
    """The formula if everything that it says about rewards is true, or if all of that is false. It has no negations, so
    that no reward makes it true of fewer, or of more."""
    match formula:
        case And(parts):
            return conjunction(_whatever(part, about_rewards) for part in parts)
        case Or(parts):
            return disjunction(_whatever(part, about_rewards) for part in parts)
        case Atom():
            return about_rewards if mentions_rewards(formula) else formula
