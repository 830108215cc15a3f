"""What an edit by patches did, as far as it can be said: proved where it may act and by how much, counted on data.

Proved, of every record and as deployed: outside the share of the domain in which the new patches may act the reward has
the parent's bits (`ring.py`); inside, no record moves by more than `most`. Take a record that the edit has lowered,
and the last ceiling that lowered it on the way. After it the reward was at least its level, and floors only raise;
before all of it the reward was at most U, which bounds the reward without its ceilings (`patch.py`). So it moved by
U − level at most; and so for records that were raised. What is built into the network beneath patches says by how much
it moves the reward, and where (`built_in.py`); patches on top move it no further apart. (The values that an envelope
holds the reward in are certified when it is made. What a slope takes is bounded over the reals; as deployed the last
subtraction is rounded once more.) `attained` is a change that was met with.

Counted, on rows of the spec's data, or records drawn from the domain where there are none: how many moved, whose order
turned, how many ranks changed, EPIC's distance, and DARD's where the data have recorded steps. `rims` says how steep
the patches are (`steepness.py`). Whether the edit can
change which behaviour is optimal is shown by two behaviours whose order it turns (`behaviour.py`). What is known of the
level of each patch, and whether that moves with the reward, comes from the edit itself (`anchor.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rewarden.editor.anchor import own_data
from rewarden.editor.behaviour import Behaviour, Flip
from rewarden.editor.built_in import Less, moves, on_top, regions
from rewarden.editor.drift import Drift, drift
from rewarden.editor.mend import EditReport, PatchResult
from rewarden.editor.steepness import Steepness, steepness
from rewarden.editor.volume import Share, where_patches_act
from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact
from rewarden.reward.deployed import forward
from rewarden.reward.figures import at_most_text
from rewarden.reward.graph import Patch
from rewarden.reward.widths import patch_tensors
from rewarden.spec_lang.errors import RewardenError
from rewarden.spec_lang.spec import Spec
from rewarden.verifier.witness import decode

if TYPE_CHECKING:
    from rewarden.reward.judging.transitions import Roles, Steps

Rows = NDArray[np.float32]
DRAWN = 20_000
SHOWN = 12  # features of a record
NO_STEPS = "none: the spec's data have no recorded steps (columns episode and step)"
ROUNDED = " (over the reals; as deployed the difference is rounded to what the reward's size allows)"
NEXT = ("next", "after", "later")  # what the second record of recorded steps is called


@dataclass(frozen=True, slots=True)
class Effect:
    """`acts`: the share of the domain where the patches may change anything. `most`: certified, `attained`: a change
    that was met with, both absolute. Of distances that are not defined `without` says why, by name."""

    over: str
    acts: Share | None
    most: Fraction | None
    attained: float
    drift: Drift
    behaviour: Behaviour
    epic: float | None
    dard: float | None
    without: Mapping[str, str]
    shown: Mapping[int, str] = field(default_factory=dict)  # drawn records that the behaviour's sentence speaks of
    said: Mapping[str, str] = field(default_factory=dict)  # of the edit's own statement: where weights moved, anchors
    rims: tuple[Steepness, ...] = ()  # of the new patches
    rounded: bool = False  # `most` is of real numbers: as deployed what slopes take is rounded with the reward

    @property
    def flips(self) -> int:
        return self.behaviour.flips

    @property
    def pairs(self) -> int:
        return self.behaviour.pairs

    @property
    def ranks(self) -> int:
        return self.behaviour.ranks

    @property
    def example(self) -> Flip | None:
        return self.behaviour.example

    @property
    def statement(self) -> Mapping[str, str]:
        """The theorem and what follows of it, in words."""
        found = {}
        if self.acts is not None and self.acts.most == 0 == self.most:
            found["outside"] = (
                "the reward is that of the parent everywhere, bit for bit, over the reals and as deployed"
            )
        elif self.acts is not None and self.most is not None:
            share = at_most_text(self.acts.most, 4) + ("" if self.acts.exact else " at most")
            found["outside"] = (
                f"outside of {share} of the domain the reward is that of the parent, bit for bit, over the reals and "
                "as deployed; a behaviour that stays there is worth what it was"
            )
            found["inside"] = (
                f"no record anywhere moves by more than {at_most_text(self.most)}"
                f"{ROUNDED if self.rounded else ''}; one that moves by "
                f"{self.attained:.6g} was met with"
            )
        else:
            found["outside"] = self.said.get("locality", "weights moved, and with them the reward anywhere")
        shown = "".join(f"; row {row} is {text}" for row, text in self.shown.items())
        found["behaviour"] = self.behaviour.sentence(self.epic, self.over) + shown
        return found | {key: text for key, text in self.said.items() if key != "locality"}

    @property
    def lines(self) -> list[str]:
        """All of it, for a reader."""
        moved = f"of {self.drift.rows} {self.over} {self.drift.changed} moved, by at most {self.drift.largest:.6g}"
        turned = f"{self.flips} of {self.pairs} pairs turned their order, {self.ranks} ranks changed"
        apart = "; ".join(
            f"{name} {value:.6g}" if value is not None else f"{name} {self.without.get(name, 'none')}"
            for name, value in (("EPIC", self.epic), ("DARD", self.dard))
        )
        named = [
            f"level for {key.removesuffix('.anchor').rpartition(': ')[2]}: {text}" if key.endswith(".anchor") else text
            for key, text in self.statement.items()
        ]
        return [*named, f"{moved}; {turned}; {apart}", *(rim.words for rim in self.rims)]

    def to_json(self) -> dict[str, Any]:
        flip, turned = self.example, self.behaviour.turned
        return {
            "statement": dict(self.statement),
            "acts": None
            if self.acts is None
            else {"least": str(self.acts.least), "most": str(self.acts.most), "exact": self.acts.exact},
            "most": None if self.most is None else str(self.most),
            "attained": self.attained,
            "over": self.over,
            "rows": self.drift.rows,
            "changed": self.drift.changed,
            "mean": self.drift.mean,
            "flips": self.flips,
            "pairs": self.pairs,
            "ranks": self.ranks,
            "example": None
            if flip is None
            else {"rows": list(flip.rows), "before": list(flip.before), "after": list(flip.after)},
            "turned": None
            if turned is None
            else {
                "visits": [[list(visit) for visit in side] for side in turned.visits],
                "before": list(turned.before),
                "after": list(turned.after),
            },
            "epic": self.epic,
            "dard": self.dard,
            "without": dict(self.without),
            "patches": [rim.to_json() for rim in self.rims],
        }


def effects(spec: Spec, rewards: Mapping[str, Artifact], result: PatchResult) -> dict[str, Effect]:
    """Of every reward that was edited, by name; `rewards` are those before."""
    return {
        name: effect(spec, rewards[name], after, [edit for edit in result.edits if edit.reward == name])
        for name, after in result.artifacts.items()
    }


def effect(spec: Spec, before: Artifact, after: Artifact, edits: Sequence[EditReport]) -> Effect:
    """Of an edit of `before` that made `after`; rows are those of the spec's first data of the reward's own records."""
    kept = len(before.patches)
    corrected = moves(after, before)
    local = corrected is not None and after.patches[:kept] == before.patches and all(
        np.array_equal(after.tensors[name], before.tensors[name])
        for patch in before.patches for name in patch_tensors(patch)
    )  # fmt: skip
    over, rows = _rows(spec, before)
    old, new = forward(before, rows).astype(np.float64), forward(after, rows).astype(np.float64)
    drawn = random_rows([record.type for record in before.records], DRAWN, 7)
    found = drift(before, after, rows.astype(np.float64))
    attained = max(found.largest, drift(before, after, drawn.astype(np.float64)).largest)
    epic, dard, without = _distances(spec, before, after, rows)
    behaviour = Behaviour.of(old, new, states=len(before.records) == 1)
    drawn_rows = own_data(spec, before) is None
    return Effect(
        over,
        _acts(before, after) if local else None,
        _most(edits) + corrected if local and corrected is not None else None,
        attained,
        found,
        behaviour,
        epic,
        dard,
        without,
        {row: _shown(before, rows[row - 1]) for row in behaviour.named} if drawn_rows else {},
        _said(after),
        steepness(after, kept) if local else (),
        local and any(isinstance(part, Less) for part in on_top(after, before) or ()),
    )


def _said(after: Artifact) -> dict[str, str]:
    """Of the edit's own statement: what its levels are anchored to, and where it changed nothing."""
    said = {} if after.edit is None else dict(after.edit.statement)
    anchors = {key: text for key, text in said.items() if key.endswith("anchor")}
    where = [text for key, text in said.items() if key.endswith("locality")]
    return {**({"locality": "; ".join(dict.fromkeys(where))} if where else {}), **anchors}


