"""The Python interface: everything that the command line does, as functions. `import rewarden as rw` gives them.

Rewards are bound by name, `rw.verify(spec, R=reward, Base=older)`, or as a mapping, `rewards={"R": reward}`, where a
name would clash with an option. Nothing here prints, and all errors are of the tree in `rewarden.spec_lang.errors`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    from rewarden.editor.mend import PatchResult
    from rewarden.editor.patch import PatchOptions

Features = RecordType | Sequence[tuple[str, RecordType]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Verification(VerificationResult):
    """A result that remembers what it is about, so that it can be certified: `of` is the spec, `bound` the rewards."""

    of: Spec
    bound: Mapping[str, Artifact]


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
) -> Artifact:
    """An artifact of an ONNX file; `features` and `constants` as for `from_torch`."""
    from rewarden.reward.onnx_import import from_onnx as convert

    return convert(Path(path), _records(features), identified=identified, constants=constants)


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


def patch(
    spec: Spec,
    options: PatchOptions | None = None,
    *,
    rules: Iterable[str] | None = None,
    verify_options: VerifyOptions | None = None,
    progress: Report | None = None,
    before: VerificationResult | None = None,
    rewards: Mapping[str, Artifact] | None = None,
    **bound: Artifact,
) -> PatchResult:
    """Patch until the failing `must` rules (or the named ones) are proved; the new reward is `.artifact`, a child.

    `before` saves the first verification where it is at hand. `.broken` names rules that were proved and are not any
    more: look at it before the patched reward replaces its parent. EditError (E codes) for an edit that cannot be made.
    """
    from rewarden.editor.mend import Mender, mend
    from rewarden.editor.patch import PatchOptions
    from rewarden.verifier.extremum import certified_extremum

    given = _given(rewards, bound)

    def verifying(now: Mapping[str, Artifact], names: Sequence[str] | None) -> VerificationResult:
        wanted = _selected(spec, names)
        semantics = "real" if verify_options is None else verify_options.semantics
        known = {}
        if before is not None and before.semantics == semantics:
            known = _still_decided(spec, before, now, wanted)
        fresh = [name for name in wanted if name not in known]
        result = verify(spec, verify_options, rules=fresh or wanted, progress=progress, rewards=now)
        found = {**known, **{r.rule: r for r in result.rules}}
        return replace(result, rules=tuple(found[name] for name in wanted))

    mender = Mender(verify=verifying, extremum=certified_extremum, options=options or PatchOptions())
    return mend(spec, given, mender, None if rules is None else list(rules), before)


# ── certificates ───────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was written, and the fingerprint of the key that signed it."""

    path: Path
    fingerprint: str


def certify(result: Verification, out: str | os.PathLike[str], *, key: str | os.PathLike[str] | None = None) -> Issued:
    """Write a signed certificate of a verification to the folder `out`, checked by the kernel before anyone sees it.

    `key`: a private key (PEM). Without one a one-time key signs, which is not kept: it shows later damage, not who
    signed. CertificateError C40 to C42 where there is nothing to certify, UsageError G05 where `out` exists.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from rewarden.certificate.envelope import fingerprint, load_private_key
    from rewarden.certificate.issue import issue
    from rewarden.certificate.statement import facts_of

    signer = Ed25519PrivateKey.generate() if key is None else load_private_key(Path(key))
    spec = result.of
    path = issue(result.rules, facts_of(spec), result.bound, Path(out), signer)
    return Issued(path, fingerprint(signer.public_key()))


def check_certificate(
    path: str | os.PathLike[str],
    *,
    reward: Artifact | str | os.PathLike[str] | None = None,
    rewards: Mapping[str, Artifact | Path] | None = None,
    spec: Spec | str | os.PathLike[str] | None = None,
    public_key: str | os.PathLike[str] | None = None,
    workers: int = 1,
) -> Checked:
    """Check a certificate about one `reward`, or about several by name; `.accepted`, `.problems` say what came of it.

    With `spec` the claims are compiled again and compared byte for byte; with `public_key` only that key is trusted.
    Needs neither torch nor z3.
    """
    from rewarden.certificate.match import check_certificate as check

    given: dict[str, Path | Artifact] = dict(rewards or {})
    if reward is not None:
        given[""] = reward if isinstance(reward, Artifact) else Path(reward)
    text = spec if spec is None or isinstance(spec, Spec) else Path(spec)
    return check(Path(path), given, text, public_key=None if public_key is None else Path(public_key), workers=workers)


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
