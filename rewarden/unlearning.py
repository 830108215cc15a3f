"""Unlearning wired to configs and files: what `rewarden unlearn` does.

Beside an artifact `DIR` lie `DIR.training` (the store of stages, where it was learned in shards) and
`DIR.forgotten.json` (the ledger). An unlearned artifact has its own of both; those of its parent are left as they are.
Other edits have none: what was forgotten before, and how it was learned, is looked up along the line of edits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    from rewarden.editor.unlearn.request import Ledger, Parted
    from rewarden.reward.learners.interface import Learner
    from rewarden.reward.learners.shards import Data, Plan
    from rewarden.reward.lineage import Entry

Road = Literal["exact", "certified", "approximate"]
ROADS: tuple[Road, ...] = ("exact", "certified", "approximate")


@dataclass(frozen=True, slots=True)
class Unlearned:
    """What came of a request: the child, by which road, and what else was made from the rows. `missing` of those asked
    for are neither among the data nor forgotten before."""

    artifact: Artifact
    road: Road
    asked: int
    missing: int
    forgotten: int
    left: int
    statement: Mapping[str, str]
    anchored: tuple[Anchored, ...]
    patches_at: tuple[str, ...]  # rules of patches near data of which one box holds a forgotten record
    edits_gone: tuple[str, ...]  # rules whose patches and other edits went with the reward that they were made for
    audit: Audit | None


def training_of(artifact: Path) -> Path:
    """The store of stages of an artifact at that place."""
    return artifact.parent / f"{artifact.name}.training"


def ledger_of(artifact: Path) -> Path:
    return artifact.parent / f"{artifact.name}.forgotten.json"


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's arguments. `strangers`: rows that nobody learned from, for the attack of an audit. `near`: folders
    of ancestors."""

    artifact: Path
    config: Path
    forget: Path
    out: Path
    road: str | None = None
    spec: Path | None = None
    audit: bool = False
    strangers: Path | None = None
    shadows: int = 16
    near: tuple[Path, ...] = ()


def unlearn(asked: Asked, progress: Progress = silent) -> Unlearned:
    """Forget, and write the child with its store and ledger. Raises EditError (E20 to E23), DataError, ArtifactError;
    UsageError G05 where the target is taken."""
    from rewarden.atomic import require_free, write_bytes
    from rewarden.editor.unlearn.anchored import anchored, made_at
    from rewarden.editor.unlearn.request import part
    from rewarden.reward.learners.shards import keys, taken
    from rewarden.reward.store import load_artifact, save_artifact

    require_free(asked.out)
    artifact, config = load_artifact(asked.artifact), load_learn_config(asked.config)
    line = _line(artifact, asked)
    ledger = _ledger_of(line, asked.artifact)
    spec = load_spec(config.spec)
    data = _read(config, spec, asked.config, config.data)
    road = _road(asked.road, artifact)
    _require_same(artifact, config, road)
    strangers = None if asked.strangers is None else _strangers(asked, config, spec, data)
    wanted = _wanted(asked.forget, config, spec, asked.config, with_ids=data.ids is not None)
    parted = part(data, wanted if isinstance(wanted, list) else keys(wanted), ledger)
    stores = [training_of(place) for entry in line for place in entry.places]
    child = _forget(road, asked, artifact, config, data, parted, stores, progress)
    gone = taken(data, parted.gone)
    about = spec if asked.spec is None else load_spec(asked.spec)
    found, there = anchored(about, artifact, gone), made_at(artifact, gone)
    audit = _audit(asked, config, artifact, child, data, parted, strangers, progress) if asked.audit else None
    write_bytes(ledger_of(asked.out), parted.ledger.bytes())
    save_artifact(child, asked.out)
    lost = () if road == "approximate" else _edits_of(line)
    said = {} if child.edit is None else child.edit.statement
    counts = (parted.asked, parted.missing, len(parted.gone), len(parted.kept))
    return Unlearned(child, road, *counts, said, found, there, lost, audit)


# ── the line of edits ──────────────────────────────────────────────────────────────────────────
def _line(artifact: Artifact, asked: Asked) -> tuple[Entry, ...]:
    """The artifact and its ancestors, as far as they are at hand; the artifact lies where the command says."""
    from rewarden.reward.lineage import line_of

    first, *rest = line_of(artifact, (asked.artifact.resolve().parent, *asked.near))
    return (replace(first, places=(asked.artifact, *first.places)), *rest)


