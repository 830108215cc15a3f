"""Unlearning wired to configs and files: what `rewarden unlearn` does.

Beside an artifact `DIR` lie `DIR.training` (the store of stages, where it was learned in shards) and
`DIR.forgotten.json` (the ledger). An unlearned artifact has its own of both; those of its parent are left as they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from rewarden.nearby import did_you_mean
from rewarden.progress import Progress, silent
from rewarden.reward.artifact import Artifact
from rewarden.reward.learn_config import LearnConfig, load_learn_config
from rewarden.spec_lang import Spec, load_spec
from rewarden.spec_lang.errors import EditError, UsageError

if TYPE_CHECKING:
    from rewarden.editor.unlearn.anchored import Anchored
    from rewarden.editor.unlearn.audit import Audit
    from rewarden.editor.unlearn.request import Parted
    from rewarden.reward.learners.interface import Learner
    from rewarden.reward.learners.shards import Data

Road = Literal["exact", "certified", "approximate"]
ROADS: tuple[Road, ...] = ("exact", "certified", "approximate")


@dataclass(frozen=True, slots=True)
class Unlearned:
    """What came of a request: the child, by which road, and what else was made from the rows."""

    artifact: Artifact
    road: Road
    asked: int
    forgotten: int
    left: int
    statement: Mapping[str, str]
    anchored: tuple[Anchored, ...]
    patches_gone: tuple[str, ...]  # rules whose patches went with the reward that they were made for
    audit: Audit | None


def training_of(artifact: Path) -> Path:
    """The store of stages of an artifact at that place."""
    return artifact.parent / f"{artifact.name}.training"


def ledger_of(artifact: Path) -> Path:
    return artifact.parent / f"{artifact.name}.forgotten.json"


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's arguments. `strangers`: rows that nobody learned from, for the attack of an audit."""

    artifact: Path
    config: Path
    forget: Path
    out: Path
    road: str | None = None
    spec: Path | None = None
    audit: bool = False
    strangers: Path | None = None
    shadows: int = 16


def unlearn(asked: Asked, progress: Progress = silent) -> Unlearned:
    """Forget, and write the child with its store and ledger. Raises EditError (E20 to E23), DataError, ArtifactError;
    UsageError G05 where the target is taken."""
    from rewarden.atomic import require_free, write_bytes
    from rewarden.editor.unlearn.anchored import anchored
    from rewarden.editor.unlearn.request import part, read_ledger
    from rewarden.reward.learners.shards import keys, taken
    from rewarden.reward.store import load_artifact, save_artifact

    require_free(asked.out)
    artifact, config = load_artifact(asked.artifact), load_learn_config(asked.config)
    spec = load_spec(config.spec)
    data = _read(config, spec, asked.config, config.data)
    road = _road(asked.road, artifact)
    _require_same(artifact, config, road)
    wanted = _wanted(asked.forget, config, spec, asked.config, with_ids=data.ids is not None)
    parted = part(data, wanted if isinstance(wanted, list) else keys(wanted), read_ledger(ledger_of(asked.artifact)))
    child = _forget(road, asked, artifact, config, data, parted, progress)
    gone = taken(data, parted.gone)
    about = spec if asked.spec is None else load_spec(asked.spec)
    found = anchored(about, artifact, gone)
    audit = _audit(asked, config, artifact, child, data, parted, spec, progress) if asked.audit else None
    write_bytes(ledger_of(asked.out), parted.ledger.bytes())
    save_artifact(child, asked.out)
    lost = () if road == "approximate" else tuple(dict.fromkeys(p.rule for p in artifact.patches))
    said = {} if child.edit is None else child.edit.statement
    return Unlearned(child, road, parted.asked, len(parted.gone), len(parted.kept), said, found, lost, audit)


# ── reading ────────────────────────────────────────────────────────────────────────────────────
def _read(config: LearnConfig, spec: Spec, place: Path, table: Path) -> Data:
    from rewarden.learning import record_type_of
    from rewarden.reward import segments
    from rewarden.reward.learn_config import opened

    kind = record_type_of(spec, config.type_name, place)
    origin, _ = opened(replace(config, data=table), kind)
    return cast("Data", segments.READERS[config.source](origin, kind, config.param))


def _wanted(file: Path, config: LearnConfig, spec: Spec, place: Path, *, with_ids: bool) -> list[bytes] | Data:
    """Keys of the ids in a table with a column `id`, or rows as they stand in the data."""
    import hashlib

    from rewarden.spec_lang.table_files import open_columns

    columns = open_columns(file)
    if with_ids and "id" in columns.names:
        named = [str(name) for name in columns.read("id") if name is not None and name != ""]
        return [hashlib.sha256(b"id\0" + name.encode()).digest() for name in dict.fromkeys(named)]
    if with_ids:
        raise EditError(
            "E22", f"{file} has no column id, by which the data name their rows", help="give a table with a column id"
        )
    if "id" in columns.names and len(columns.names) == 1:
        raise EditError(
            "E22", "the data name no rows: they have no column id", help="give the rows as they stand there"
        )
    return _read(config, spec, place, file)


