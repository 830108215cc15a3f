"""Unlearning wired to configs and files: what `rewarden unlearn` does.

Beside an artifact `DIR` lie `DIR.training` (the store of stages, where it was learned in shards) and
`DIR.forgotten.json` (the ledger). An unlearned artifact has its own of both; those of its parent are left as they are.
Other edits have none: what was forgotten before, and how it was learned, is looked up along the line of edits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from rewarden.nearby import did_you_mean
from rewarden.progress import Progress, silent
from rewarden.reward.artifact import Artifact
from rewarden.reward.learn_config import LearnConfig, load_learn_config
from rewarden.spec_lang import Spec, load_spec
from rewarden.spec_lang.errors import EditError, UsageError

if TYPE_CHECKING:
    from rewarden.editor.effect import Effect
    from rewarden.editor.unlearn.anchored import Anchored
    from rewarden.editor.unlearn.audit import Audit, Fit
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
    levels_of_other_data: tuple[str, ...]  # rules of edits that stay, made from data that are not at hand any more
    twins: int  # rows that stay, and say the same as forgotten ones under other ids
    effect: Effect
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
    from rewarden.editor.effect import effect
    from rewarden.editor.unlearn.anchored import anchored, levels_of_other_data, made_at
    from rewarden.editor.unlearn.request import part, twins
    from rewarden.reward.learners.shards import keys, taken
    from rewarden.reward.store import load_artifact, save_artifact

    require_free(asked.out)
    artifact, config = load_artifact(asked.artifact), load_learn_config(asked.config)
    line = _line(artifact, asked.artifact, asked.near)
    ledger = _ledger_of(line, asked.artifact)
    spec = load_spec(config.spec)
    data = _read(config, spec, asked.config, config.data)
    road = _road(asked.road, artifact)
    _require_same(artifact, config, road)
    strangers = None if asked.strangers is None else _strangers(asked, config, spec, data)
    wanted = _wanted(asked.forget, config, spec, asked.config, with_ids=data.ids is not None)
    parted = part(data, wanted if isinstance(wanted, list) else keys(wanted), ledger)
    stores = [training_of(place) for entry in line for place in entry.places]
    done = _forget(road, asked, artifact, config, data, parted, stores, progress)
    child = done.child
    gone = taken(data, parted.gone)
    about = spec if asked.spec is None else load_spec(asked.spec)
    edited, known = _edits_of(line), [entry.artifact for entry in line if entry.artifact is not None]
    found, there = anchored(about, artifact, gone, edited), made_at(artifact, gone)
    moved = effect(about, artifact, child, ())
    audit = None
    if asked.audit:
        audit = _audit(asked, config, spec, artifact, done, data, parted, strangers, found, progress)
    write_bytes(ledger_of(asked.out), parted.ledger.bytes())
    save_artifact(child, asked.out)
    lost = () if road == "approximate" else edited
    other = levels_of_other_data(about, known) if road == "approximate" else ()
    said = {**({} if child.edit is None else child.edit.statement), **done.said}
    counts = (parted.asked, parted.missing, len(parted.gone), len(parted.kept))
    return Unlearned(child, road, *counts, said, found, there, lost, other, twins(data, parted), moved, audit)


def require_forgotten_stay_out(config: LearnConfig, spec: Spec, place: Path) -> None:
    """Of learning that changes an artifact: EditError E38 where the new data hold rows that it was made to forget, as
    far as a ledger beside it or its ancestors tells; E21 where the ledger of such an artifact is not there."""
    from rewarden.editor.unlearn.request import require_stays_out
    from rewarden.reward.store import load_artifact

    assert config.artifact is not None
    line = _line(load_artifact(config.artifact), config.artifact, ())
    ledger = _ledger_of(line, config.artifact, whole=False)
    if not ledger.entries:
        return
    require_stays_out(ledger, _read(config, spec, place, config.data), str(config.artifact), str(config.data))


# ── the line of edits ──────────────────────────────────────────────────────────────────────────
def _line(artifact: Artifact, place: Path, near: Sequence[Path]) -> tuple[Entry, ...]:
    """The artifact and its ancestors, as far as they are at hand; the artifact lies where the command says."""
    from rewarden.reward.lineage import line_of

    first, *rest = line_of(artifact, (place.resolve().parent, *near))
    return (replace(first, places=(place, *first.places)), *rest)


def _ledger_of(line: Sequence[Entry], place: Path, *, whole: bool = True) -> Ledger:
    """That of the newest artifact that has one. EditError E21 where there is none, and rows may have been forgotten:
    they would come back. `whole`: they may also where an ancestor is not at hand."""
    from rewarden.editor.unlearn.request import KEPT_OUT, Ledger, read_ledger

    for entry in line:
        edit = None if entry.artifact is None else entry.artifact.edit
        for path in map(ledger_of, entry.places):
            if path.exists():
                found = read_ledger(path)
                told = None if edit is None else edit.statement.get(KEPT_OUT)
                if told not in (None, str(len(found.entries))):
                    raise EditError(
                        "E21",
                        f"{path} names {len(found.entries)} ids or rows, and the reward was made to forget {told}",
                        help="restore the one that was written with it: without it, rows may be learned again",
                    )
                return found
        if edit is not None and edit.kind == "unlearn":
            raise EditError(
                "E21",
                f"rows were forgotten, and the ledger that keeps them out is not beside {entry.places[0]}",
                help="restore it: without it, rows that were forgotten would be learned again",
            )
    if whole and line[-1].artifact is None:
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
@dataclass(frozen=True, slots=True)
class Forgotten:
    """The child, by which road; `anew` where a head was learned anew. `said`: for whoever asked, and no manifest."""

    road: Road
    child: Artifact
    anew: bool = False
    said: Mapping[str, str] = field(default_factory=dict)


def _forget(
    road: Road,
    asked: Asked,
    artifact: Artifact,
    config: LearnConfig,
    data: Data,
    parted: Parted,
    stores: Sequence[Path],
    progress: Progress,
) -> Forgotten:
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
        return Forgotten(road, exact.forget(artifact, data, parted, learner, config.options, run, plan).artifact)
    if road == "certified":
        from rewarden.editor.unlearn import certified
        from rewarden.reward.learners.head import Head
        from rewarden.reward.learners.interface import Comparisons
        from rewarden.reward.learners.options import HeadOptions

        assert isinstance(data, Comparisons)
        assert isinstance(config.options, HeadOptions)
        done = certified.forget(artifact, data, parted, config.options, Head())
        return Forgotten(road, done.artifact, anew=bool(done.anew))
    from rewarden.editor.unlearn import approximate

    found = approximate.forget(artifact, data, parted)
    was, now = found.forgotten
    return Forgotten(
        road, found.artifact, said={"mean loss of the forgotten rows": f"{was:.4f} before, {now:.4f} after"}
    )


def _audit(
    asked: Asked,
    config: LearnConfig,
    spec: Spec,
    artifact: Artifact,
    forgotten: Forgotten,
    data: Data,
    parted: Parted,
    strangers: Data | None,
    found: Sequence[Anchored],
    progress: Progress,
) -> Audit:
    """An oracle is learned from the rest, and, with strangers, shadows for the attack."""
    from rewarden.editor.unlearn import audit
    from rewarden.reward.learners.shards import taken

    fit = _fit(config, spec, asked.config)
    child, kept, gone = forgotten.child, taken(data, parted.kept), taken(data, parted.gone)
    seed = 0 if artifact.learner is None else artifact.learner.seed
    oracle = fit(kept, seed)
    before = after = None
    if strangers is not None:

        def told(done: int) -> None:
            progress("shadows", done, asked.shadows, "")

        scores = audit.shadows(fit, kept, gone, strangers, asked.shadows, told)
        before, after = (audit.attack(a, gone, strangers, scores) for a in (artifact, child))
    both = taken(data, np.concatenate([parted.kept, parted.gone]))
    gaps = (audit.gap(artifact, oracle, both), audit.gap(child, oracle, both))
    faults = audit.faults(forgotten.road, gaps, after, _residue(config, artifact, forgotten, kept, gone))
    notes = audit.notes(before)
    rules = _read_in_the_loss(config, spec, asked.config, found)
    if rules:
        notes.append(
            f"the oracle has not seen the rows, but rules in its loss read data that hold them: {', '.join(rules)}"
        )
    right = audit.retained(artifact, child, kept)
    return audit.Audit(gaps[1], gaps[0], before, after, right, tuple(faults), tuple(notes))


def _read_in_the_loss(config: LearnConfig, spec: Spec, place: Path, found: Sequence[Anchored]) -> list[str]:
    """The rules of the config's constraints that read data with forgotten records."""
    from rewarden.constraints import SpecRules
    from rewarden.learning import record_type_of

    if config.constraints is None:
        return []
    used = SpecRules(spec, record_type_of(spec, config.type_name, place), config.constraints, 0).rules
    return [rule for rule in used if any(rule in item.rules for item in found)]


