"""The rules of a spec as one differentiable penalty, to train a reward with.

    penalty = spec.penalty(R=module)
    loss = data_loss + 0.1 * penalty()            # at points that it finds itself
    loss = data_loss + 0.1 * penalty(batch)       # at the rows of a batch, and their pairs

Per rule: the mean violation over the points that satisfy the premise (penalty_violation.py; for shares
penalty_share.py), in the units of the rule. In all: the sum over rules, each times its `weight`. It is 0 exactly where
all rules hold at these points, with the margin asked for. Premises are decided exactly and are never part of the loss.
All calls of a reward, of all rules, are one call of the function given. Data constants are those of the reward as it
is, detached.

Its own points are drawn uniformly from the premises; then half of them climb to where the rule is broken most. They are
drawn again after some calls or when `sample` says so, and are the same for the same seed and calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import Literal

import torch
from torch import Tensor

from rewarden.spec_lang.diagnostics import did_you_mean
from rewarden.spec_lang.errors import BindingError
from rewarden.spec_lang.penalty.joint import Joint
from rewarden.spec_lang.penalty.points import Points
from rewarden.spec_lang.penalty.pointwise import require_positive
from rewarden.spec_lang.penalty.pools import Looked, Pools
from rewarden.spec_lang.penalty.reading import RewardFunction
from rewarden.spec_lang.penalty.rewards import Bound, DataConstants, constants_in
from rewarden.spec_lang.penalty.share import missing
from rewarden.spec_lang.penalty.violation import Mode, violation
from rewarden.spec_lang.spec import Rule, Spec

Where = Tensor | Mapping[str, Points] | None


@dataclass(frozen=True, slots=True)
class PenaltyOptions:
    """`points` per rule; `steps` of search for half of them; other ones after `renew` calls (0: only by `sample`); of
    added points the latest `capacity` per rule are kept; data constants are computed anew every `constants_every`
    calls; atoms about rewards are met from `margin` on."""

    points: int = 256
    steps: int = 8
    renew: int = 50
    capacity: int = 1024
    constants_every: int = 1
    margin: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"points": 1, "capacity": 1, "constants_every": 1}
        for option in fields(self):
            value = getattr(self, option.name)
            if not isfinite(value) or value < least.get(option.name, 0):
                raise ValueError(f"{option.name} = {value} is out of range")


def penalty_of(
    spec: Spec,
    rewards: Mapping[str, RewardFunction],
    *,
    rules: Iterable[str] | None = None,
    severity: Literal["must", "should"] | None = None,
    options: PenaltyOptions | None = None,
) -> Penalty:
    """The penalty of the rules that speak of these rewards and no others; or, of those, of the `rules` named.

    A reward maps encoded columns [n, width], in problem units, to [n] or [n, 1]. A module is asked in the dtype and on
    the device that its parameters have now, any other function in torch's defaults.

    BindingError B24 for a reward that the spec does not declare and where no rule is left, B22 for a named rule that
    needs a reward which is not given; UsageError G21 for a rule that does not exist; DataError for data that cannot
    be read.
    """
    for name in rewards:
        if name not in spec.rewards:
            help = did_you_mean(name, spec.rewards)
            raise BindingError("B24", f"{spec.name} declares no reward {name}", help=help)
    chosen = spec.rules if rules is None else tuple(spec.rule(name) for name in dict.fromkeys(rules))
    kept = [rule for rule in chosen if rule.rewards and severity in (None, rule.severity)]
    if rules is None:
        kept = [rule for rule in kept if all(name in rewards for name in rule.rewards)]
    for rule in kept:
        for name in rule.rewards:
            if name not in rewards:
                raise BindingError("B22", f"{rule.name} speaks of {name}, which is not given", help=f"pass {name}=…")
    if not kept:
        help = "pass rewards by name, as in R=module, and rules that speak of them"
        raise BindingError("B24", f"no rule of {spec.name} is left to be penalised", help=help)
    return Penalty(spec, kept, rewards, options or PenaltyOptions())


class Penalty:
    """See above. Mutable: the points of the rules, and how often it was called; `state_dict` holds all of that."""

    def __init__(
        self, spec: Spec, rules: Sequence[Rule], rewards: Mapping[str, RewardFunction], options: PenaltyOptions
    ) -> None:
        self.options = options
        self.rules = tuple(rule.name for rule in rules)
        self._bound = Bound.of({name: rewards[name] for rule in rules for name in rule.rewards})
        self._weights = {r.name: float(r.weight) for r in rules}
        self._pools = Pools(spec, rules, self._bound, options.seed)
        self._constants = DataConstants(spec, self._bound, constants_in(pool.obligation for pool in self._pools.all()))
        self._calls = 0
        self._joint: Joint | None = None  # of the rules' own points, until they change
        self._counts: dict[str, int] = {}

    # ── values ──
    def __call__(self, points: Where = None, *, temperature: float | None = None) -> Tensor:
        """The sum over rules of weight times `per_rule`, a float64 scalar."""
        found = self._totals(points, temperature)
        parts = [total * (self._weights[rule] / max(1, self._counts[rule])) for rule, total in found.items()]
        return sum(parts[1:], parts[0]) if parts else torch.zeros((), dtype=torch.float64, device=self._bound.device)

    def per_rule(self, points: Where = None, *, temperature: float | None = None) -> dict[str, Tensor]:
        """Rule → mean violation over the points that count, a float64 scalar; 0 where none does (see `counts`).

        Without `points` each rule is looked at its own. A tensor holds encoded rows [n, width] of one record type, in
        problem units: they stand for the records of rules about that type, alone, in pairs, or varied in what a rule
        lets vary; rules about data, traces and cycles keep to their own points. A mapping gives points of some rules
        (as for `add_points`), and only those rules are looked at. With a temperature, `and` is a log-sum-exp at it.

        BindingError B23 for a reward that does not return one finite number per record, B25 for points that do not fit.
        """
        found = self._totals(points, temperature)
        return {rule: total / max(1, self._counts[rule]) for rule, total in found.items()}

    def counts(self) -> dict[str, int]:
        """Rule → how many points counted in the last call: a rule of which none did is not satisfied but unseen."""
        return dict(self._counts)

    # ── points ──
    def sample(self, n: int | None = None) -> None:
        """Draws other points, n per rule (`options.points` if left out), and searches from the rewards as they are."""
        self._constants.refresh()
        self._draw(n or self.options.points)

    def add_points(self, rule: str, points: Points) -> int:
        """Keeps points of a rule, to be looked at in every call without points: such as a verifier's witness.

        Named records (record → feature → value, in problem units), one or several of them; or rows [n, variables] in
        the order of the obligation's variables. Returns how many are in the domain and the premise; others are dropped.
        BindingError B25 for points that do not fit, or of a rule about a share of the rows: those are all it has.
        """
        self._joint = None
        return self._pools.add(rule, points, self.options.capacity)

    def points_of(self, rule: str) -> tuple[Tensor, ...]:
        """A rule's own points, float64 [n, variables], for each of its obligations."""
        return tuple(torch.from_numpy(pool.points()) for pool in self._pools.of(rule))

    # ── state ──
    def state_dict(self) -> dict[str, Tensor]:
        """All that changes, as tensors by name."""
        return {"calls": torch.tensor(self._calls), **self._pools.state()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """What `state_dict` of a penalty of the same rules returned; ValueError for anything else."""
        self._pools.restore({key: value for key, value in state.items() if key != "calls"})
        self._calls, self._joint = int(state.get("calls", torch.tensor(0))), None

    # ── inside ──
    def _totals(self, points: Where, temperature: float | None) -> dict[str, Tensor]:
        """Rule → summed violation; `_counts` is set to the number of points."""
        require_positive(temperature)
        if not self._constants.values or self._calls % self.options.constants_every == 0:
            self._constants.refresh()
        mode = self._mode(temperature)
        looked = self._looked(points, mode)
        self._calls += 1
        joint = self._joint
        if joint is None or points is not None or any(at.pool.moody for at in looked):
            joint = Joint.of([at.prepared for at in looked], self._bound)
            self._joint = joint if points is None else self._joint
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        for at, outputs in zip(looked, joint.outputs(self._bound), strict=True):
            name, share = at.pool.obligation.rule.name, at.pool.obligation.share
            found = violation(at.prepared, outputs, mode)
            total = found.sum() if share is None else missing(found, share, at.stands_for)
            sums[name] = sums[name] + total if name in sums else total
            counts[name] = counts.get(name, 0) + len(found)
        self._counts = counts
        return sums

    def _mode(self, temperature: float | None = None) -> Mode:
        return Mode(self._bound.ask, self._constants.values, temperature, self.options.margin)

    def _draw(self, n: int) -> None:
        self._joint = None
        self._pools.sample(n, self.options.steps, self._mode())

    def _looked(self, points: Where, mode: Mode) -> list[Looked]:
        if isinstance(points, Mapping):
            return self._pools.at_points(points, mode)
        if (points is None or self._pools.keep_some()) and self._pools.due(self.options.renew):
            self._draw(self.options.points)
        if points is None:
            return self._pools.own(mode)
        return self._pools.at_rows(points, self.options.points, self._calls, mode)
