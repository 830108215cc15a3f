"""One claim to one verdict: which engine when, the same every time.

1. premise: is there anything to speak of? One checked point of it, or its refutation (`vacuous`).
2. `falsify` looks for a violation.
   A linear reward is settled by `bounds` before that, in closed form; so are goals that hold by construction, and in
   `auto` what a `glance` settles.
3. The engine that was asked for, alone; or in `auto` several, in two rounds, a short one and a long one: `differences`,
   where two calls are there to compare; `cells`; `bounds`; between the rounds certified slopes and patches that follow,
   for rules of records that move together (`falling`). Then `lp` and `z3` on what is small, and the rest of the budget
   for the engine that has settled most. Rules of many variables: `bounds` once for each box; `neurons` with half of the
   budget; `cells` with a quarter; `lp` and `z3`.

Each step either ends the matter or leaves it to the next; the budgets are counted in work, and a time limit only stops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from rewarden.reward.artifact import Artifact
from rewarden.reward.tables import has_tables
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.spec_lang.errors import BindingError
from rewarden.verifier import by_parts, by_table, engines
from rewarden.verifier.between import lies_between
from rewarden.verifier.by_construction import goals_hold, monotone_goals_hold
from rewarden.verifier.either import either_proof
from rewarden.verifier.engines.interface import Declined, Outcome, Part, Rows, Run, Task
from rewarden.verifier.exact_program import ExactProgram, Point
from rewarden.verifier.executed import compile_executed
from rewarden.verifier.falling import beneath, falls
from rewarden.verifier.glance import glance
from rewarden.verifier.linear import program_of
from rewarden.verifier.moves import may_move, moves_enough
from rewarden.verifier.opened import opened
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.premise import Premise, find_premise
from rewarden.verifier.progress import Progress, Report, Stop, stopping
from rewarden.verifier.region_words import EVERYTHING, NUMBERS, described_rows
from rewarden.verifier.regions import OpenBoxes
from rewarden.verifier.settled import goals_hold_by_cases
from rewarden.verifier.torch_settings import plain_torch
from rewarden.verifier.unwritten import CERTIFIED, Unwritten, no_proof
from rewarden.verifier.verdict import CERTIFIABLE, Reason, RuleResult, Verdict, Work, without_proof
from rewarden.verifier.witness import Witness, proof_witness

PLAIN = ("cells", "bounds")
RELATED = ("differences", "cells", "bounds")  # of rules that have something to subtract
ROUNDS = (0.02, 0.23)  # of the budget: what each engine has in each round
LOOK = 256  # boxes for a proof of what slopes may settle sooner
MOVES = (0.1, 0.15)  # of the budget: slopes of rules about how far a reward moves, before each round
FIRST = 0.25  # of the budget, for rules of many variables: bounds, and cells
CLOSE = 0.5  # of the budget: neurons
PROGRAMS = 0.05  # of the budget: linear programs, of which each takes as long as some tens of boxes
QUICK = 300  # boxes, for each of many parts
WIDE = 24  # variables of a claim from which on cutting boxes gets nowhere
SEARCHED = 1_000  # neurons of a program up to which bounds are asked before patches are said to follow a rule

Recorded = Callable[[Run | Declined], Run | Declined]  # a run that is written down (`saved`)


def verify_claim(
    claim: Claim,
    artifacts: Mapping[str, Artifact],
    options: VerifyOptions | None = None,
    *,
    rows: Rows | None = None,
    progress: Report | None = None,
    stop: Stop | None = None,
    constants: Mapping[int, Fraction] | None = None,
    recorded: Recorded | None = None,
) -> RuleResult:
    """The verdict on one claim; `rows` (record type → encoded rows) are data that the search starts from. `constants`
    the variables that stand for data constants (of smooth rewards, or deployed ones), with values in their boxes.

    Raises BindingError (B30–B32) where the artifacts are not those that the claim names.
    """
    for name, digest in claim.rewards:
        if name not in artifacts:
            raise BindingError("B30", f"the claim is about the reward {name}, and no artifact is bound to it")
        if artifacts[name].digest != digest:
            raise BindingError("B32", f"the claim is about another artifact than the one bound to {name}")
    chosen, report = options or VerifyOptions(), progress or _silent
    stopped = stopping(chosen, stop)

    def task_of(part: Claim, own: VerifyOptions, about: Mapping[str, Artifact] = artifacts) -> Task:
        program = (
            compile_executed(part, about, constants)
            if own.semantics == "float32"
            else replace(program_of(part, about), uncertain=tuple(constants or ()))
        )
        return Task(part, program, about, own, rows or {}, report, stopped, time.monotonic())

    def decide(part: Claim, own: VerifyOptions, about: Mapping[str, Artifact] | None) -> RuleResult:
        rewards = artifacts if about is None else about
        return verify_claim(part, rewards, own, rows=rows, progress=progress, stop=stopped, constants=constants)

    def quick(part: Claim, own: VerifyOptions, about: Mapping[str, Artifact] | None) -> RuleResult:
        return _bounded(task_of(part, own, artifacts if about is None else about))

    def alone(part: Claim, own: VerifyOptions, about: Mapping[str, Artifact] | None) -> RuleResult:
        task = task_of(part, own, artifacts if about is None else about)
        if own.engine in ("auto", "bounds"):
            found = _bounded(replace(task, options=replace(own, budget=min(QUICK, own.budget))))
            if found.reason != Reason.BUDGET:
                return found
        return _decide(task, _unrecorded)

    def look(part: Claim, own: VerifyOptions, about: Mapping[str, Artifact] | None = None) -> Premise:
        return _premise(task_of(part, own, artifacts if about is None else about))

    def replay(point: Point) -> Witness | None:
        return task_of(claim, chosen).replay(point)

    less = opened(claim, artifacts) if chosen.semantics == "real" else None
    if claim.near is not None and not claim.near.inside:
        assert chosen.semantics == "real", "of what networks execute nothing is said beside so many rows"
        return by_table.decided(claim, artifacts, less, chosen, decide, stopped)
    if less is not None:
        own, about = less
        seen = verify_claim(
            own, about, chosen, rows=rows, progress=progress, stop=stopped, constants=constants, recorded=recorded
        )

        def there(point: Point) -> Task:
            return task_of(replace(claim, boxes=(tuple((value, value) for value in point),)), chosen)

        return _with_open(claim, seen, there)
    asked = by_parts.Asked(decide, quick, look, replay, report, stopped)
    easy = by_parts.easier(claim, artifacts) if chosen.semantics == "real" else None
    found = None if easy is None else by_parts.by_easier(claim, easy, asked, chosen)
    if found is not None:
        report(Progress(claim.rule, "done", found.coverage))
        return found
    if by_parts.needed(claim, artifacts) or (chosen.semantics == "real" and lies_between(claim, artifacts)):
        return by_parts.decided(claim, artifacts, asked, chosen)
    with plain_torch(chosen.threads):
        found = _followed(task_of(claim, chosen))
        simple = len(claim.calls) > 1 and found is None and goals_hold(task_of(claim, chosen).slim.program)
        if found is None and recorded is None and not simple:
            found = by_parts.decided_in_pieces(claim, artifacts, replace(asked, decide=alone), chosen)
        if found is None:
            found = by_parts.proof_by_box(_decide(task_of(claim, chosen), recorded or _unrecorded), artifacts)
    report(Progress(claim.rule, "done", found.coverage))
    return found


def _unrecorded(run: Run | Declined) -> Run | Declined:
    return run


def _with_open(claim: Claim, found: RuleResult, there: Callable[[Point], Task]) -> RuleResult:
    """A verdict on rewards without the patches that the premise opens, as one on the claim: its records, which satisfy
    the premise, are looked at once more with all patches, and its proof says what was left out."""
    witness, premise, proof = found.witness, found.premise_witness, found.proof
    if witness is not None:
        shown = there(witness.point).replay(witness.point)
        assert shown is not None, "patches whose gates are open change no value"
        witness = replace(shown, box=witness.box)
    if premise is not None:
        seen = _premise(there(premise.point)).witness
        premise = premise if seen is None else replace(seen, box=premise.box)
    if isinstance(proof, Unwritten):
        proof = replace(proof, beyond=True)
    elif proof is not None:
        proof = {**proof, "claim": claim_digest(claim), "beyond": True}
    told = None if found.claim is None else claim
    return replace(found, claim=told, witness=witness, premise_witness=premise, proof=proof)


def _silent(progress: Progress) -> None:
    """Nobody is told."""


# ── the steps ──────────────────────────────────────────────────────────────────────────────────
def _premise(task: Task) -> Premise:
    task.progress("premise")
    with plain_torch(task.options.threads):
        return find_premise(task.slim.program, task.artifacts, task.options, task.rows, task.stop)


def _bounded(task: Task) -> RuleResult:
    """Of one of many parts, what bounds tell, without looking for a record of its premise or a violation first: that
    takes far longer."""
    run = engines.start("bounds", task)
    outcome = None if isinstance(run, Declined) else run.go(task.options.budget)
    if outcome is None or outcome.status == "open":
        if outcome is None:
            return _result(task, Verdict.UNKNOWN, Reason.BUDGET)
        return _result(task, Verdict.UNKNOWN, Reason.BUDGET, work=outcome.work, left=outcome.region)
    if outcome.witness is not None:
        return _violated(task, outcome.witness, "bounds", outcome.work)
    return _result(task, Verdict.UNKNOWN, Reason.NO_POINT, coverage=1.0, engine="bounds", work=outcome.work)


def _followed(task: Task) -> RuleResult | None:
    """Patches that follow a rule which holds by the way the reward beneath them is built, before anything is searched:
    where the whole holds by construction, too, so that its proof can be certified, or where it is an envelope with
    patches on top, far too large to search. What is smaller may have a certificate, and is looked at by bounds first.
    """
    if task.options.engine != "auto" or not _follows(task):
        return None
    whole = task.slim.program
    certified = goals_hold_by_cases(whole) or monotone_goals_hold(whole)
    if not certified and sum(layer.rows for layer in whole.layers) <= SEARCHED:
        return None
    premise = _premise(task)
    if premise.witness is None or premise.witness.deployed == "non-finite":
        return None
    reason = Reason.DIFFERENCES if certified else Reason.FOLLOWED
    found = Outcome(status="proved", reason=reason, work=Work(), settled=1.0)
    return _proved(task, premise, found, "differences", premise.work)


def _follows(task: Task) -> bool:
    """Whether what is beneath the patches holds by construction, the whole not plainly so, and the patches follow."""
    if task.program.executed is not None or task.program.uncertain:
        return False
    less = beneath(task.claim, task.artifacts)
    if less is None or any(len(goal) > 1 for goal in task.claim.goals) or goals_hold(task.slim.program):
        return False
    under = replace(task, claim=less[0], artifacts=less[1], program=program_of(*less)).slim.program
    return monotone_goals_hold(under) or goals_hold_by_cases(under)


def _decide(task: Task, recorded: Recorded) -> RuleResult:
    premise = _premise(task)
    if premise.status == "empty":
        return _result(task, Verdict.VACUOUS, Reason.VACUOUS, coverage=1.0, engine="z3", work=premise.work)
    if premise.witness is not None and premise.witness.deployed == "non-finite":
        return _non_finite(task, premise.work)
    return _Decision(task, premise, recorded).verdict()


class _Decision:
    """Engines one after the other (mutable): what was spent, and the most that is settled by any of them."""

    def __init__(self, task: Task, premise: Premise, recorded: Recorded) -> None:
        self.task, self.premise, self.recorded = task, premise, recorded
        self.work = premise.work
        self.best: tuple[float, str, Reason] | None = None
        self.region: OpenBoxes | None = None  # all that is open, where an engine could tell
        self.boxes: tuple[int, ...] | None = None  # or the numbers of the boxes that are

    def verdict(self) -> RuleResult:
        engine, options = self.task.options.engine, self.task.options
        found = self._closed() if engine == "auto" else None
        if found is None and engine in ("auto", "bounds") and not self.task.stop():
            found = self._constructed(engine)
        if found is not None:
            return found
        seen = self._glanced() if engine == "auto" else None
        if seen is not None and seen.verdict is Verdict.PROVED:
            return seen
        found = self._asked("falsify", self._begun("falsify"), options.falsify_budget) or seen
        if found is None:
            found = self._auto(max(0, options.budget - self.work.boxes)) if engine == "auto" else None
        if found is None and engine not in ("auto", "falsify"):
            self.best = None
            found = self._asked(engine, self._begun(engine), options.budget)
        return found or self._open()

    def _glanced(self) -> RuleResult | None:
        """What a few boxes settle. Of a violation the search is asked, too, which looks for a large one."""
        if self.premise.witness is None:
            return None
        engine, outcome, work = glance(self.task)
        self.work = self.work + work
        if outcome is None:
            return None
        if outcome.witness is not None:
            return _violated(self.task, outcome.witness, engine, self.work)
        return _proved(self.task, self.premise, outcome, engine, self.work)

    def _closed(self) -> RuleResult | None:
        """Linear rewards have their least values at corners, which bounds tell exactly: there is nothing to search."""
        program, claim = self.task.slim.program, self.task.claim
        if program.executed is not None or any(layer.kind != "linear" for layer in program.layers):
            return None
        return self._asked("bounds", self._begun("bounds"), len(claim.boxes) * max(1, len(claim.goals)))

    def _constructed(self, engine: str) -> RuleResult | None:
        """What holds by the way the reward is built: bounds in floats miss such ends by their own rounding."""
        program, whole = self.task.slim.program, self.task.program
        plain = not any(has_tables(self.task.artifacts[call.reward]) for call in self.task.claim.calls)
        tree = either_proof(whole) if plain and no_proof(whole) is None else None
        if tree is not None:
            found = Outcome(status="proved", reason=Reason.BOUNDS, work=Work(), settled=1.0, proof=tree)
            return _proved(self.task, self.premise, found, "bounds", self.work)
        if goals_hold(program):
            name, reason = "bounds", Reason.SMOOTH_BOUNDS if program.curved else Reason.BOUNDS
        elif engine == "auto" and (goals_hold_by_cases(program) or monotone_goals_hold(program)):  # the quicker first
            name, reason = "differences", Reason.DIFFERENCES
        else:
            return None
        found = Outcome(status="proved", reason=reason, work=Work(), settled=1.0)
        return _proved(self.task, self.premise, found, name, self.work)

    def _falling(self) -> RuleResult | None:
        """What certified slopes of one reward say, or patches that follow, where no violation was found."""
        task = self.task
        if task.program.executed is not None or task.program.uncertain:
            return None
        if _follows(task):
            found = Outcome(status="proved", reason=Reason.FOLLOWED, work=Work(), settled=1.0)
            return _proved(task, self.premise, found, "differences", self.work)
        less = beneath(task.claim, task.artifacts)
        if not falls(task.claim, task.artifacts) and (less is None or not falls(*less)):
            return None
        found = Outcome(status="proved", reason=Reason.SLOPES, work=Work(), settled=1.0)
        return _proved(task, self.premise, found, "differences", self.work)

    def _moves(self, budget: int) -> RuleResult | None:
        """What slopes say of how far a reward moves."""
        task = self.task

        def stop() -> bool:
            task.progress("bounds", 0.0, self.work.boxes)
            return task.stop()

        holds, boxes = moves_enough(task.claim, task.artifacts, budget, stop)
        self.work = self.work + Work(boxes=boxes)
        if not holds:
            return None
        outcome = Outcome(status="proved", reason=Reason.MOVES, work=Work(), settled=1.0)
        return _proved(task, self.premise, outcome, "differences", self.work)

    def _auto(self, budget: int) -> RuleResult | None:
        claim = self.task.claim
        if len(claim.variables) >= WIDE:
            return self._wide(budget)
        runs: dict[str, Run | Declined] = {}
        left, spent, moving = None, self.work.boxes, _may_move(self.task)
        for share, moves in zip(ROUNDS, MOVES, strict=True):
            found = None
            if moving and not runs:  # a look for a proof that can be certified
                runs["differences"] = self._begun("differences")
                found = self._asked("differences", runs["differences"], LOOK)
            found = found or (self._moves(int(moves * budget)) if moving else None)
            if found is not None:
                return found
            for engine in RELATED if len(claim.calls) > 1 else PLAIN:
                if engine not in runs:
                    runs[engine] = self._begun(engine)
                found = self._asked(engine, runs[engine], int(share * budget))
                if found is not None:
                    return found
                left = self.left if engine == "bounds" else left
            found = self._falling() if share == ROUNDS[0] else None
            if found is not None:
                return found
        spent = self.work.boxes - spent
        ahead = self.best[1] if self.best is not None and self.best[1] in runs else "bounds"
        return self._small(left, budget) or self._asked(ahead, runs[ahead], max(0, budget - spent))

    def _wide(self, budget: int) -> RuleResult | None:
        """Cutting boxes of many variables gets nowhere: bounds look at each once, for the proof."""
        claim = self.task.claim
        looks = len(claim.boxes) * len(claim.goals)
        found = None
        if looks * len(claim.variables) <= CERTIFIED:
            found = self._asked("bounds", self._begun("bounds"), min(looks, int(FIRST * budget)))
        close = int(CLOSE * budget)
        if found is None and _may_move(self.task):
            found = self._moves(int(ROUNDS[0] * budget))
        found = found or self._falling() or self._asked("neurons", self._begun("neurons"), close)
        left = self.left
        found = found or self._asked("cells", self._begun("cells"), int(FIRST * budget))
        return found or self._small(left, budget)

    def _small(self, left: Sequence[Part] | None, budget: int) -> RuleResult | None:
        """What is open, if it is small: linear programs, and z3 on what they leave of it."""
        share = left is not None
        found = self._asked("lp", self._begun("lp", left), int(PROGRAMS * budget), share=share)
        rest = self.left if share and self.left is not None else left
        return found or self._asked("z3", self._begun("z3", rest), budget, share=share)

    def _begun(self, engine: str, parts: Sequence[Part] | None = None) -> Run | Declined:
        return Declined(Reason.STOPPED) if self.task.stop() else self.recorded(engines.start(engine, self.task, parts))

    def _asked(self, engine: str, run: Run | Declined, work: int, share: bool = False) -> RuleResult | None:
        """One more go; None where it leaves the matter open. `share`: of what bounds have left open."""
        task = self.task
        self.left: tuple[Part, ...] | None = None
        if isinstance(run, Declined):
            self._remember(0.0, engine, run.reason)
            return None
        outcome = run.go(work)
        self.work = self.work + outcome.work
        self.left = outcome.left
        if outcome.status == "open":
            if outcome.boxes is not None:
                self.region, self.boxes = None, outcome.boxes
            elif (region := _region(self.task, outcome)) is not None:
                self.region, self.boxes = region, None
        name = f"bounds and {engine}" if share else engine
        if outcome.witness is not None:
            return _violated(task, outcome.witness, "search" if engine == "falsify" else name, self.work)
        if outcome.status == "proved":
            return _proved(task, self.premise, outcome, name, self.work)
        before = self.best[0] if share and self.best is not None else 0.0
        self._remember(before + (1.0 - before) * outcome.settled, name, outcome.reason)
        return None

    def _remember(self, settled: float, engine: str, reason: Reason) -> None:
        if self.best is None or settled > self.best[0] or self.best[1] == "falsify":
            self.best = (settled, engine, reason)

    def _open(self) -> RuleResult:
        settled, engine, reason = self.best or (0.0, "falsify", Reason.STOPPED)
        left, words = self.region, None
        if self.boxes is not None:
            words = described_rows(self.task.claim, self.boxes)
        elif left is None and not settled:
            left = _everything(self.task)
            words = EVERYTHING if left is None else None
        return _result(
            self.task,
            Verdict.UNKNOWN,
            Reason.STOPPED if self.task.stop() else reason,
            coverage=settled,
            premise_witness=self.premise.witness,
            engine=engine,
            work=self.work,
            left=left,
            unsettled=words,
        )


def _may_move(task: Task) -> bool:
    return task.program.executed is None and not task.program.uncertain and may_move(task.claim)


def _everything(task: Task) -> OpenBoxes | None:
    """The whole domain, unless it is too many boxes to tell of."""
    claim = task.claim
    if len(claim.boxes) * len(claim.variables) > NUMBERS:
        return None
    return OpenBoxes.of(list(enumerate(claim.boxes)), len(claim.variables))


def _region(task: Task, outcome: Outcome) -> OpenBoxes | None:
    if outcome.region is not None or outcome.left is None:
        return outcome.region
    return OpenBoxes.of([(part.instance, part.box) for part in outcome.left], len(task.claim.variables))


# ── verdicts ───────────────────────────────────────────────────────────────────────────────────
def _result(task: Task, verdict: Verdict, reason: str, **details: Any) -> RuleResult:  # noqa: ANN401 - RuleResult's own
    claim = task.claim
    told = claim if task.program.executed is None else None  # certificates are about claims over the reals
    return RuleResult(rule=claim.rule, severity=claim.severity, verdict=verdict, reason=reason, claim=told, **details)


def _violated(task: Task, witness: Witness, engine: str, work: Work) -> RuleResult:
    if witness.deployed == "non-finite":
        return _non_finite(task, work)
    reason = Reason.WITNESS if task.program.executed is None else Reason.FLOAT32_WITNESS
    found = _result(task, Verdict.VIOLATED, reason, witness=witness, coverage=1.0, engine=engine, work=work)
    return found if _decided_there(task, witness) else replace(found, claim=None)


def _decided_there(task: Task, witness: Witness) -> bool:
    """Whether a checker can tell of every atom if it is true there: values of smooth rewards are enclosed."""
    return not task.program.curved or ExactProgram(task.program).evaluate(witness.point).decided(task.claim)


def _non_finite(task: Task, work: Work) -> RuleResult:
    return _result(task, Verdict.UNKNOWN, Reason.NON_FINITE, non_finite=True, work=work)


def _proved(task: Task, premise: Premise, outcome: Outcome, engine: str, work: Work) -> RuleResult:
    """`proved` needs a checked point of the premise as well; without one the verdict is unknown."""
    if premise.witness is None:
        return _result(task, Verdict.UNKNOWN, Reason.NO_POINT, coverage=1.0, engine=engine, work=work)
    reason = str(outcome.reason)
    proof: dict[str, Any] | Unwritten | None = None
    if outcome.proof is not None:
        proof = {**outcome.proof, "witness": proof_witness(premise.witness)}
    elif reason.endswith(CERTIFIABLE):
        why = no_proof(task.program)
        if why is None and not _decided_there(task, premise.witness):
            why = "no enclosure decides every comparison at the record that shows its premise"
        proof = Unwritten(work.boxes, outcome.trail) if why is None else None
        reason = reason if why is None else without_proof(reason, why)
    elif reason == Reason.MOVES:
        proof = Unwritten(work.boxes, slopes=True)
    return _result(
        task,
        Verdict.PROVED,
        reason,
        premise_witness=premise.witness,
        coverage=1.0,
        proof=proof,
        engine=engine,
        work=work,
    )
