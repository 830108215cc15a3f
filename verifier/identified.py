"""Would a rule's truth survive what its rewards are free to do, as their artifacts say? (`spec_lang.invariance`)"""

from __future__ import annotations

from collections.abc import Mapping

from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.invariance import flips
from rewarden.spec_lang.obligation import Obligation


def warnings_of(obligation: Obligation, rewards: Mapping[str, Artifact]) -> tuple[str, ...]:
    """Whole sentences, one for each way in which a permitted change of a reward could flip the rule; often none."""
    loose = {name for name, artifact in rewards.items() if artifact.identified != "exact"}
    affine = {name for name in loose if rewards[name].identified == "affine"}
    found = []
    by_shift, _ = flips(obligation, frozenset(loose))
    _, by_factor = flips(obligation, frozenset(affine))
    if by_shift:
        found.append(
            f"{_listed(loose)} known only up to an added constant, and such a constant could flip this rule: compare "
            "with a data constant of the same reward, or with another value of it."
        )
    if by_factor:
        found.append(
            f"{_listed(affine)} known only up to a positive factor, and such a factor could flip this rule: express "
            "its tolerances in terms of data constants of the same reward."
        )
    return tuple(found)


def _listed(names: set[str]) -> str:
    listed = " and ".join(sorted(names))
    return f"The rewards {listed} are" if len(names) > 1 else f"The reward {listed} is"
