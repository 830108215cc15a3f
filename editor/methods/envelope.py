"""Records that move together, mended by a monotone envelope: it holds by construction, and moves what it must.

A slope that mends a reward at its worst record is subtracted everywhere, and adds up along the direction. The envelope
(`editor/envelope.py`) holds the reward between what it is before and after, so that no record moves by more than the
reward rises along the direction. It costs a copy of the network for each level, which evaluation and the verification
of other rules pay for.

The rule moves one column, or several at once by fixed amounts (whose ratios must be binary32 numbers, so that the
direction is exactly that). Of the running minimum, the running maximum and their mean, and of a few slopes between
levels, the one is taken that moves the reward least, summed over records sampled from the region.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from rewarden.editor.beyond import BEYOND, beyond_all
from rewarden.editor.correction import Workshop
from rewarden.editor.envelope import Ladder, Limits, Rim, Shape, enveloped, reward_at, rimmed
from rewarden.editor.history.stored import all_stored, relaid
from rewarden.editor.mend import EditReport
from rewarden.editor.methods.pairs import Coupled, coupled
from rewarden.editor.methods.task import Edited, Task
from rewarden.editor.patch import Box, ExtremumBound, closed_box
from rewarden.editor.reach import Reach
from rewarden.editor.ring import binary32_above, binary32_below
from rewarden.editor.sampling import rows_within
from rewarden.editor.statement import of_several, with_rims
from rewarden.reward.agreement import random_rows
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.deployed import forward
from rewarden.spec_lang.claim import Affine, Claim, ClaimCall, ClaimVariable
from rewarden.spec_lang.errors import EditError
from rewarden.verifier.inline import compile_program
from rewarden.verifier.scribe.patched import intervals

COUNTS = (17, 9, 5)  # of levels of a direction, the most that leave the network small enough
MOST_WEIGHTS = 2**18  # of all copies together
MOST_NODES = 512  # of all copies together: no envelope of an envelope, which takes minutes to bound
SAMPLED = 4_000
FAR = 2.0**40  # a value that no rim has room for
LOWS = (Fraction(1, 2), Fraction(1), Fraction(0))
STEEPNESS = ((0.5, 2.0), (0.9, 1.0), (1.0, 1.0), (1.0, 2.0))  # S: a quantile of the slopes met with, times a factor


@dataclass(frozen=True, slots=True)
class Envelope:
    name: str = "envelope"
    guarantee: str = "by construction: the reward never rises along the rule's direction; beyond the rim, the same bits"

    def edit(self, task: Task) -> Edited:
        child, said, extremum = task.artifact, dict[str, str](), task.mender.extremum
        reports = []
        for rule in task.rules:
            found = coupled(task.claim(rule, whole=True), rule, task.target, task.ring)
            child, text, extremum = _mended(child, rule, found, extremum)
            said |= {f"{rule}.{key}": value for key, value in text.items()}
            reports.append(EditReport(rule, task.target, ()))
        edit = Edit("envelope", ", ".join(task.rules), of_several(said, task.rules))
        return Edited(replace(child, parent=task.artifact.digest, edit=edit), tuple(reports), extremum=extremum)


def _mended(
    artifact: Artifact, rule: str, found: Coupled, extremum: ExtremumBound
) -> tuple[Artifact, dict[str, str], ExtremumBound]:
    if found.slack < 0 or (found.strict and not found.slack):
        raise EditError("E13", f"rule {rule} asks for more than the same: an envelope is flat where it has to be")
    bare = artifact.with_patches(())
    ladder = _ladder(bare, ratios_of(found, artifact, rule), found, rule)
    limits = _limits(bare, found, extremum)
    shape = _least_moving(bare, ladder, found, limits)
    child, rim = _built(bare, ladder, shape, found, limits)
    around = _around(found, whole_box(bare))
    reach = Reach(extremum, child, bare, around, {j: found.box[j] for j in ladder.ratios})
    child = relaid(child, all_stored(artifact), reach, [closed_box(polytope) for polytope in found.both])
    said = _statement(artifact, rule, ladder, shape, found, rim, limits.most - limits.least)
    return child, with_rims(said, child, artifact), reach


# ── directions and levels ──────────────────────────────────────────────────────────────────────
def ratios_of(found: Coupled, artifact: Artifact, rule: str) -> Mapping[int, Fraction]:
    """By column the step from better to worse, relative to that of the pivot, which comes first: the one that reaches
    the end of its range in fewest steps. Raises EditError E13 where that is no one direction."""
    columns = list(found.signs)
    if len(columns) == 1:
        return {columns[0]: Fraction(1)}
    if set(found.shifts) != set(columns):
        raise EditError(
            "E13",
            f"the records of {rule} differ in several features that move freely: an envelope has one direction",
            help="use --method slope, or state a rule for each feature",
        )
    spans = {j: artifact.columns[j].hi - artifact.columns[j].lo for j in columns}
    pivot = min(columns, key=lambda j: (spans[j] / abs(found.shifts[j]), j))
    ratios = {j: found.shifts[j] / found.shifts[pivot] for j in (pivot, *(j for j in columns if j != pivot))}
    if any(Fraction(float(np.float32(float(ratio)))) != ratio for ratio in ratios.values()):
        raise EditError(
            "E13",
            f"the steps of {rule} have ratios that are no binary32 numbers: no direction is exactly theirs",
            help="use --method slope, or steps of which one is a multiple of the others",
        )
    return ratios


def _ladder(artifact: Artifact, ratios: Mapping[int, Fraction], found: Coupled, rule: str) -> Ladder:
    size = max(1, sum(tensor.size for tensor in artifact.tensors.values()))
    nodes = len(artifact.graph.nodes)
    count = next((c for c in COUNTS if c * size <= MOST_WEIGHTS and c * nodes <= MOST_NODES), None)
    if count is None:
        raise EditError(
            "E17",
            f"an envelope for {rule} takes {COUNTS[-1]} copies of a network of {size} weights and {nodes} nodes; there "
            f"is room for {MOST_WEIGHTS} and {MOST_NODES}",
            help="use --method slope or tuning, or bake earlier edits first (rewarden bake)",
        )
    pivot = next(iter(ratios))
    sign, (lo, hi) = found.signs[pivot], found.box[pivot]
    first, last = (lo, hi) if sign > 0 else (-hi, -lo)
    if artifact.columns[pivot].discrete and last - first < count:
        levels = [first + k for k in range(int(last - first) + 1)]
    else:
        levels = [first + (last - first) * k / (count - 1) for k in range(count)]
    stored = sorted({Fraction(float(np.float32(float(level)))) for level in levels})
    return Ladder(pivot, sign, ratios, tuple(stored), found.box)


# ── which envelope ─────────────────────────────────────────────────────────────────────────────
def _least_moving(artifact: Artifact, ladder: Ladder, found: Coupled, limits: Limits) -> Shape:
    rows = region_rows(artifact, found)
    old = forward(artifact, rows).astype(np.float64)
    met = _slopes_met(artifact, ladder, rows)
    shapes = [Shape(low, _rounded(factor * np.quantile(met, share))) for low in LOWS for share, factor in STEEPNESS]
    moved = [
        np.abs(forward(_built(artifact, ladder, shape, found, limits)[0], rows).astype(np.float64) - old).sum()
        for shape in shapes
    ]
    return shapes[int(np.argmin(moved))]


def region_rows(artifact: Artifact, found: Coupled) -> np.ndarray:
    """Sampled records of the region of both; the same ones each time."""
    if found.both:
        rows = rows_within(artifact, found.both, SAMPLED, 0)
        if len(rows):
            return rows
    return random_rows([record.type for record in artifact.records], SAMPLED, 0)


def _slopes_met(artifact: Artifact, ladder: Ladder, rows: np.ndarray) -> np.ndarray:
    """How steeply the reward falls or rises from a sampled record to the next level, per unit of u."""
    levels = np.array([float(level) for level in ladder.levels])
    if len(levels) < 2:
        return np.ones(1)
    step = float(levels[1] - levels[0])
    moved = rows.astype(np.float64)
    for j, ratio in ladder.ratios.items():
        low, high = (float(side) for side in ladder.box[j])
        moved[:, j] = np.clip(moved[:, j] + ladder.sign * float(ratio) * step, low, high)
    change = forward(artifact, moved.astype(np.float32)).astype(np.float64) - forward(artifact, rows)
    return np.abs(change) / step


def _rounded(value: float) -> Fraction:
    return Fraction(float(np.float32(max(float(value), 2.0**-20))))


# ── building it ────────────────────────────────────────────────────────────────────────────────
def _limits(artifact: Artifact, found: Coupled, extremum: ExtremumBound) -> Limits:
    """L and U where the rim is, and how far the reward may be from these over all records, with room for rounding."""
    whole = whole_box(artifact)
    least, most = _ends(artifact, _around(found, whole), extremum)
    lowest, highest = _ends(artifact, whole, extremum)
    for low, high in _plain_ends(artifact, whole):
        lowest, highest = min(lowest, low), max(highest, high)
    return Limits(least, most, max(highest - least, most - lowest))


def whole_box(artifact: Artifact) -> Box:
    return tuple((column.lo, column.hi) for column in artifact.columns)


def _around(found: Coupled, whole: Box) -> Box:
    """A box of all records in the region or its rim, and of what their copies are moved to."""
    if not found.both:
        return whole
    parts = [closed_box(polytope) for polytope in found.both]
    box = [(min(p[j][0] for p in parts), max(p[j][1] for p in parts)) for j in range(len(whole))]
    for j in found.signs:
        box[j] = (min(box[j][0], found.box[j][0]), max(box[j][1], found.box[j][1]))
    return tuple(box)


def _ends(artifact: Artifact, box: Box, extremum: ExtremumBound) -> tuple[Fraction, Fraction]:
    """The least and the greatest value, as deployed, also where moving a record to a level is rounded; binary32."""
    wider = tuple((lo - _ulps(lo, hi), hi + _ulps(lo, hi)) for lo, hi in box)
    most, least = extremum(artifact, wider, 1), -extremum(artifact, wider, -1)
    return binary32_below(least - abs(least) / 2**16), binary32_above(most + abs(most) / 2**16)


def _plain_ends(artifact: Artifact, box: Box) -> Iterator[tuple[Fraction, Fraction]]:
    """What intervals say, neuron by neuron, which is all that a proof beyond the rim has to look at; nothing where
    that is far too much to be of use."""
    columns = tuple(ClaimVariable(column.name, None, False) for column in artifact.columns)
    own = tuple(Affine(Fraction(0), ((j, Fraction(1)),)) for j in range(len(columns)))
    claim = Claim("", "must", columns, (), (("r", ""),), (ClaimCall("r", own),), (), (), (box,))
    program = compile_program(claim, {"r": artifact})
    low, high = (float(end[0]) for end in intervals(program, box)[program.outputs[0]])
    if max(abs(low), abs(high)) < FAR:
        room = Fraction(max(abs(low), abs(high))) / 2**16
        yield Fraction(low) - room, Fraction(high) + room


def _ulps(lo: Fraction, hi: Fraction) -> Fraction:
    """What moving a record to a level may round away: a few units in the last place."""
    return max(abs(lo), abs(hi)) / 2**20


def _built(artifact: Artifact, ladder: Ladder, shape: Shape, found: Coupled, limits: Limits) -> tuple[Artifact, Rim]:
    shop = Workshop(artifact.width)
    reward = shop.reward(artifact)
    level = enveloped(shop.build, reward_at(shop.build, artifact), ladder, shape)
    node, rim = rimmed(shop.build, reward, level, found.both, limits)
    return shop.finish(node, artifact), rim


def _statement(
    artifact: Artifact,
    rule: str,
    ladder: Ladder,
    shape: Shape,
    found: Coupled,
    rim: Rim,
    spread: Fraction,
) -> dict[str, str]:
    names = " with ".join(artifact.columns[j].name for j in ladder.ratios)
    kind = {Fraction(1): "minimum", Fraction(0): "maximum"}.get(shape.low, "minimum and maximum, in the mean,")
    where = (
        "beyond the ring (some atom of the region fails by the ring's width, or a discrete one fails) the reward is "
        "that of the parent, bit for bit"
        if found.both
        else "none: the rule speaks of all records"
    )
    return {
        "fix": f"wherever the records of {rule} may be, the reward beneath patches is the running {kind} along {names} "
        f"on {len(ladder.levels)} levels, which never rises",
        "locality": where,
        BEYOND: beyond_all(artifact.records, found.both),
        "continuity": f"the edited reward is continuous wherever the parent is; the rim gives way by "
        f"{float(rim.steep)!r} a ring width, and it moves no record by more than {_above(spread)!r}",
    }


def _above(value: Fraction) -> float:
    near = float(value)
    return near if Fraction(near) >= value else float(np.nextafter(near, np.inf))