def _ledger_of(line: Sequence[Entry], place: Path) -> Ledger:
    """That of the newest artifact that has one. EditError E21 where there is none, and rows may have been forgotten:
    they would come back."""
    from rewarden.editor.unlearn.request import Ledger, read_ledger

    for entry in line:
        for path in map(ledger_of, entry.places):
            if path.exists():
                return read_ledger(path)
        edit = None if entry.artifact is None else entry.artifact.edit
        if edit is not None and edit.kind == "unlearn":
            raise EditError(
                "E21",
                f"rows were forgotten, and the ledger that keeps them out is not beside {entry.places[0]}",
                help="restore it: without it, rows that were forgotten would be learned again",
            )
    if line[-1].artifact is None:
        raise EditError(
            "E21",
            f"{place} is an edit of {line[-1].digest}, which is not at hand: whether rows were forgotten before cannot "
            "be told",
            help="name the folder that it lies in with --in",
        )
    return Ledger()


def _edits_of(line: Iterable[Entry]) -> tuple[str, ...]:
    """The rules that a reward has been edited for since it was learned."""
    from rewarden.editor.history.chain import rules_of

    found: list[str] = []
    for entry in line:
        artifact = entry.artifact
        if artifact is not None:
            found += [*(patch.rule for patch in artifact.patches), *rules_of(artifact)]
        if artifact is None or (artifact.edit is not None and artifact.edit.kind == "unlearn"):
            break
    return tuple(dict.fromkeys(found))


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


def _strangers(asked: Asked, config: LearnConfig, spec: Spec, data: Data) -> Data:
    """Rows of the data's kind that nobody learned from. EditError E24 where they are not."""
    from rewarden.reward.learners.shards import contents

    assert asked.strangers is not None
    found = _read(config, spec, asked.config, asked.strangers)
    learned = set(contents(replace(data, ids=None)))
    known = sum(row in learned for row in contents(replace(found, ids=None)))
    if known:
        raise EditError(
            "E24",
            f"{known} rows of {asked.strangers} are among those that the reward was learned from",
            help="give rows that nobody learned from: forgotten ones are told from them",
        )
    return found


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


def _carried(plan: Plan, target: Path, stores: Sequence[Path]) -> None:
    """A training folder with those stages that nothing forgotten went into, and no others, whatever lay there before.
    UsageError G06 where it cannot be written."""
    from rewarden.atomic import new_folder
    from rewarden.reward.learners.checkpoints import Checkpoints

    with new_folder(target, over=True) as scratch:
        plan.carried(Checkpoints(scratch), [Checkpoints(store) for store in (target, *stores)])


# ── forgetting ─────────────────────────────────────────────────────────────────────────────────
def _forget(
    road: Road,
    asked: Asked,
    artifact: Artifact,
    config: LearnConfig,
    data: Data,
    parted: Parted,
    stores: Sequence[Path],
    progress: Progress,
) -> Artifact:
    if road == "exact":
        from rewarden.editor.unlearn import exact
        from rewarden.reward.learners.checkpoints import Checkpoints
        from rewarden.reward.learners.interface import Run
        from rewarden.reward.learners.shards import Shards, taken

        learner, store = _learner(config), training_of(asked.out)
        assert isinstance(learner, Shards)
        assert artifact.learner is not None
        run = Run(artifact.learner.seed, progress, checkpoints=Checkpoints(store))
        plan = learner.plan(taken(data, parted.kept), config.options, run)
        _carried(plan, store, stores)
        return exact.forget(artifact, data, parted, learner, config.options, run, plan).artifact
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
    strangers: Data | None,
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
    if strangers is not None:

        def told(done: int) -> None:
            progress("shadows", done, asked.shadows, "")

        def fit(part: Data, number: int) -> Artifact:
            return learner.fit(part, config.options, Run(number))

        scores = shadows(fit, kept, gone, strangers, asked.shadows, told)
        before, after = (attack(a, gone, strangers, scores) for a in (artifact, child))
    return Audit(gap(child, oracle, kept), before, after, retained(artifact, child, kept))