def _shown(artifact: Artifact, row: Rows) -> str:
    """A record by its features, of many the first."""
    told, start = list[str](), 0
    for record in artifact.records:
        prefix = f"{record.param}." if len(artifact.records) > 1 else ""
        for feature in record.type.features:
            values = [Fraction(float(value)) for value in row[start : start + feature.width]]
            value = decode(feature, values).value if not feature.is_vector else f"[{float(values[0]):.6g}, …]"
            told.append(
                f"{prefix}{feature.name} = {value:.6g}"
                if isinstance(value, float)
                else f"{prefix}{feature.name} = {value}"
            )
            start += feature.width
    return "{" + ", ".join(told[:SHOWN]) + (", …" if len(told) > SHOWN else "") + "}"


def _rows(spec: Spec, artifact: Artifact) -> tuple[str, Rows]:
    name = own_data(spec, artifact)
    if name is not None:
        return f"rows of {name}", spec.rows(name).values.astype(np.float32)
    return "records drawn from the domain", random_rows([record.type for record in artifact.records], DRAWN, 7)


def _acts(before: Artifact, after: Artifact) -> Share:
    """Where the new patches may act, and what is built into the network beneath them."""
    bare = after.with_patches(after.patches[len(before.patches) :])
    patches, tensors = list(bare.patches), dict(bare.tensors)
    for number, (rows, offsets) in enumerate(regions(after, before) or ()):
        if not len(rows):
            return Share(Fraction(1), Fraction(1))
        names = [f"region {number}.{part}" for part in ("rows", "offsets", "gate")]
        tensors |= dict(zip(names, (rows, offsets, np.ones(1, np.float32)), strict=True))
        where, edges, gate = names
        patches.append(Patch("ceiling", where, edges, gate, gate, gate, gate, ""))  # of which only the region counts
    return where_patches_act(replace(bare, patches=tuple(patches), tensors=tensors), range(len(patches)))


