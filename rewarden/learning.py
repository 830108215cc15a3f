"""Artifacts from data or networks, with the features of a spec: what `learn` and `import` are wired to."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Literal, cast

from rewarden.nearby import did_you_mean
from rewarden.progress import Progress, silent
from rewarden.reward.artifact import Artifact, Identified
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
    spec = load_spec(read.spec)
    record_type = _record_type(spec, read.type_name, config)
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


def import_onnx(file: Path, spec_path: Path, reward: str | None, identified: str, constants: str = "exact") -> Artifact:
    """An artifact of an ONNX file, for a reward that the spec declares (its first, unless named)."""
    from rewarden.reward.onnx_import import from_onnx

    if identified not in ("exact", "shift", "affine"):
        raise UsageError(
            "G30", f"--identified {identified}", help=did_you_mean(identified, ("exact", "shift", "affine"))
        )
    if constants not in ("exact", "nearest"):
        raise UsageError("G33", f"--constants {constants}", help=did_you_mean(constants, ("exact", "nearest")))
    spec = load_spec(spec_path)
    if not spec.rewards:
        raise UsageError("G31", f"{spec_path} declares no reward", help="add: reward R(s: Step)")
    name = next(iter(spec.rewards)) if reward is None else reward
    if name not in spec.rewards:
        raise UsageError("G72", f"{spec_path} declares no reward {name}", help=did_you_mean(name, spec.rewards))
    records = [(param, spec.features[kind]) for param, kind in spec.rewards[name].params]
    how = cast(Literal["exact", "nearest"], constants)
    return from_onnx(file, records, identified=cast(Identified, identified), constants=how)


def _record_type(spec: Spec, name: str | None, config: Path) -> RecordType:
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
