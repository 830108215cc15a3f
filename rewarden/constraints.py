"""Rules as a part of a learner's loss: a spec's penalty, with what the verifier finds fed back to it.

This is what `reward.learners` takes as `Rules`. The penalty looks for points of its own, and climbs; every few epochs
the reward as it would be saved goes to the verifier's search, and each record that breaks a rule there stays a point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rewarden.nearby import did_you_mean
from rewarden.reward.artifact import Artifact
from rewarden.reward.learners.options import ConstraintOptions
from rewarden.spec_lang import Spec
from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import RecordType

if TYPE_CHECKING:
    from torch import Generator, Tensor

SEARCHED = 2_000  # points that the verifier's search may evaluate, per rule and turn
CHANGES = 50  # calls until the penalty draws other points


class SpecRules:
    """Mutable: the penalty's points, the epochs seen, the witnesses found. See `rewarden.reward.learners.Rules`."""

    def __init__(self, spec: Spec, record_type: RecordType, options: ConstraintOptions, seed: int) -> None:
        """UsageError G72 for a reward, G21 for a rule that the spec does not have; G18 where no rule is left."""
        self.spec, self.options, self.seed = spec, options, seed
        self.reward = _reward(spec, record_type, options)
        self.rules = _rules(spec, self.reward, options)
        given = dict(options.weights)
        for name in given:
            if name not in self.rules:
                raise UsageError("G21", f"weights: no constraint is called {name}", help=did_you_mean(name, self.rules))
        self.weights = {name: float(spec.rule(name).weight) * given.get(name, 1.0) for name in self.rules}
        self._function: Callable[[Tensor], Tensor] | None = None
        self._begin()

    def _begin(self) -> None:
        from rewarden.spec_lang.penalty.spec_penalty import PenaltyOptions

        options = PenaltyOptions(self.options.points, renew=CHANGES, margin=self.options.margin, seed=self.seed)
        self._penalty = self.spec.penalty({self.reward: self._asked}, rules=self.rules, options=options)
        self._found = 0

    def _asked(self, rows: Tensor) -> Tensor:
        assert self._function is not None
        return self._function(rows)

    @property
    def identity(self) -> str:
        return digest_of(
            canonical_json(
                {
                    "spec": self.spec.digest,
                    "reward": self.reward,
                    "weights": {name: float(weight).hex() for name, weight in self.weights.items()},
                    "points": self.options.points,
                    "margin": float(self.options.margin).hex(),
                    "witnesses": self.options.witnesses,
                    "seed": self.seed,
                }
            )
        )

    def __call__(self, reward: Callable[[Tensor], Tensor], generator: Generator) -> Tensor:
        import torch

        self._function = reward
        found = self._penalty.per_rule()
        total = torch.zeros((), dtype=torch.float64)
        for name, violation in found.items():
            total = total + self.weights[name] * violation
        return total

    def after(self, epoch: int, snapshot: Callable[[], Artifact]) -> None:
        """Every few epochs, records of the search that break a rule become points of it."""
        if self.options.witnesses and epoch % self.options.witnesses == 0:
            from rewarden.api import falsify
            from rewarden.verifier.options import VerifyOptions

            options = VerifyOptions(falsify_budget=SEARCHED, seed=self.seed)
            result = falsify(self.spec, options, rules=self.rules, rewards={self.reward: snapshot()})
            for rule in result.rules:
                if rule.witness is not None:
                    self._found += self._penalty.add_points(rule.rule, rule.witness.values())

    def state(self) -> dict[str, Tensor]:
        import torch

        return {"found": torch.tensor(self._found), **self._penalty.state_dict()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._begin()
        if state:
            self._found = int(state["found"])
            self._penalty.load_state_dict({name: value for name, value in state.items() if name != "found"})

    def record(self) -> dict[str, str]:
        weights = ", ".join(f"{name} {weight:g}" for name, weight in self.weights.items())
        return {"constraints": f"{weights}; spec {self.spec.digest}", "witnesses fed back": str(self._found)}


def _reward(spec: Spec, record_type: RecordType, options: ConstraintOptions) -> str:
    fitting = [n for n, d in spec.rewards.items() if [spec.features[k] for _, k in d.params] == [record_type]]
    if options.reward:
        if options.reward not in spec.rewards:
            help = did_you_mean(options.reward, spec.rewards)
            raise UsageError("G72", f"{spec.name} declares no reward {options.reward}", help=help)
        if options.reward not in fitting:
            raise UsageError(
                "G72", f"{options.reward} does not read {record_type.name} alone", help="name a reward that does"
            )
        return options.reward
    if len(fitting) != 1:
        listed = ", ".join(fitting) or "none"
        raise UsageError(
            "G72",
            f"{spec.name} declares {len(fitting)} rewards over {record_type.name}: {listed}",
            help='say which: reward = "…" under [constraints]',
        )
    return fitting[0]


def _rules(spec: Spec, reward: str, options: ConstraintOptions) -> tuple[str, ...]:
    if options.rules:
        for name in options.rules:
            others = set(spec.rule(name).rewards) - {reward}
            if others or reward not in spec.rule(name).rewards:
                what = f"speaks of {', '.join(sorted(others))}" if others else f"does not speak of {reward}"
                raise UsageError("G18", f"the rule {name} {what}", help=f"name rules about {reward} alone")
        return options.rules
    found = tuple(rule.name for rule in spec.rules if set(rule.rewards) == {reward})
    if not found:
        raise UsageError("G18", f"no rule of {spec.name} is about {reward} alone", help="constraints need one")
    return found
