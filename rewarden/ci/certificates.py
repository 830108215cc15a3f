"""Certificates that are kept beside the specs: whether they still are about what is there, and meet the policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rewarden import exits
from rewarden.ci.outcome import Place, Trouble
from rewarden.config import Config, Run
from rewarden.spec_lang.errors import RewardenError, UsageError


def troubles_with(config: Config, run: Run, rewards: Mapping[str, Path], file: str) -> tuple[Trouble, ...]:
    """Why a run's certificate is rejected, a sentence each; nothing where it is accepted, or where none is asked for.

    Its proofs are checked again, the claims compiled again and the signatures looked at: status 4 for each objection.
    UsageError G50 where there is no certificate, G53 and G54 of the policy.
    """
    if run.certificate is None:
        return ()
    from rewarden.certificate.match import check_certificate
    from rewarden.certificate.policy import load_policy

    if not run.certificate.is_dir():
        raise UsageError("G50", f"{run.certificate}: there is no certificate folder of this name")
    place = config.place("policy")
    policy = None if place is None else load_policy(place)
    used = {name: rewards[name] for name in _names(run.certificate) & set(rewards)}
    checked = check_certificate(run.certificate, used, run.spec, run.params, config.allow, policy=policy)
    return tuple(
        Trouble("C46", f"the certificate is rejected: {problem}", exits.REJECTED, Place(file))
        for problem in checked.problems
    )


def _names(folder: Path) -> set[str]:
    """The rewards that its claims are about. The kernel says what is wrong with a file that cannot be read."""
    from rewarden.certificate.match import rewards_of

    try:
        return rewards_of(folder)
    except RewardenError:
        return set()
