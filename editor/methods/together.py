"""Records that move together, by the method that moves the reward least: an envelope or a slope, or a threshold where
the two can never be one and the same.

Of the edits that verification proves, the one is kept that moves the reward least in the mean, over records sampled
from the region of both records; of equals, the first of these. It is also kept where none is proved: what is verified
at the end will say so.

Several rules are mended one on top of the other. There is room for one envelope, since another would copy all of its
copies, and whatever lies on top of it is verified with all of them. So it comes last, for the rule for which it saves
the most, and the others take slopes before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import numpy as np

from rewarden.editor.methods.envelope import Envelope, region_rows
from rewarden.editor.methods.pairs import coupled
from rewarden.editor.methods.slope import Slope
from rewarden.editor.methods.task import Edited, Method, Task
from rewarden.editor.methods.threshold import Threshold
from rewarden.editor.statement import of_several
from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.deployed import forward
from rewarden.spec_lang.errors import EditError


def least_moving(task: Task) -> Edited:
    """Raises EditError where neither method has anything to offer for one of the rules."""
    if len(task.rules) == 1:
        return _least(task, task.rules[0], _tried(task, task.rules[0], sparing=True))
    now, edits = task, list[Edited]()
    alone = {rule: _tried(task, rule) for rule in task.rules}
    *before, last = sorted(task.rules, key=lambda rule: _saved(alone[rule]))
    for rule in (*before, last):
        own = replace(now, rules=(rule,))
        tries = alone[rule] if now is task else None  # what is made of the reward as it is need not be made twice
        try:
            done = _least(own, rule, tries) if rule == last else _slope(own, tries)
        except EditError:
            done = _least(own, rule, tries)
        edits.append(done)
        now = now.after(done)
    made = [edit for done in edits if (edit := done.artifact.edit) is not None]
    said = {key: text for edit in made for key, text in edit.statement.items()}
    kind = made[0].kind if len({edit.kind for edit in made}) == 1 else "patch"
    edit = Edit(kind, ", ".join(task.rules), of_several(said, task.rules))
    child = replace(now.artifact, parent=task.artifact.digest, edit=edit)
    reports = tuple(report for done in edits for report in done.reports)
    return Edited(child, reports, extremum=now.mender.extremum)


@dataclass(frozen=True, slots=True)
class _Try:
    """`moved`: summed over sampled records."""

    done: Edited
    proved: bool
    moved: float


_Tries = tuple[_Try | EditError | None, ...]  # an envelope, a slope, and a threshold if the rule is the only one


def _least(task: Task, rule: str, tries: _Tries | None = None) -> Edited:
    tries = _tried(task, rule) if tries is None else tries
    found = [one for one in tries if isinstance(one, _Try)]
    if not found:
        raise next(one for one in tries if isinstance(one, EditError))
    return min(found, key=lambda one: (not one.proved, one.moved)).done


def _slope(task: Task, tries: _Tries | None) -> Edited:
    slope = None if tries is None else tries[1]
    if isinstance(slope, EditError):
        raise slope
    return Slope().edit(task) if slope is None else slope.done


def _saved(tries: _Tries) -> float:
    """By how much less an envelope for one rule alone moves the reward than a slope."""
    less, more = (one.moved if isinstance(one, _Try) and one.proved else inf for one in tries)
    return more - less if less < inf else -inf


def _tried(task: Task, rule: str, *, sparing: bool = False) -> _Tries:
    """An envelope, where the rule has an outside, and a slope; or why there is none. `sparing`: the rule is the only
    one. Then a threshold is tried as well, and no slope is proved that moves the reward more than another edit that is
    proved, since the search for that may take minutes."""
    own = replace(task, rules=(rule,))
    found = coupled(task.claim(rule, whole=True), rule, task.target, task.ring)
    rows = region_rows(task.artifact, found)
    old = forward(task.artifact, rows).astype(np.float64)

    def moved_by(child: Artifact) -> float:
        return float(np.abs(forward(child, rows).astype(np.float64) - old).sum())

    def tried(method: Method) -> _Try | EditError:
        try:
            done = method.edit(own)
        except EditError as error:
            return error
        moved = moved_by(done.artifact)
        proved = isinstance(method, Slope)  # one that is not proved is refused
        proved = proved or task.mender.verify(own.after(done).rewards, [rule])[rule].verdict == "proved"
        return _Try(done, proved, moved)

    envelope = tried(Envelope()) if found.both else None
    if not sparing:
        return envelope, tried(Slope())
    threshold = tried(Threshold())
    most = min((one.moved for one in (envelope, threshold) if isinstance(one, _Try) and one.proved), default=inf)
    return envelope, tried(Slope(lambda child: moved_by(child) < most)), threshold
