"""Certificates that are kept beside the specs: whether they still are about what is there, and meet the policy.

What the kernel says of a certificate depends on its files, on the artifacts' and on the kernel's own code, and on
nothing else: it is kept under their digests, as verdicts are. That a certificate was accepted, with its text, its
signatures and the policy, is kept as long as none of the files has changed that it depends on (`unchanged`), and until
the day on which the policy calls it too old. An objection is never kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewarden import exits
from rewarden.ci.kept import kept_or_found
from rewarden.ci.outcome import Place, Trouble
from rewarden.ci.unchanged import Unchanged, all_files, as_it_is
from rewarden.config import Config, Run
from rewarden.spec_lang.errors import RewardenError, UsageError

if TYPE_CHECKING:
    from rewarden.certificate.check import Check, Report
    from rewarden.certificate.match import Checked
    from rewarden.certificate.policy import Policy
    from rewarden.verdict_cache import VerdictCache

FORMAT, VERSION = "rewarden-kernel-report", 1


def troubles_with(
    config: Config, run: Run, rewards: Mapping[str, Path], file: str, kept: VerdictCache | None = None
) -> tuple[Trouble, ...]:
    """Why a run's certificate is rejected, a sentence each; nothing where it is accepted, or where none is asked for.

    Its proofs are checked, the claims compiled again and the signatures looked at: status 4 for each objection.
    UsageError G50 where there is no certificate, G53 and G54 of the policy.
    """
    if run.certificate is None:
        return ()
    place = config.place("policy")
    entry = None if kept is None else _entry(config, run, rewards, kept)
    if entry is not None and entry.get() is True:
        return ()
    from rewarden.certificate.match import check_certificate
    from rewarden.certificate.policy import load_policy
    from rewarden.ci.read_files import before, read_spec

    if not run.certificate.is_dir():
        raise UsageError("G50", f"{run.certificate}: there is no certificate folder of this name")
    policy = None if place is None else load_policy(place)
    used = {name: rewards[name] for name in _names(run.certificate) & set(rewards)}
    kernel = None if kept is None else _Kept(kept)
    spec, read = read_spec(run.spec, run.params, config.allow)
    given = [] if policy is None else [policy.path, *policy.key_files, *policy.sign_offs]
    files = [*read, *before(spec, read, used.values(), {}), *map(as_it_is, [*all_files(run.certificate), *given])]
    checked = check_certificate(run.certificate, used, spec, run.params, config.allow, policy=policy, kernel=kernel)
    if checked.accepted and entry is not None:
        entry.put(True, files, _until(policy, checked))
    return tuple(
        Trouble("C46", f"the certificate is rejected: {problem}", exits.REJECTED, Place(file))
        for problem in checked.problems
    )


def _entry(config: Config, run: Run, rewards: Mapping[str, Path], kept: VerdictCache) -> Unchanged:
    """That a certificate was accepted. The names of its files are part of the question: one more may be refused."""
    assert run.certificate is not None
    within = [path.relative_to(run.certificate).as_posix() for path in sorted(run.certificate.rglob("*"))]
    asked = {
        "certificate": [run.certificate, within],
        "policy": config.place("policy"),
        "spec": run.spec,
        "params": run.params,
        "allow": config.allow,
        "rewards": rewards,
    }
    return Unchanged(kept, "rewarden-accepted", asked)


def _until(policy: Policy | None, checked: Checked) -> int | None:
    """When the policy calls it too old, in seconds since 1970."""
    from rewarden.certificate.policy import young_until

    if policy is None or checked.statement is None:
        return None
    last = young_until(policy, str(checked.statement["predicate"]["issued"]))
    return None if last is None else int(last.timestamp())


def _names(folder: Path) -> set[str]:
    """The rewards that its claims are about. The kernel says what is wrong with a file that cannot be read."""
    from rewarden.certificate.match import rewards_of

    try:
        return rewards_of(folder)
    except RewardenError:
        return set()


class _Kept:
    """The kernel, asked once about the same bytes."""

    def __init__(self, cache: VerdictCache) -> None:
        self.cache = cache

    def __call__(self, folder: Path, rewards: Mapping[str, Path], workers: int, tier: str, leaf: Check) -> Report:
        from rewarden.certificate.check import check

        def ask() -> Report:
            return check(folder, rewards, workers, tier, leaf)

        try:
            own = [folder / "claims.json", folder / "proofs", folder / "tables"]
            files = {
                "certificate": list(_digests(own)),
                "rewards": {name: list(_digests([path])) for name, path in sorted(rewards.items())},
                "kernel": list(_digests([Path(__file__).parents[1] / "certificate"])),
            }
        except (OSError, ValueError):
            return ask()  # a link, or something that cannot be read: the kernel says what is wrong with it
        return kept_or_found(
            self.cache, {"format": FORMAT, "version": VERSION, "tier": tier, **files}, ask, _to_kept, _of_kept
        )


def _digests(places: list[Path]) -> Iterator[list[str]]:
    """Name and SHA-256 of every file at these places and directly in these folders. ValueError for a link."""
    for place in places:
        within = sorted(place.iterdir()) if place.is_dir() else [place] if place.exists() else []
        for path in within:
            if path.is_symlink() or place.is_symlink():
                raise ValueError(f"{path} is a link")
            if path.is_file():
                yield [f"{place.name}/{path.name}", sha256(path.read_bytes()).hexdigest()]


def _to_kept(report: Report) -> dict[str, Any] | None:
    if report.problem is not None:
        return None
    return {**asdict(report), "rewards": dict(report.rewards), "accounts": dict(report.accounts)}


def _of_kept(content: Any) -> Report:  # noqa: ANN401 - JSON from a file
    from rewarden.certificate.check import ClaimReport, Report

    claims = tuple(ClaimReport(**{**claim, "files": tuple(claim["files"])}) for claim in content["claims"])
    return Report(**{**content, "claims": claims})