def _most(edits: Sequence[EditReport]) -> Fraction:
    beyond = [(f.extremum - f.level) * (1 if f.kind == "ceiling" else -1) for e in edits for f in e.patches]
    return max([Fraction(0), *beyond])


def _distances(
    spec: Spec, before: Artifact, after: Artifact, rows: Rows
) -> tuple[float | None, float | None, dict[str, str]]:
    """EPIC's and DARD's distance, and why one of them is not defined: a reward that is constant on the steps, or none
    that were recorded."""
    from rewarden.reward.judging.distances import DistanceOptions, dard, epic
    from rewarden.reward.judging.transitions import drawn_steps, roles_of, row_steps

    options, roles, without = DistanceOptions(bootstraps=0), roles_of(before), dict[str, str]()
    recorded = _recorded(spec, roles)
    if recorded is None and len(before.records) > 1:
        asked = drawn_steps(roles, options.count, options.seed)
    else:
        asked = recorded or row_steps(rows.astype(np.float64), options.count, options.seed)
    found: dict[str, float | None] = {}
    for name, measure, steps in (("EPIC", epic, asked), ("DARD", dard, recorded)):
        found[name] = None
        if steps is None:
            without[name] = NO_STEPS
            continue
        try:
            value = measure(before, after, roles, steps, options).value
        except RewardenError as error:
            without[name] = f"none: {error.message}"
            continue
        if np.isfinite(value):
            found[name] = value
        else:
            without[name] = "none: it is not finite"
    return found["EPIC"], found["DARD"], without


def _recorded(spec: Spec, roles: Roles) -> Steps | None:
    """Steps that the spec's data have recorded: episodes of the state's records, or a record and what came next."""
    from rewarden.reward.judging.transitions import Steps, episode_steps

    for name, declared in spec.data.items():
        kinds = [kind for _, kind in declared.members]
        try:
            if kinds == [roles.kind.name] and spec.base is not None:
                found = episode_steps(Path(spec.base, declared.path), roles.kind)
            elif kinds == [roles.kind.name] * 2 and declared.members[1][0] in NEXT and not roles.between:
                before, after = (table.values for table in spec.members(name))
                what = f"{len(before)} recorded steps of {name}"
                found = Steps(before, after, np.zeros((len(before), 0)), True, what)
            else:
                continue
        except RewardenError:
            continue
        if found is not None and found.extra.shape[1] == sum(kind.width for kind in roles.between):
            return found
    return None
