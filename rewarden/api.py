"""The Python interface: everything that the command line does, as functions. `import rewarden as rw` gives them.

Rewards are bound by name, `rw.verify(spec, R=reward, Base=older)`, or as a mapping, `rewards={"R": reward}`, where a
name would clash with an option. Nothing here prints, and all errors are of the tree in `rewarden.spec_lang.errors`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rewarden.nearby import did_you_mean
from rewarden.resuming import resuming
from rewarden.reward.artifact import Artifact, Identified
from rewarden.reward.store import load_artifact, save_artifact
from rewarden.spec_lang import Spec
from rewarden.spec_lang import load_spec as _load_spec
from rewarden.spec_lang.errors import RewardenError as RewardenError
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import RecordType
from rewarden.verdict_cache import VerdictCache
from rewarden.verifier.bind import check_reward
from rewarden.verifier.options import COVERAGE_BUDGET, VerifyOptions
from rewarden.verifier.progress import Report, Stop
from rewarden.verifier.verdict import RuleResult, Verdict, VerificationResult

if TYPE_CHECKING:
    import torch

    from rewarden.certificate.match import Checked
    from rewarden.editor.compare import Compared
    from rewarden.editor.mend import Mender, PatchResult
    from rewarden.editor.patch import PatchOptions
    from rewarden.reward.onnx_deployed import Form
    from rewarden.scoring import Scored, ScoreOptions
    from rewarden.text.told import TextTold

Features = RecordType | Sequence[tuple[str, RecordType]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Verification(VerificationResult):
    """A result that remembers what it is about, so that it can be certified: `of` is the spec, `bound` the rewards.
    `texts` is what is known of texts, by rule (`with_texts`)."""

    of: Spec
    bound: Mapping[str, Artifact]
    texts: Mapping[str, TextTold] = field(default_factory=dict)


# ── reading and writing ────────────────────────────────────────────────────────────────────────
def load_spec(
    path: str | os.PathLike[str],
    *,
    params: Mapping[str, object] | None = None,
    allow: Iterable[str | os.PathLike[str]] = (),
) -> Spec:
    """Read a spec, with its params set. SpecError holds everything that is wrong with it.

    Files that it uses and its data lie below its own folder, or below a folder of `allow`.
    """
    return _load_spec(Path(path), params=params or {}, allow=tuple(Path(folder) for folder in allow))


def load_reward(path: str | os.PathLike[str]) -> Artifact:
    """Read an artifact, a folder or a `.rwz`. ArtifactError for anything that is not a sound one."""
    return load_artifact(path)


def as_reward(given: Artifact | str | os.PathLike[str]) -> Artifact:
    """An artifact as it is, or the one at a place: what takes one artifact takes either."""
    return given if isinstance(given, Artifact) else load_artifact(given)


def save_reward(artifact: Artifact, path: str | os.PathLike[str]) -> None:
    """Write an artifact whole: a folder, or a `.rwz` where the name ends so. Never over something else."""
    from rewarden.atomic import require_free

    require_free(Path(path))
    save_artifact(artifact, path)


def from_torch(
    module: torch.nn.Module,
    features: Features,
    *,
    identified: Identified = "exact",
    constants: Literal["exact", "nearest"] = "exact",
) -> Artifact:
    """An artifact of a torch module. `features` is the record type it reads, or (param, type) pairs where several.

    The module maps encoded columns float32 [n, width], in problem units, to rewards [n] or [n, 1]. `constants`:
    `nearest` lets constants that have no exact binary32 form be rounded, such as 1/sd where inputs are divided by sd.
    """
    from rewarden.reward.torch_import import from_torch as convert

    return convert(module, _records(features), identified=identified, constants=constants)


def from_onnx(
    path: str | os.PathLike[str],
    features: Features,
    *,
    identified: Identified = "exact",
    constants: Literal["exact", "nearest"] = "exact",
    output: int | None = None,
) -> Artifact:
    """An artifact of an ONNX file; `features` and `constants` as for `from_torch`. `output`: the column that is the
    reward, of a network that has several (each binds as a reward of its own; they share all layers but the last)."""
    from rewarden.reward.onnx_import import from_onnx as convert

    return convert(Path(path), _records(features), identified=identified, constants=constants, output=output)


def from_exported(
    program: torch.export.ExportedProgram | str | os.PathLike[str],
    features: Features,
    *,
    identified: Identified = "exact",
    constants: Literal["exact", "nearest"] = "exact",
) -> Artifact:
    """An artifact of what `torch.export.export` gives, or of a `.pt2` archive of it, which is read without pickle.

    Its inputs are one tensor [n, all columns], or one per record, with n exported as a dynamic dim.
    """
    from rewarden.reward.imports.from_program import from_exported as convert

    source = Path(program) if isinstance(program, str | os.PathLike) else program
    return convert(source, _records(features), identified=identified, constants=constants)


def from_safetensors(
    path: str | os.PathLike[str],
    architecture: Mapping[str, object] | str | os.PathLike[str],
    features: Features,
    *,
    identified: Identified = "exact",
    constants: Literal["exact", "nearest"] = "exact",
) -> Artifact:
    """An artifact of a safetensors file whose layers are declared: a TOML or JSON file, or the same as a mapping."""
    from rewarden.reward.imports.declared import architecture_of
    from rewarden.reward.imports.declared import from_safetensors as convert

    declared = (
        architecture_of(architecture, "architecture") if isinstance(architecture, Mapping) else Path(architecture)
    )
    return convert(Path(path), declared, _records(features), identified=identified, constants=constants)


def from_imitation(
    net: torch.nn.Module,
    *,
    call: Literal["predict", "predict_processed"],
    state: RecordType | None = None,
    action: RecordType | None = None,
    next_state: RecordType | None = None,
    done: RecordType | bool | None = None,
    discount: float | None = None,
    identified: Identified = "exact",
    constants: Literal["exact", "nearest"] = "exact",
) -> Artifact:
    """An artifact of a live reward net of the `imitation` library, as `call` calls it: R(s, a, s2, end).

    `predict_processed` is with what it does on top (a normaliser's running numbers are frozen), `predict` without. A
    net shaped by a potential needs its `discount` said; one that reads the end of an episode needs `done`: False for
    records within an episode, or a record type of one bool. Enums, bools and ints stand for discrete actions.
    """
    from rewarden.reward.imports.reward_net import Reads, from_reward_net

    reads = Reads(state, action, next_state, done)
    return from_reward_net(net, reads, call=call, discount=discount, identified=identified, constants=constants)


def from_classifier(
    folder: str | os.PathLike[str],
    features: Features,
    *,
    output: int | str | None = None,
    adapters: Iterable[str | os.PathLike[str]] = (),
    head: Mapping[str, object] | str | os.PathLike[str] | None = None,
    identified: Identified = "exact",
    constants: Literal["exact", "nearest"] = "exact",
) -> Artifact:
    """An artifact of a sequence classifier's head, over its frozen encoder's features; a folder of `transformers`.

    `output` is the number or label of the output that is the reward; `adapters` are folders of LoRA adapters in their
    order; `head` declares layers that the model's family does not say. The manifest names the encoder by digest.
    """
    from rewarden.reward.imports.classifier import from_classifier as convert
    from rewarden.reward.imports.declared import architecture_of

    declared = architecture_of(head, "head") if isinstance(head, Mapping) else None if head is None else Path(head)
    return convert(
        Path(folder),
        _records(features),
        output=output,
        adapters=[Path(adapter) for adapter in adapters],
        head=declared,
        identified=identified,
        constants=constants,
    )


# ── deciding ───────────────────────────────────────────────────────────────────────────────────
def verify(
    spec: Spec,
    options: VerifyOptions | None = None,
    *,
    rules: Iterable[str] | None = None,
    progress: Report | None = None,
    stop: Stop | None = None,
    coverage: bool = False,
    cache: VerdictCache | str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    rewards: Mapping[str, Artifact] | None = None,
    **bound: Artifact,
) -> Verification:
    """A verdict per rule: `result["slow_near"].verdict`.

    A rule that speaks of a reward which is not bound is `unknown`, and says so. `stop` is asked often: once it says
    yes, what is open is `unknown`. `coverage`: how much of each rule's region is proved, violated and unsettled
    (`.coverage_details`), for as many boxes as `coverage_budget` of the options says. `cache`: a folder in which
    verdicts are kept, and from which they are taken if nothing has changed that they hang on. `resume`: a file in which
    the state is saved every few seconds, and from which it goes on if it is there; then the cache has no say.

    Raises BindingError for rewards that do not fit the spec, DataError for data that cannot be read, UsageError where
    no rule or no reward is given.
    """
    from rewarden.verifier.portfolio import verify as decide

    given = _given(rewards, bound)
    chosen = options or VerifyOptions()
    if coverage and not chosen.coverage_budget:
        chosen = replace(chosen, coverage_budget=COVERAGE_BUDGET)

    def deciding(ready: Sequence[str]) -> VerificationResult:
        keeper = cache if cache is None or isinstance(cache, VerdictCache) else VerdictCache(Path(cache))
        if resume is None:
            return decide(spec, given, chosen, rules=ready, progress=progress, stop=stop, keeper=keeper)
        with resuming(Path(resume), spec, given, chosen, ready) as state:
            result = decide(spec, given, chosen, rules=ready, progress=progress, stop=stop, saver=state.saver)
            state.has(result)
        return result

    return _decided(spec, given, rules, deciding)


def falsify(
    spec: Spec,
    options: VerifyOptions | None = None,
    *,
    rules: Iterable[str] | None = None,
    progress: Report | None = None,
    stop: Stop | None = None,
    rewards: Mapping[str, Artifact] | None = None,
    **bound: Artifact,
) -> Verification:
    """Search for violations only. A rule without one is `unknown`: a search proves nothing."""
    chosen = replace(options or VerifyOptions(), engine="falsify")
    given = _given(rewards, bound)
    result = verify(spec, chosen, rules=rules, progress=progress, stop=stop, rewards=given)
    return replace(result, rules=tuple(_searched(rule) for rule in result.rules))


def with_texts(
    result: Verification,
    encoder: str | os.PathLike[str] | None = None,
    *,
    paraphrases: str | os.PathLike[str] | None = None,
    texts: int = 200,
    stop: Stop | None = None,
) -> Verification:
    """The result with what is known of the texts of the spec's data: `.texts["steady"].nearest`, `.known`.

    With an encoder (a folder), texts are changed a little, encoded again and tried: `texts` rows of each data at most.
    A violation found so is shown as a text. `paraphrases`: JSON lines of a text and others that say the same. Raises
    UsageError G97 for paraphrases without an encoder, DataError D32 where the data are another encoder's.
    """
    from rewarden.reward.text.perturb import Perturbations, read_paraphrases
    from rewarden.text.search import TextSearch
    from rewarden.text.told import with_texts as told

    if encoder is None:
        if paraphrases is not None:
            raise UsageError("G97", "paraphrases are tried with an encoder", help="name one: --encoder DIR")
        return told(result)
    others = {} if paraphrases is None else read_paraphrases(Path(paraphrases))
    return told(result, TextSearch(Path(encoder), Perturbations(paraphrases=others), texts, stop or _never))


def patch(
    spec: Spec,
    options: PatchOptions | None = None,
    *,
    rules: Iterable[str] | None = None,
    method: str = "auto",
    verify_options: VerifyOptions | None = None,
    progress: Report | None = None,
    before: VerificationResult | None = None,
    rewards: Mapping[str, Artifact] | None = None,
    **bound: Artifact,
) -> PatchResult:
    """Edit until the failing `must` rules (or the named ones) are proved; the new reward is `.artifact`, a child.

    `method`: one of `rewarden.editor.methods.choose.METHODS`, or `auto`, which takes the best for each rule. `before`
    saves the first verification where it is at hand. `.broken` names rules that were proved and are not any more: look
    at it before the patched reward replaces its parent. EditError (E codes) for an edit that cannot be made.

    A time limit of `verify_options` is that of all of it together: the first verification has a third of it at most,
    each later one 7 tenths of what is left, and E39 says that it was up.
    """
    from rewarden.comparing import FIRST, OF_SHARE, Clock
    from rewarden.editor.methods import choose
    from rewarden.interrupt import TimeIsUp, limited
    from rewarden.spec_lang.errors import EditError

    given = _given(rewards, bound)
    chosen = verify_options or VerifyOptions()
    clock, parts = Clock(chosen.time_limit), iter((FIRST,) if before is None else ())

    def timed() -> VerifyOptions:
        return replace(chosen, time_limit=clock.part(next(parts, OF_SHARE)))

    mender = _mender(spec, options, timed, progress, before)
    try:
        with limited(chosen.time_limit):
            return choose.patch(spec, given, mender, method, None if rules is None else list(rules), before)
    except TimeIsUp:
        raise EditError(
            "E39",
            f"the time, {chosen.time_limit:.6g} s, was up before an edit was made",
            help="give it more, fewer rules, or a method that takes less, such as region",
        ) from None


def compare_patches(
    spec: Spec,
    options: PatchOptions | None = None,
    *,
    rules: Iterable[str] | None = None,
    verify_options: VerifyOptions | None = None,
    progress: Report | None = None,
    keep: str | os.PathLike[str] | None = None,
    each: Callable[[Compared], None] | None = None,
    rewards: Mapping[str, Artifact] | None = None,
    **bound: Artifact,
) -> tuple[Compared, ...]:
    """Every method of `patch` by itself on the same failing rules, side by side. Arguments as for `patch`.

    A time limit of `verify_options` is that of all of it together. `keep`: a folder in which what has finished is kept
    until all has, for a run to go on from that was interrupted or had too little time. `each` is told of every method
    as it finishes.
    """
    from rewarden.comparing import Asked, Clock, Kept, key_of, side_by_side
    from rewarden.editor.methods.choose import METHODS

    given, chosen = _given(rewards, bound), verify_options or VerifyOptions()
    clock, names = Clock(chosen.time_limit), None if rules is None else list(rules)

    def timed() -> VerifyOptions:
        return replace(chosen, time_limit=clock.verifying())

    def mender(before: VerificationResult) -> Mender:
        return _mender(spec, options, timed, progress, before)

    asked = Asked(spec, given, names, lambda: verify(spec, timed(), progress=progress, rewards=given), mender)
    about = (replace(chosen, time_limit=None), options)
    kept = Kept(key_of(spec, given, names, about), None if keep is None else Path(keep))
    found = []
    for one in side_by_side(asked, clock, kept):
        found.append(one)
        if each is not None:
            each(one)
    order = list(METHODS)
    return tuple(sorted(found, key=lambda one: order.index(one.method)))


def _mender(
    spec: Spec,
    options: PatchOptions | None,
    verify_options: Callable[[], VerifyOptions],
    progress: Report | None,
    before: VerificationResult | None,
) -> Mender:
    from rewarden.editor.mend import Mender
    from rewarden.editor.patch import PatchOptions
    from rewarden.editor.reach import understood
    from rewarden.verifier.extremum import certified_extremum

    def verifying(now: Mapping[str, Artifact], names: Sequence[str] | None) -> VerificationResult:
        wanted = _selected(spec, names)
        chosen = verify_options()  # anew: of a time limit less is left
        known = {}
        if before is not None and before.semantics == chosen.semantics:
            known = _still_decided(spec, before, now, wanted)
        fresh = [name for name in wanted if name not in known]
        result = verify(spec, chosen, rules=fresh or wanted, progress=progress, rewards=now)
        found = {**known, **{r.rule: r for r in result.rules}}
        return replace(result, rules=tuple(found[name] for name in wanted))

    return Mender(verify=verifying, extremum=understood(certified_extremum), options=options or PatchOptions())


# ── certificates ───────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was written, and the fingerprint of the key that signed it. `refused`: rules of which the
    kernel did not accept the evidence, each with why: they are in it as unknown, and without evidence. `status`: the
    exit status of what it says."""

    path: Path
    fingerprint: str
    refused: Mapping[str, str]
    status: int


def with_proofs(result: Verification) -> Verification:
    """The result with the proofs written that engines have left to be written; a verdict of which none could be written
    says so. `certify` does this, too."""
    rules = result.rules
    if result.semantics == "real" and any(rule.engine == "rows" for rule in rules):
        from rewarden.verifier.scribe.rows import owes_a_recount, with_recount

        rules = tuple(with_recount(r, result.of, result.bound) if owes_a_recount(r) else r for r in rules)
    if any(rule.proof is not None for rule in rules):
        from rewarden.verifier.scribe.late import with_proof

        rules = tuple(with_proof(rule, result.bound) for rule in rules)
    return replace(result, rules=rules)


def certify(
    result: Verification,
    out: str | os.PathLike[str],
    *,
    key: str | os.PathLike[str] | None = None,
    near: Sequence[str | os.PathLike[str]] = (),
) -> Issued:
    """Write a signed certificate of a verification to the folder `out`, checked by the kernel before anyone sees it.

    Proofs that engines have left to be written are written first.

    `key`: a private key (PEM). Without one a one-time key signs, which is not kept: it shows later damage, not who
    signed. `near`: folders in which ancestors of the rewards may lie; of one that forgot rows, the certificate says so.
    CertificateError C40 to C42 where there is nothing to certify, UsageError G05 where `out` exists, G56 where the
    verdicts are about executed networks.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from rewarden.certificate.issue import issue, require_real
    from rewarden.certificate.keys import fingerprint, load_private_key
    from rewarden.certificate.lineage import lineage_of
    from rewarden.certificate.statement import facts_of
    from rewarden.verifier.scribe.rows import tables_of

    require_real(result.semantics)
    signer = Ed25519PrivateKey.generate() if key is None else load_private_key(Path(key))
    spec = result.of
    found = with_proofs(result).rules
    tables = tables_of(spec, [rule.claim for rule in found if rule.claim is not None])
    about = sorted({name for rule in found if rule.claim is not None for name, _ in rule.claim.rewards})
    folders = [Path(folder) for folder in near]
    told = [lineage_of(name, result.bound[name], folders) for name in about]
    lineages = [one for one in told if one is not None]
    by_rule = {rule.rule: rule for rule in found}

    def again(rule: str) -> RuleResult | None:
        from rewarden.verifier.scribe.late import with_careful_proof

        return with_careful_proof(by_rule[rule], result.bound) if rule in by_rule else None

    facts = facts_of(spec)
    written = issue(found, facts, result.bound, Path(out), signer, tables=tables, lineages=lineages, again=again)
    as_written = replace(
        result,
        rules=tuple(replace(r, verdict=Verdict.UNKNOWN) if r.rule in written.refused else r for r in result.rules),
    )
    return Issued(written.path, fingerprint(signer.public_key()), written.refused, as_written.exit_status)


def check_certificate(
    path: str | os.PathLike[str],
    *,
    reward: Artifact | str | os.PathLike[str] | None = None,
    rewards: Mapping[str, Artifact | Path] | None = None,
    spec: Spec | str | os.PathLike[str] | None = None,
    public_key: str | os.PathLike[str] | None = None,
    policy: str | os.PathLike[str] | None = None,
    workers: int = 1,
    tier: str = "exact",
) -> Checked:
    """Check a certificate about one `reward`, or about several by name; `.accepted`, `.problems` say what came of it.

    With `spec` the claims are compiled again and compared byte for byte; with `public_key` only that key is trusted,
    with `policy` (a file, UsageError G53 and G54) its keys and what else it asks for. Needs neither torch nor z3.
    """
    from rewarden.certificate.match import check_certificate as check
    from rewarden.certificate.policy import load_policy

    given: dict[str, Path | Artifact] = dict(rewards or {})
    if reward is not None:
        given[""] = reward if isinstance(reward, Artifact) else Path(reward)
    text = spec if spec is None or isinstance(spec, Spec) else Path(spec)
    asked = None if policy is None else load_policy(Path(policy))
    key = None if public_key is None else Path(public_key)
    return check(Path(path), given, text, public_key=key, policy=asked, workers=workers, tier=tier)


# ── the rest of the seam ───────────────────────────────────────────────────────────────────────
def _records(features: Features) -> tuple[tuple[str, RecordType], ...]:
    return (("s", features),) if isinstance(features, RecordType) else tuple(features)


def _still_decided(
    spec: Spec, before: VerificationResult, now: Mapping[str, Artifact], wanted: Sequence[str]
) -> dict[str, RuleResult]:
    """Results that an edit cannot have changed: decided, and about rewards that are still the same artifacts."""
    decided = (Verdict.PROVED, Verdict.VIOLATED, Verdict.VACUOUS)
    same = {name for name, artifact in now.items() if before.rewards.get(name) == artifact.digest}
    found = {r.rule: r for r in before.rules if r.verdict in decided and before.spec == spec.digest}
    return {name: found[name] for name in wanted if name in found and set(spec.rule(name).rewards) <= same}


def _given(rewards: Mapping[str, Artifact] | None, bound: Mapping[str, Artifact]) -> dict[str, Artifact]:
    twice = sorted(set(rewards or {}) & set(bound))
    if twice:
        raise UsageError("G73", f"reward {twice[0]} is given twice")
    given = {**(rewards or {}), **bound}
    if not given:
        raise UsageError("G75", "no reward is given", help="bind one by its name in the spec: verify(spec, R=reward)")
    return given


def _decided(
    spec: Spec,
    given: Mapping[str, Artifact],
    rules: Iterable[str] | None,
    decide: Callable[[Sequence[str]], VerificationResult],
) -> Verification:
    """Decide the rules whose rewards are all bound; the others are unknown."""
    names = _selected(spec, rules)
    check_names(spec, given)
    unbound = {name: missing for name in names if (missing := _missing(spec, name, given))}
    ready = [name for name in names if name not in unbound]
    answer = decide(ready) if ready else VerificationResult(())
    decided = {r.rule: r for r in answer.rules}
    results = tuple(decided[name] if name in decided else _unbound(spec, name, unbound[name]) for name in names)
    digests = {name: artifact.digest for name, artifact in given.items()}
    return Verification(results, spec=spec.digest, rewards=digests, semantics=answer.semantics, of=spec, bound=given)


def _never() -> bool:
    return False


def _selected(spec: Spec, rules: Iterable[str] | None) -> list[str]:
    known = [rule.name for rule in spec.rules]
    wanted = known if rules is None else list(rules)
    for name in wanted:
        if name not in known:
            raise UsageError("G21", f"the spec has no rule {name}", help=did_you_mean(name, known))
    if not wanted:
        raise UsageError("G15", "no rule is selected", help="name one of the spec's rules, or none to verify all")
    return [name for name in known if name in wanted]


def check_names(spec: Spec, given: Mapping[str, Artifact]) -> None:
    """Every artifact is bound to a declared reward whose schema it fits: BindingError (B codes)."""
    for name in given:
        check_reward(spec, name, given)


def _missing(spec: Spec, rule: str, given: Mapping[str, Artifact]) -> tuple[str, ...]:
    return tuple(name for name in spec.rule(rule).rewards if name not in given)


def _unbound(spec: Spec, name: str, missing: Sequence[str]) -> RuleResult:
    rule = spec.rule(name)
    listed = " and ".join(missing)
    return RuleResult(
        rule=name,
        severity=rule.severity,
        verdict=Verdict.UNKNOWN,
        reason=f"reward {listed} {'is' if len(missing) == 1 else 'are'} not bound",
        title=rule.title,
        where=str(rule.span),
    )


def _searched(result: RuleResult) -> RuleResult:
    """What a search alone may say: a witness counts, everything else is unknown."""
    if result.verdict in (Verdict.VIOLATED, Verdict.VACUOUS) or result.non_finite or result.work.points == 0:
        return result
    points = result.work.points
    return replace(
        result,
        verdict=Verdict.UNKNOWN,
        reason=f"The search tried {points} points and found no violation, which proves nothing.",
        coverage=0.0,
        proof=None,
    )


# ── using ──────────────────────────────────────────────────────────────────────────────────────
def score_file(
    artifact: Artifact | str | os.PathLike[str],
    table: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: ScoreOptions | None = None,
) -> Scored:
    """Write a table with the reward of each row beside it; Parquet is streamed, in memory that does not grow."""
    from rewarden.scoring import score_file as score

    return score(as_reward(artifact), Path(table), Path(out), options)


def export_onnx(
    artifact: Artifact | str | os.PathLike[str], path: str | os.PathLike[str], *, form: Form = "bits"
) -> str:
    """Write the reward as an ONNX network to be run, normaliser and patches inside; how far it may be off the deployed
    reward, as a sentence. `gemm` is faster than `bits`, which gives the same bits wherever the reward is piecewise
    linear."""
    from rewarden.atomic import require_free, write_bytes
    from rewarden.reward.onnx_deployed import deployed_onnx

    found = deployed_onnx(as_reward(artifact), form)
    write_bytes(require_free(Path(path)), found.model)
    return found.deviation
