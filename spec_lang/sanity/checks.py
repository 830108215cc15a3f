"""The spec itself is checked, before any model exists: with rewards as free symbols, and Z3.

    sanity = check_spec(load_spec("driving.rwd"))
    sanity.findings            # diagnostics, in source order, with what they are about
    sanity.rules               # class, engines and premise of every rule
    sanity.satisfied_by        # simple rewards that satisfy all must rules: a proof that they do not clash

Errors are proved: a premise or a record type that nothing satisfies (S01, S08), must rules that no reward satisfies
(S03, S04), an example that fails (S09, S10). What is not found is not denied, and what the budget leaves open is said
to be open (S02, S11, S14, S16). Budgets are work, so that the same spec gives the same answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

from rewarden.spec_lang.classify import RuleClass, classify
from rewarden.spec_lang.engines import Engines, engines_of
from rewarden.spec_lang.errors import Diagnostic
from rewarden.spec_lang.formulas import conjunction
from rewarden.spec_lang.invariance import flips
from rewarden.spec_lang.obligation import Const, Obligation, Var
from rewarden.spec_lang.sanity.clash import Clash, ClashBudget, find_clashes
from rewarden.spec_lang.sanity.conditions import conditions_of
from rewarden.spec_lang.sanity.demands import Demand
from rewarden.spec_lang.sanity.examples import example_result
from rewarden.spec_lang.sanity.findings import Finding, Wording, in_order
from rewarden.spec_lang.sanity.grounded import GroundBudget, ground_clashes
from rewarden.spec_lang.sanity.joint import same
from rewarden.spec_lang.sanity.over_tables import derived
from rewarden.spec_lang.sanity.places import Places
from rewarden.spec_lang.sanity.prepared import LENGTHS, Lazily, Prepared, prepared
from rewarden.spec_lang.sanity.reconcile import (
    constant_rewards,
    demands_everywhere,
    demands_of_loops,
    loops_of,
    short_loops,
)
from rewarden.spec_lang.sanity.record_types import any_record
from rewarden.spec_lang.sanity.redundant import RedundancyBudget, find_redundant
from rewarden.spec_lang.sanity.shares import share_clashes
from rewarden.spec_lang.sanity.stepped import stepped_reward
from rewarden.spec_lang.sanity.unread import unread_features, unused_declarations
from rewarden.spec_lang.sanity.vacuous import Clause, Premise, PremiseStatus, clashing_clauses, premise_of
from rewarden.spec_lang.sanity.z3 import Oracle
from rewarden.spec_lang.spec import Rule, Spec

Identified = Literal["exact", "shift", "affine"]


@dataclass(frozen=True, slots=True)
class Budget:
    """Work in Z3's resource units: `work` in all, `premise` for each premise and each example."""

    work: int = 60_000_000
    premise: int = 2_000_000
    clash: ClashBudget = field(default_factory=ClashBudget)
    redundancy: RedundancyBudget = field(default_factory=RedundancyBudget)
    ground: GroundBudget = field(default_factory=GroundBudget)


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What is known of a rule without any reward. `because` is the text that puts it in its class."""

    rule: Rule
    rule_class: RuleClass | Literal["trace"]
    because: str
    engines: Engines
    premise: PremiseStatus
    flipped_by_shift: bool
    flipped_by_factor: bool


@dataclass(frozen=True, slots=True)
class SatisfiedBy:
    """Rewards that satisfy all must rules: `values` everywhere, but raised (or lowered) to the level of a step in the
    region of its rule, and to the furthest level where several apply."""

    values: Mapping[str, Fraction]
    raised: bool = True
    steps: tuple[tuple[str, Fraction], ...] = ()


@dataclass(frozen=True, slots=True)
class Sanity:
    """`clash`: whether must rules clash. "no" is a proof, by the rewards of `satisfied_by`; "not found" is not;
    "undecided" says that the budget ran out."""

    findings: tuple[Finding, ...]
    rules: tuple[RuleFacts, ...]
    satisfied_by: SatisfiedBy | None
    clash: Literal["no", "yes", "not found", "undecided"]

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return tuple(finding.diagnostic for finding in self.findings)

    @property
    def errors(self) -> int:
        return sum(diagnostic.severity == "error" for diagnostic in self.diagnostics)

    @property
    def warnings(self) -> int:
        return len(self.findings) - self.errors


def check_spec(spec: Spec, budget: Budget | None = None, *, identified: Identified = "exact") -> Sanity:
    """All checks. Reads the spec's data (DataError). With `identified`, rules are warned of whose truth such a freedom
    of the rewards could change."""
    return _Check(spec, budget or Budget(), identified).run()


class _Check:
    """Mutable while one spec is checked: what is left of the work, and the findings so far."""

    def __init__(self, spec: Spec, budget: Budget, identified: Identified) -> None:
        self.spec = spec
        self.budget = budget
        self.identified = identified
        self.oracle = Oracle(budget.work)
        signature = {
            name: tuple((kind, spec.features[kind].width) for _, kind in reward.params)
            for name, reward in spec.rewards.items()
        }
        self.words = Wording(spec, Places.of(spec), signature)
        self.found: list[Finding] = []

    def run(self) -> Sanity:
        rules = [self._prepared(rule) for rule in self.spec.rules]
        self._premises(rules)
        self._examples()
        satisfied_by = self._example_reward([rule for rule in rules if rule.must])
        clash: Literal["no", "yes", "not found", "undecided"] = "no"
        clashing: frozenset[str] = frozenset()
        if satisfied_by is None:
            clash, clashing = self._clashes([rule for rule in rules if rule.must])
        self._redundant([rule for rule in rules if rule.name not in clashing])
        self._unused(rules)
        facts = tuple(self._facts(rule) for rule in rules)
        return Sanity(in_order(self.found, self.spec.source.name), facts, satisfied_by, clash)

    # ── one rule at a time ─────────────────────────────────────────────────────────────────────
    def _prepared(self, rule: Rule) -> Prepared:
        """A rule about cycles has no list of obligations; one about traces is looked at until one length can occur."""
        obligations: Sequence[Obligation] = ()
        if rule.kind == "trace":
            lengths = self.spec.lowered[rule.name].lengths
            obligations = Lazily(len(lengths), lambda k: self.spec.unrolled(rule.name, lengths[k]))
        elif rule.kind != "cycle":
            obligations = (self.spec.obligation(rule.name),)
        premises = [Premise("undecided")] * len(obligations)
        for k, obligation in enumerate(obligations):
            premises[k] = premise_of(obligation, self.oracle, self.budget.premise)
            if premises[k].status == "satisfiable":
                break
        return prepared(rule, obligations, premises)

    def _facts(self, rule: Prepared) -> RuleFacts:
        obligations = rule.obligations or (self.spec.unrolled(rule.name, 2),)
        steps = rule.rule.kind in ("trace", "cycle")
        rule_class, span = classify(obligations[-1])
        because = self.words.because(rule, span) if rule_class != "box" or steps else ""
        shift, factor = flips(obligations[-1], frozenset(rule.rule.rewards))
        if self.identified != "exact" and shift:
            self.found.append(self.words.flipped(rule.name, by_factor=False))
        if self.identified == "affine" and factor:
            self.found.append(self.words.flipped(rule.name, by_factor=True))
        return RuleFacts(
            rule=rule.rule,
            rule_class="trace" if steps else rule_class,
            because=because,
            engines=engines_of(rule.rule.kind, obligations[-1:]),
            premise=rule.premise,
            flipped_by_shift=shift,
            flipped_by_factor=factor,
        )

    # ── premises, and the records that they are about ──────────────────────────────────────────
    def _premises(self, rules: Sequence[Prepared]) -> None:
        seen = {
            view.type_name for r in rules if r.premise == "satisfiable" for o in r.obligations[:1] for view in o.records
        }
        seen |= {kind for data in self.spec.data.values() for _, kind in data.members}
        empty = [name for name in self.spec.features if name not in seen and self._is_empty(name)]
        for rule in rules:
            if rule.premise == "vacuous" and not any(kind in empty for _, kind in rule.rule.records):
                core = self._core(rule.obligations[0], rule.name)
                self.found.append(self.words.vacuous(rule, core))
            elif rule.premise == "undecided" and rule.rule.kind != "cycle":
                self.found.append(self.words.undecided_premise(rule))

    def _is_empty(self, name: str) -> bool:
        """Reports a record type whose assumptions exclude each other."""
        record = any_record(self.spec.features[name], self.spec.assumptions[name], self.words.places.types[name])
        if premise_of(record, self.oracle, self.budget.premise).status != "vacuous":
            return False
        self.found.append(self.words.empty_type(name, self._core(record)))
        return True

    def _core(self, obligation: Obligation, rule: str | None = None) -> tuple[Clause, ...]:
        spans = {key: written.span for key, written in self.words.places.fields.items()}
        conditions = conditions_of(self.spec, self.words.places.rules[rule].given if rule else None)
        return clashing_clauses(obligation, self.spec.features, (spans, conditions), self.oracle, self.budget.premise)

    # ── must rules together ────────────────────────────────────────────────────────────────────
    def _example_reward(self, must: Sequence[Prepared]) -> SatisfiedBy | None:
        """A reward that satisfies them all, where a simple one does."""
        loops = [rule for rule in must if rule.rule.kind == "cycle"]
        demands = demands_everywhere([rule for rule in must if rule not in loops])
        if demands is None:
            return None
        about_loops = [demands_of_loops(rule, self.spec) for rule in loops]
        rewards = [name for name in self.spec.rewards if any(name in rule.rule.rewards for rule in must)]
        if None not in about_loops:
            everything = [*demands, *(demand for own in about_loops for demand in own or ())]
            constants = constant_rewards(everything, rewards, self.oracle, self.budget.premise)
            if constants is not None:
                return SatisfiedBy(constants)
        if loops:
            return None
        found = stepped_reward(self.spec, demands, self.oracle, self.budget.clash.rlimit)
        if found is None:
            return None
        steps = tuple((step.rule, step.level) for step in found.steps)
        return SatisfiedBy(dict.fromkeys(rewards, found.base), found.raised, steps)

    def _clashes(self, must: Sequence[Prepared]) -> tuple[Literal["yes", "not found", "undecided"], frozenset[str]]:
        sets = [own for rule in must if rule.comparable for own in rule.demands[:LENGTHS] if own is not None]
        demands = [demand for own in sets for demand in own]
        demands += list(derived(self.spec, demands))
        demands += [demand for rule in must if rule.rule.kind == "cycle" for demand in short_loops(rule, self.spec)]
        found = find_clashes(demands, self.oracle, self.budget.clash)
        counts = share_clashes(must)
        clashes = [*found.clashes, *self._ground_clashes(must, found.clashes)]
        self.found += [self.words.clash(clash) for clash in clashes]
        self.found += [self.words.share_clash(shares) for shares in counts]
        if clashes or counts:
            clashing = [rule for clash in clashes for rule in clash.rules]
            return "yes", frozenset([*clashing, *(share.rule for shares in counts for share in shares)])
        if found.complete:
            return "not found", frozenset()
        self.found.append(self.words.undecided_clash())
        return "undecided", frozenset()

    def _ground_clashes(self, must: Sequence[Prepared], known: Sequence[Clash]) -> tuple[Clash, ...]:
        """Of rules with products of rewards, and of loops unless some clash is known."""
        rules = [o for rule in must if rule.comparable for o in rule.obligations[:LENGTHS]]
        apart = [o for rule in must if rule.comparable for o, own in _in_step(rule) if own is None]
        loops = [] if known else [o for rule in must if rule.rule.kind == "cycle" for o in loops_of(rule, self.spec)]
        clashing = {rule for clash in known for rule in clash.rules}
        subjects = [o for o in (*apart, *loops) if o.rule.name not in clashing]
        found = ground_clashes(subjects, [*rules, *loops], self.words.signature, self.oracle, self.budget.ground)
        return tuple(clash for clash in found if not any(set(k.rules) <= set(clash.rules) for k in known))

    def _redundant(self, rules: Sequence[Prepared]) -> None:
        found = find_redundant(rules, self.words.signature, self.oracle, self.budget.redundancy)
        self.found += [self.words.redundant(redundant) for redundant in found.redundant]
        if found.undecided:
            self.found.append(self.words.undecided_redundancy(found.undecided))

    # ── examples, and what is not used ─────────────────────────────────────────────────────────
    def _examples(self) -> None:
        for example in self.spec.examples:
            obligation = self.spec.obligation(example.rule)
            result = example_result(example, obligation, self.oracle, self.budget.premise)
            core: tuple[Clause, ...] = ()
            if result.status == "impossible":
                given = conjunction(same(Var(index), Const(value)) for index, value in example.values)
                core = self._core(replace(obligation, premise=given, instances=None))
            finding = self.words.example(result, obligation, core)
            if finding is not None:
                self.found.append(finding)

    def _unused(self, rules: Sequence[Prepared]) -> None:
        obligations = [o for rule in rules for o in rule.obligations[-1:]]
        obligations += [self.spec.unrolled(rule.name, 2) for rule in rules if not rule.obligations]
        for name, features in unread_features(self.spec, obligations).items():
            self.found.append(self.words.unread(name, features))
        self.found += [self.words.unused(unused) for unused in unused_declarations(self.spec)]


def _in_step(rule: Prepared) -> Iterator[tuple[Obligation, tuple[Demand, ...] | None]]:
    """The rule's shortest obligations with their demands."""
    return zip(rule.obligations[:LENGTHS], rule.demands[:LENGTHS], strict=True)
