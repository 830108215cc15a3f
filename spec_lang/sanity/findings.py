"""What the sanity checks found, as diagnostics: a sentence, the lines it is about, and the way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rewarden.spec_lang.errors import Diagnostic, Label
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.sanity.cases import Signature
from rewarden.spec_lang.sanity.clash import Clash
from rewarden.spec_lang.sanity.examples import ExampleResult
from rewarden.spec_lang.sanity.places import Places, labels, line, listed, quoted
from rewarden.spec_lang.sanity.prepared import Prepared
from rewarden.spec_lang.sanity.redundant import Redundant
from rewarden.spec_lang.sanity.shares import CountedShare
from rewarden.spec_lang.sanity.unread import Unused
from rewarden.spec_lang.sanity.vacuous import Clause, why
from rewarden.spec_lang.sanity.words import NamedRecord, Telling, records_of, situation_text
from rewarden.spec_lang.source import Span
from rewarden.spec_lang.spec import Spec


@dataclass(frozen=True, slots=True)
class Finding:
    """`rules` it is about, in the order of the spec, and `records` of a situation that shows it."""

    diagnostic: Diagnostic
    rules: tuple[str, ...] = ()
    records: tuple[NamedRecord, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Wording:
    """The findings of one spec in words: a method for each kind."""

    spec: Spec
    places: Places
    signature: Signature

    # ── premises and records ───────────────────────────────────────────────────────────────────
    def vacuous(self, rule: Prepared, core: Sequence[Clause]) -> Finding:
        home = self._premise(rule.name)
        found = labels(home, _marked(core))
        message = f"nothing satisfies the premise of {rule.name}: {why(core, found[0].span)}"
        help = "a rule that speaks of nothing is true of every reward: correct what excludes its records"
        severity = "error" if rule.must else "warning"  # as when it is verified, a `should` only warns
        return Finding(Diagnostic("S01", message, found, help=help, severity=severity), (rule.name,))

    def undecided_premise(self, rule: Prepared) -> Finding:
        message = f"whether anything satisfies the premise of {rule.name} is undecided within the budget"
        return _warning("S02", message, (Label(self._premise(rule.name)),), (rule.name,))

    def empty_type(self, name: str, core: Sequence[Clause]) -> Finding:
        found = labels(self.places.types[name].name_span, _marked(core))
        message = f"no record of {name} can exist: {why(core, found[0].span)}"
        help = "an assumption says what can occur at all: some record has to satisfy all of them"
        return Finding(Diagnostic("S08", message, found, help=help))

    def because(self, rule: Prepared, span: Span) -> str:
        """The text that puts the rule in its class: an expression, or all of the quantifier."""
        written = self.places.rules[rule.name]
        if rule.rule.kind == "records":
            return quoted(span).strip("`")
        start, end = written.quantifier.span, (written.given or written.expect).span
        before = start.source.text[start.start : end.start].rsplit(None, 1)[0]  # without `given` or `expect`
        return quoted(replace(start, end=start.start + len(before))).strip("`")

    def _premise(self, rule: str) -> Span:
        written = self.places.rules[rule]
        return written.name_span if written.given is None else written.given.span

    # ── must rules together ────────────────────────────────────────────────────────────────────
    def clash(self, clash: Clash) -> Finding:
        telling = Telling(clash, self.signature, self.places)
        rules = tuple(rule.name for rule in self.spec.rules if rule.name in clash.rules)
        marked = []
        for asked, text in zip(clash.asked, telling.asks, strict=True):
            origins = [literal.origin for literal in asked.literals if literal.origin is not None]
            expect = self.places.rules[asked.instance.rule].expect.span
            marked.append((origins[0] if origins else expect, f"asks {text}"))
        marked.sort(key=lambda pair: pair[0].start)
        found = labels(marked[0][0], marked)
        if len(rules) == 1:
            code, message = "S04", f"no reward can satisfy {rules[0]}"
            help = "the rule contradicts itself: correct its conclusion, or narrow its premise"
        else:
            code, message = "S03", f"no reward can satisfy {listed(list(rules))} together"
            help = "weaken one of them, or make their premises exclude each other"
        related = telling.sentence(self.spec.features)
        return Finding(Diagnostic(code, message, found, related=related, help=help), rules, telling.records)

    def share_clash(self, shares: Sequence[CountedShare]) -> Finding:
        rules = tuple(dict.fromkeys(share.rule for share in shares))
        asked = [(self.places.rules[share.rule].expect.span, f"asks for {share.asks}") for share in shares]
        first = shares[0]
        assert first.obligation.instances is not None
        rows = f"{first.rows} row{'' if first.rows == 1 else 's'} of {first.obligation.instances.data}"
        told = listed([f"{share.rule} asks for {share.asks}" for share in shares])
        if len(shares) == 1:
            code, message = "S04", f"no reward can satisfy {first.rule}"
            help = "a share lies between 0 and 1, the ends included"
            if first.asked:
                told += f" and {first.has}, whatever the reward"
                help = "correct what is counted, or the level"
        else:
            code, message = "S03", f"no reward can satisfy {listed(list(rules))} together"
            help = "weaken one of them, or make their premises exclude each other"
        found = labels(asked[0][0], asked)
        return Finding(Diagnostic(code, message, found, related=f"of {rows} {told}", help=help), rules)

    def undecided_clash(self) -> Finding:
        message = "whether some reward satisfies all must rules is undecided: the search for a clash used up its budget"
        first = next(rule for rule in self.spec.rules if rule.severity == "must")
        return _warning("S14", message, (Label(self.places.rules[first.name].name_span),))

    # ── redundancy ─────────────────────────────────────────────────────────────────────────────
    def redundant(self, found: Redundant) -> Finding:
        home = self.places.rules[found.rule].name_span
        if not found.by:
            message = f"{found.rule} asks nothing: every reward satisfies it"
            return _warning("S15", message, (Label(home),), (found.rule,), help="leave it out, or correct it")
        message = f"{found.rule} follows from {listed(list(found.by))}"
        others = [f"{name} is at {line(self.places.rules[name].name_span, home)}" for name in found.by]
        subject = "it asks" if len(found.by) == 1 else "together they ask"
        return _warning(
            "S05",
            message,
            (Label(home),),
            (found.rule, *found.by),
            related=f"{listed(others)}; {subject} at least as much wherever {found.rule} applies",
            help="leave it out, or make it stricter",
        )

    def undecided_redundancy(self, rules: Sequence[str]) -> Finding:
        some = listed(list(rules)) if len(rules) <= 3 else f"{len(rules)} rules"
        verb = "follows" if len(rules) == 1 else "follow"
        message = f"whether {some} {verb} from other rules is undecided within the budget"
        return _warning("S16", message, (Label(self.places.rules[rules[0]].name_span),), tuple(rules))

    # ── what is not used ───────────────────────────────────────────────────────────────────────
    def unread(self, type_name: str, features: Sequence[str]) -> Finding:
        shown = list(features) if len(features) <= 6 else [*features[:5], f"{len(features) - 5} more"]
        message = f"no rule reads {listed(shown)} of {type_name}"
        fields = [(self.places.fields[type_name, name].name_span, "") for name in features]
        help = "rules hold for all values of what they do not read: say so with `varying`, or take it as a reminder"
        return _warning("S06", message, labels(fields[0][0], fields[:1]), help=help)

    def unused(self, unused: Unused) -> Finding:
        what = f"{unused.kind} {unused.name}" if unused.kind != "use" else f"what {unused.name} declares"
        return _warning("S07", f"nothing uses {what}", (Label(unused.span),), help="leave it out")

    # ── examples ───────────────────────────────────────────────────────────────────────────────
    def example(self, result: ExampleResult, obligation: Obligation, core: Sequence[Clause]) -> Finding | None:
        """None where it holds."""
        example, found = result.example, (Label(result.example.span),)
        match result.status:
            case "fails":
                verb, fate = ("covers", "fails") if example.kind == "covers" else ("ignores", "holds")
                records = _completion(obligation, result)
                where = f" at {situation_text(records, self.spec.features)}" if records else ""
                message = f"{example.rule} is said to {verb[:-1]} this, but its premise {fate}{where}"
                help = "correct the example, or the premise"
                return Finding(Diagnostic("S09", message, found, help=help), (example.rule,), records)
            case "impossible":
                clauses = [c for c in core if c.kind != "premise"]
                reason = f": it contradicts {listed([_told(c, example.span) for c in clauses])}" if clauses else ""
                message = f"no record is like this example of {example.rule}{reason}"
                return Finding(Diagnostic("S10", message, found, help="correct the example"), (example.rule,))
            case "undecided":
                message = f"whether this example of {example.rule} holds is undecided within the budget"
                return _warning("S11", message, found, (example.rule,))
        return None

    # ── what a reward is free to do ────────────────────────────────────────────────────────────
    def flipped(self, rule: str, *, by_factor: bool) -> Finding:
        home = self.places.rules[rule].expect.span
        rewards = listed(list(self.spec.rule(rule).rewards))
        if by_factor:
            message = f"a positive factor on {rewards} could change whether {rule} holds"
            help = "express its tolerances in terms of data constants of the same reward"
            return _warning("S13", message, (Label(home),), (rule,), help=help)
        message = f"a constant added to {rewards} could change whether {rule} holds"
        help = "compare with a data constant of the same reward, or with another value of it"
        return _warning("S12", message, (Label(home),), (rule,), help=help)


def in_order(findings: Sequence[Finding], home: str) -> tuple[Finding, ...]:
    """By place, the file `home` first."""

    def place(finding: Finding) -> tuple[bool, str, int, str]:
        span = finding.diagnostic.labels[0].span
        return span.source.name != home, span.source.name, span.start, finding.diagnostic.code

    return tuple(sorted(findings, key=place))


def _warning(
    code: str,
    message: str,
    found: tuple[Label, ...],
    rules: tuple[str, ...] = (),
    *,
    related: str | None = None,
    help: str | None = None,
) -> Finding:
    return Finding(Diagnostic(code, message, found, related, help, severity="warning"), rules)


def _marked(core: Sequence[Clause]) -> list[tuple[Span, str]]:
    """The clauses' places, the premise first."""
    shown = [clause for clause in core if clause.kind != "case"]
    marked = [(c.span, "" if c.kind == "premise" else f"the {c.kind}") for c in shown if c.span is not None]
    return sorted(marked, key=lambda pair: pair[1] != "")


def _told(clause: Clause, home: Span) -> str:
    at = "" if clause.span is None else f" at {line(clause.span, home)}"
    return f"the assumption {clause.words}{at}" if clause.kind == "assumption" else f"{clause.words}{at}"


def _completion(obligation: Obligation, result: ExampleResult) -> tuple[NamedRecord, ...]:
    if result.completion is None:
        return ()
    return tuple(r for r in records_of(obligation, result.completion) if not r.name.startswith("anchor("))
