"""Artifacts from data, with the features of a spec: what `learn` is wired to."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from rewarden.nearby import did_you_mean
from rewarden.progress import Progress, silent
from rewarden.reward.artifact import Artifact
from rewarden.reward.learn_config import checked_seed, learn, load_learn_config
from rewarden.reward.learners.checkpoints import Checkpoints
from rewarden.reward.learners.interface import Run
from rewarden.spec_lang import Spec, load_spec
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import RecordType


def learn_from(
    config: Path, *, seed: int | None = None, progress: Progress = silent, checkpoints: Path | None = None
) -> Artifact:
    """Learn what a config says; `seed` overrides its own. The spec is read for its record type, and for its rules where
    the config has constraints. A run that was killed goes on from what it left in the folder `checkpoints`."""
    read = load_learn_config(config)
    if read.text is not None:
        from rewarden.text.cache import vectors_folder

        read = replace(read, cache=vectors_folder())
    spec = load_spec(read.spec)
    record_type = record_type_of(spec, read.type_name, config)
    if read.artifact is not None:
        from rewarden.unlearning import require_forgotten_stay_out

        require_forgotten_stay_out(read, spec, config)
    chosen = read.seed if seed is None else checked_seed(seed)
    rules = None
    if read.constraints is not None:
        from rewarden.constraints import SpecRules

        rules = SpecRules(spec, record_type, read.constraints, chosen)
    kept = None if checkpoints is None else Checkpoints(checkpoints)
    return learn(read, record_type, Run(chosen, progress, rules, kept, certified_range))


def certified_range(artifact: Artifact) -> tuple[Fraction, Fraction]:
    """Two numbers between which the reward of every record in the declared ranges lies, exactly and as deployed."""
    from rewarden.verifier.extremum import certified_extremum

    box = tuple((column.lo, column.hi) for column in artifact.columns)
    return -certified_extremum(artifact, box, -1), certified_extremum(artifact, box, 1)


def record_type_of(spec: Spec, name: str | None, config: Path) -> RecordType:
    if name is not None:
        if name not in spec.features:
            raise UsageError(
                "G32", f"{config}: {spec.name} has no features {name}", help=did_you_mean(name, spec.features)
            )
        return spec.features[name]
    if len(spec.features) != 1:
        raise UsageError(
            "G32", f"{config}: {spec.name} declares several features", help='say which: type = "…" under [features]'
        )
    return next(iter(spec.features.values()))