def _fit(config: LearnConfig, spec: Spec, place: Path) -> Fit:
    """As `rewarden learn` learns by the config, from other rows and another seed."""
    from rewarden.constraints import SpecRules
    from rewarden.learning import certified_range, record_type_of
    from rewarden.reward.learners.interface import Comparisons, Revision, Run
    from rewarden.reward.store import load_artifact

    learner, kind = _learner(config), record_type_of(spec, config.type_name, place)
    base = None if config.artifact is None else load_artifact(config.artifact)

    def fit(part: Data, seed: int) -> Artifact:
        rules = None if config.constraints is None else SpecRules(spec, kind, config.constraints, seed)
        given = Revision(base, part) if base is not None and isinstance(part, Comparisons) else part
        return learner.fit(given, config.options, Run(seed, penalty=rules, reach=certified_range))

    return fit


def _residue(
    config: LearnConfig, artifact: Artifact, forgotten: Forgotten, kept: Data, gone: Data
) -> tuple[float, float] | None:
    from rewarden.reward.learners.head import residue
    from rewarden.reward.learners.interface import Comparisons
    from rewarden.reward.learners.options import HeadOptions

    if forgotten.road != "certified" or forgotten.anew:
        return None
    assert isinstance(kept, Comparisons)
    assert isinstance(gone, Comparisons)
    assert isinstance(config.options, HeadOptions)
    return residue(artifact, forgotten.child, kept, gone, config.options)
