"""Which rows a learned reward has never seen.

An artifact names the tables that it was learned from by digest, its learner, options and seed. Where the data at hand
are one of those tables, the learner's own split is drawn again, which a seed determines, and only the rows that it held
out are judged. Of an ensemble, the rows that every member held out. Data that the artifact does not name are taken as
new; a row that was copied from the training data into another file cannot be noticed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact, Learner
from rewarden.reward.learners.interface import Comparisons, Demonstrations, Judgements
from rewarden.reward.learners.registry import REGISTRY

FEWEST = 20
ENSEMBLE = "ensemble of "
Data = Comparisons | Demonstrations | Judgements


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """The rows (or answers) to judge by. `fresh`: whether the reward has not seen them, as far as can be known."""

    rows: NDArray[np.intp]
    fresh: bool
    why: str


def held_out(artifact: Artifact, data: Data) -> HeldOut:
    """What of `data` the artifact was not learned from."""
    count = len(data.segments) if isinstance(data, Comparisons) else len(data.rows)
    every = np.arange(count)
    known = {source.table_digest for source in artifact.data}
    if not any(source.table_digest in known for source in data.sources):
        if artifact.edit is not None and artifact.edit.kind == "unlearn" and _names(data) & _names(artifact):
            why = "data of their name, without the rows that were forgotten"
            return HeldOut(every, False, f"all {count} are judged, and the reward WAS LEARNED FROM {why}")
        named = "these data are not among those that the artifact names" if known else "the artifact names no data"
        return HeldOut(every, True, f"all {count} are judged: {named}")
    rows = None if artifact.learner is None or not _its_own(artifact, data) else _drawn_again(artifact.learner, data)
    if rows is None:
        return HeldOut(
            every,
            False,
            f"all {count} are judged, and the reward WAS LEARNED FROM THEM: what was held out is not known",
        )
    if len(rows) < FEWEST:
        return HeldOut(
            every,
            False,
            f"all {count} are judged, and the reward WAS LEARNED FROM THEM: only {len(rows)} were held out",
        )
    return HeldOut(rows, True, f"{len(rows)} of {count} are judged: those that the learner held out")


def _its_own(artifact: Artifact, data: Data) -> bool:
    """Whether these are the tables of the last learner, and of no other: an update of a reward names what that reward
    was learned from, too, first, and what was held out there is known to no manifest."""
    used, given = ([source.table_digest for source in of] for of in (artifact.data, data.sources))
    before = used[: -len(given)]
    return used[-len(given) :] == given and not set(before) & set(given)


def _names(of: Artifact | Data) -> set[str]:
    return {source.name for source in (of.data if isinstance(of, Artifact) else of.sources)}


def _drawn_again(learner: Learner, data: Data) -> NDArray[np.intp] | None:
    name = learner.name.removeprefix(ENSEMBLE)
    if name not in REGISTRY or name == "corrections":
        return None
    options = options_of(name, learner.options)
    seeds = [learner.seed]
    if learner.name != name:
        from rewarden.reward.learners.ensemble import MAX_SEED

        members = int(learner.options["members"])
        seeds = [(learner.seed * 1_000_003 + k) % MAX_SEED for k in range(members)]
    found = [_split(name, data, options, seed) for seed in seeds]
    if any(rows is None for rows in found):
        return None
    kept = [rows for rows in found if rows is not None]
    rows = kept[0]
    for other in kept[1:]:
        rows = np.intersect1d(rows, other)
    return np.sort(rows)


def _split(name: str, data: Data, options: object, seed: int) -> NDArray[np.intp] | None:
    from rewarden.reward.learners.answers import checked
    from rewarden.reward.learners.source import is_large, tested
    from rewarden.reward.training import deterministic, split, split_distinct

    shares: tuple[float, ...] = (options.validation, options.held_out)  # type: ignore[attr-defined]
    if name == "autoencoders" and not options.patience:  # type: ignore[attr-defined]
        shares = shares[1:]
    if is_large(data):  # in whatever way a learner deals out what is in memory
        return np.asarray(tested(data, shares, seed), np.intp) if _goes_with(name, data) else None
    with deterministic(seed) as generator:
        match name, data:
            case "autoencoders", Demonstrations():
                key = np.nan_to_num(data.rows, nan=-1e300)
                alike = bool((key == key[0]).all())
                parts = split(len(key), shares, generator) if alike else split_distinct(key, shares, generator)
            case (("energy" | "paper"), Demonstrations()):
                parts = split_distinct(data.rows, shares, generator)
            case "labels", Judgements():
                parts = split_distinct(data.rows, shares, generator)
            case (("preferences" | "update"), Comparisons()):
                parts = split_distinct(checked(data)[0], shares, generator)
            case _:
                return None
    return np.asarray(parts[-1].numpy(), np.intp)


def _goes_with(name: str, data: Data) -> bool:
    match data:
        case Demonstrations():
            return name in ("autoencoders", "energy", "paper")
        case Judgements():
            return name == "labels"
        case Comparisons():
            return name in ("preferences", "update")


def options_of(name: str, text: object) -> object:
    """A learner's options from the text of a manifest."""
    kind = REGISTRY[name].options
    given = dict(text)  # type: ignore[call-overload]
    values: dict[str, object] = {}
    usual = kind()
    for field in fields(kind):
        if field.name not in given:
            continue  # written before the option existed: its default is what it did
        shown, default = given[field.name], getattr(usual, field.name)
        if isinstance(default, tuple):
            pairs = [item.rsplit(" ", 1) for item in shown.split(", ") if item]
            values[field.name] = tuple((item[0], item[1]) for item in pairs)
        else:
            values[field.name] = type(default)(shown)
    return kind(**values)  # type: ignore[arg-type]