def _road(asked: str | None, artifact: Artifact) -> Road:
    name = "" if artifact.learner is None else artifact.learner.name
    best: Road = "exact" if name.startswith("shards of ") else "certified" if name == "head" else "approximate"
    if asked is None:
        return best
    if asked not in ROADS:
        raise UsageError("G30", f"--road {asked}", help=did_you_mean(asked, ROADS))
    if asked not in (best, "approximate"):
        raise EditError(
            "E20",
            f"the reward was learned by {name or 'nothing known'}: there is no {asked} road",
            help="learn with [learner.shards] (exact) or the learner head (certified); until then, --road approximate",
        )
    return asked


def _require_same(artifact: Artifact, config: LearnConfig, road: Road) -> None:
    """The artifact is what the config says; else what is learned again would be another reward."""
    from rewarden.reward.learners.options import options_text

    learner = artifact.learner
    expected = _learner(config).name
    options = options_text(config.options) | (options_text(config.shards) if config.shards is not None else {})
    if learner is None or learner.name != expected:
        made = "imported" if learner is None else f"learned by {learner.name}"
        raise EditError("E20", f"the reward was {made}, the config says {expected}", help="name the config it came of")
    if road != "approximate" and dict(learner.options) != options:
        different = sorted(k for k in {**learner.options, **options} if learner.options.get(k) != options.get(k))
        raise EditError(
            "E20", f"the reward was learned with other {', '.join(different)}", help="name the config it came of"
        )


def _learner(config: LearnConfig) -> Learner[Any, Any]:
    from rewarden.reward.learn_config import learner_of

    return learner_of(config)


def _copied(store: Path, target: Path) -> None:
    """The whole training folder, or nothing. UsageError G06 where it cannot be written."""
    from rewarden.atomic import new_folder

    with new_folder(target) as scratch:
        try:
            shutil.copytree(store, scratch, symlinks=True, dirs_exist_ok=True)
        except shutil.Error as errors:  # a list of (from, to, why)
            raise OSError(0, str(errors.args[0][0][2])) from errors


# ── forgetting ─────────────────────────────────────────────────────────────────────────────────
def _forget(
    road: Road, asked: Asked, artifact: Artifact, config: LearnConfig, data: Data, parted: Parted, progress: Progress
) -> Artifact:
    if road == "exact":
        from rewarden.editor.unlearn import exact
        from rewarden.reward.learners.checkpoints import Checkpoints
        from rewarden.reward.learners.interface import Run
        from rewarden.reward.learners.shards import Shards

        store, parent = training_of(asked.out), training_of(asked.artifact)
        if parent.is_dir() and not store.exists():
            _copied(parent, store)
        learner, kept = _learner(config), Checkpoints(store)
        assert isinstance(learner, Shards)
        assert artifact.learner is not None
        run = Run(artifact.learner.seed, progress, checkpoints=kept)
        return exact.forget(artifact, data, parted, learner, config.options, run).artifact
    if road == "certified":
        from rewarden.editor.unlearn import certified
        from rewarden.reward.learners.head import Head
        from rewarden.reward.learners.interface import Comparisons
        from rewarden.reward.learners.options import HeadOptions

        assert isinstance(data, Comparisons)
        assert isinstance(config.options, HeadOptions)
        return certified.forget(artifact, data, parted, config.options, Head()).artifact
    from rewarden.editor.unlearn import approximate

    return approximate.forget(artifact, data, parted).artifact


def _audit(
    asked: Asked,
    config: LearnConfig,
    artifact: Artifact,
    child: Artifact,
    data: Data,
    parted: Parted,
    spec: Spec,
    progress: Progress,
) -> Audit:
    """An oracle is learned from the rest, and, with strangers, shadows for the attack."""
    from rewarden.editor.unlearn.audit import Audit, attack, gap, retained, shadows
    from rewarden.reward.learners.interface import Run
    from rewarden.reward.learners.shards import taken

    learner = _learner(config)
    kept, gone = taken(data, parted.kept), taken(data, parted.gone)
    seed = 0 if artifact.learner is None else artifact.learner.seed
    oracle = learner.fit(kept, config.options, Run(seed, progress))
    before = after = None
    if asked.strangers is not None:
        strangers = _read(config, spec, asked.config, asked.strangers)

        def told(done: int) -> None:
            progress("shadows", done, asked.shadows, "")

        def fit(part: Data, number: int) -> Artifact:
            return learner.fit(part, config.options, Run(number))

        scores = shadows(fit, kept, gone, strangers, asked.shadows, told)
        before, after = (attack(a, gone, strangers, scores) for a in (artifact, child))
    return Audit(gap(child, oracle, kept), before, after, retained(artifact, child, kept))
