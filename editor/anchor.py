"""What a patch's level is anchored to: data, where the rule compares with a data constant; its own zero, where not.

A reward that was learned from preferences is known up to an added constant, others up to a positive factor as well. A
level that follows from a quantile or a mean of the reward over data moves with the reward; a number in the rule does
not, and means something for this one artifact alone. Which it is goes into the edit, with the data by digest; a number
is also told as the share of the data's rows that are at or below it, which is what to write in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.spec_lang.errors import RewardenError
from rewarden.spec_lang.evaluate import statistic_text
from rewarden.spec_lang.invariance import shift_safe
from rewarden.spec_lang.obligation import Obligation
from rewarden.spec_lang.spec import Spec
from rewarden.verifier.bind import statistics_of


def anchored(spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact], reward: str, level: Fraction) -> str:
    """Of a level that a rule gives, in words, and of the rows that it is held around: forgetting some of these has to
    find it (`unlearn/anchored.py`). "" where the reward is exactly identified, and the level a number of a region."""
    told = _of_level(spec, obligation, rewards, reward, level)
    if obligation.instances is None:
        return told
    around = f"{float(level):.9g} is held around {_told(spec, obligation.instances.data)}"
    return f"{told}; {around}" if told else around


def _of_level(spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact], reward: str, level: Fraction) -> str:
    loose = rewards[reward].identified != "exact"
    parts = [
        f"{statistic_text(s)} = {float(value):.9g} ({_told(spec, s.data)})"
        for s, value in statistics_of(spec, obligation, rewards).items()
    ]
    if not parts and not loose:
        return ""
    safe = shift_safe(obligation.conclusion, frozenset({reward}))
    if parts and (safe or not loose):
        moves = "; it moves with the reward, whatever is added to it" if safe else ""
        return f"{float(level):.9g} follows from {' and '.join(parts)}{moves}"
    return (
        f"{float(level):.9g} is a number of the rule, and {reward} is known only up to an added constant: it is "
        f"anchored to the zero of this artifact. {placed(spec, rewards[reward], reward, level)}"
    )


def placed(spec: Spec, artifact: Artifact, reward: str, level: Fraction) -> str:
    """Where a level lies in the data, as a whole sentence."""
    name = own_data(spec, artifact)
    if name is None:
        return f"The spec has no data of these records: with some, write quantile({reward}(data), q) in its place."
    values = forward(artifact, spec.rows(name).values.astype(np.float32)).astype(np.float64)
    below = int((values <= float(level)).sum())
    where = f"{below} of {_told(spec, name)} are at or below it"
    if not 0 < below < len(values):
        return f"{where[0].upper()}{where[1:]}."
    return f"{where[0].upper()}{where[1:]}: quantile({reward}({name}), {below}/{len(values)}) moves with the reward."


def own_data(spec: Spec, artifact: Artifact) -> str | None:
    """The first data of the spec that are rows of the reward's own record."""
    types = [record.type.name for record in artifact.records]
    if len(types) == 1:
        for name, declared in spec.data.items():
            if [kind for _, kind in declared.members] == types and _readable(spec, name):
                return name
    return None


def _readable(spec: Spec, name: str) -> bool:
    try:
        return len(spec.rows(name).values) > 0
    except RewardenError:
        return False


def _told(spec: Spec, name: str) -> str:
    table = spec.rows(name)
    return f"{len(table.values)} rows of {name}, {table.digest}"
