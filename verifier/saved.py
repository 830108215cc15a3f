"""What a verification has come to, from time to time, so that another process can go on: `rewarden verify --resume`.

A state holds the verdicts of the claims that are finished (`kept`), and of the claim at work what each engine has
answered so far (a log), and every search in between (`saved_search`). Going on, the steps of the portfolio are taken
anew, in the same order: what the log answers is not asked again, and a search starts where it was saved. So the end is
the same, byte for byte, as without a break. What an engine has done since it could be saved last is done again.

The state is a `.npz` of plain arrays, one of them JSON text; nothing is unpickled.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rewarden.spec_lang.errors import UsageError
from rewarden.verifier.kept import lasting
from rewarden.verifier.regions import OpenBoxes
from rewarden.verifier.verdict import Reason, RuleResult, Work

if TYPE_CHECKING:
    from rewarden.verifier.branch import BranchAndBound
    from rewarden.verifier.engines.interface import Declined, Outcome, Part, Run
    from rewarden.verifier.options import VerifyOptions
    from rewarden.verifier.progress import Stop
    from rewarden.verifier.saved_search import Snapshot

FORMAT, VERSION = "rewarden-state", 1
EVERY = 5.0  # seconds between two saves
REST = 20  # times as long as a save takes, at least, until the next


class Saver:
    """A state that is read, kept up to date and written (mutable).

    `about` names what is verified, and how, and by what code: a state that says otherwise is refused. `write` takes the
    bytes of a state. UsageError G16 for a state about something else, G17 for one that is damaged.
    """

    def __init__(self, about: Mapping[str, str], write: Callable[[bytes], None], before: bytes | None = None) -> None:
        self.about, self.write = dict(about), write
        self.code = self.about["code"]
        self.key: str | None = None  # of the claim at work
        self.logs: list[list[dict[str, Any]]] = []  # by run
        self.searches: list[tuple[int, Callable[[], Snapshot | None]]] = []  # runs by number, those that can be saved
        self.next = time.monotonic() + EVERY
        self.pending = None if before is None else _read(before, self.about)  # what is not taken up yet
        self.active = False  # the claim at work is the pending one
        self.finished: dict[str, dict[str, Any]] = {} if self.pending is None else dict(self.pending.finished)

    # ── verdicts that are finished: a keeper ───────────────────────────────────────────────────
    earlier = False  # what is kept is of the same verification

    def wants(self, result: RuleResult, options: VerifyOptions) -> bool:
        return result.reason == Reason.BUDGET or lasting(result, options)

    def get(self, key: str) -> object | None:
        return self.finished.get(key)

    def put(self, key: str, kept: dict[str, Any]) -> None:
        self.finished[key] = kept

    def damaged(self, key: str, why: str) -> None:
        raise damaged(why)

    # ── the claim at work ──────────────────────────────────────────────────────────────────────
    def begin(self, key: str) -> None:
        """The engines are about to be asked about this claim."""
        self.key, self.logs, self.searches = key, [], []
        self.active = self.pending is not None and self.pending.key == key

    def done(self) -> None:
        """They have said all that they will."""
        if self.active:
            self.pending, self.active = None, False
        self.key, self.logs, self.searches = None, [], []

    def recorded(self, run: Run | Declined) -> Run | Declined:
        """The same run, whose answers are written down, and not asked for where they are."""
        from rewarden.verifier.engines.interface import Declined

        number, before = len(self.logs), self.pending if self.active else None
        self.logs.append([] if before is None else before.log(number))
        if isinstance(run, Declined):
            return run
        search: BranchAndBound | None = getattr(run, "search", None)
        ways = _ways(run, search)
        found = None if before is None or ways is None else before.snapshot(number)
        if ways is not None:
            self.searches.append((number, ways[0]))
        if ways is not None and found is not None:
            from rewarden.verifier.saved_search import StateError

            try:
                ways[1](found)
            except StateError as error:
                raise damaged(str(error)) from error
        return _Recorded(run, search, self.logs[number], found is not None)

    def attached(self, out: Callable[[], Snapshot | None], back: Callable[[Snapshot], None]) -> None:
        """One more search of the claim at work, which answers nothing that could be logged."""
        from rewarden.verifier.saved_search import StateError

        number, before = len(self.logs), self.pending if self.active else None
        self.logs.append([])
        self.searches.append((number, out))
        found = None if before is None else before.snapshot(number)
        if found is not None:
            try:
                back(found)
            except StateError as error:
                raise damaged(str(error)) from error

    def stopping(self, stop: Stop) -> Stop:
        """Saves now and then, wherever somebody asks whether to stop."""

        def asked() -> bool:
            now = time.monotonic()
            if now >= self.next:
                self.save()
                self.next = time.monotonic() + max(EVERY, REST * (time.monotonic() - now))
            return stop()

        return asked

    def save(self) -> None:
        """Writes the state as it is now: between two batches of any search."""
        running, arrays = self._running()
        told = {
            "format": FORMAT,
            "format_version": VERSION,
            "about": self.about,
            "finished": self.finished,
            "running": running,
        }
        text = np.frombuffer(json.dumps(told, sort_keys=True).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{"state": text, **arrays})
        self.write(buffer.getvalue())

    def _running(self) -> tuple[Mapping[str, Any] | None, dict[str, Any]]:
        before = self.pending
        if before is not None and not self.active:
            return before.running, {name: a for name, a in before.arrays.items() if name != "state"}
        if self.key is None:
            return None, {}
        taken = [(number, snapshot()) for number, snapshot in self.searches]
        snapshots = [(number, found) for number, found in taken if found is not None]
        logs, searches = list(self.logs), [{"run": number, **found.told} for number, found in snapshots]
        arrays = {f"r{number}.{name}": a for number, found in snapshots for name, a in found.arrays.items()}
        if before is not None and before.running is not None:  # runs that have not begun again yet
            later = [one for one in before.running["searches"] if one["run"] >= len(logs)]
            kept = tuple(f"r{one['run']}." for one in later)
            arrays |= {name: a for name, a in before.arrays.items() if name.startswith(kept)} if kept else {}
            logs, searches = [*logs, *before.running["logs"][len(logs) :]], [*searches, *later]
        return {"key": self.key, "logs": logs, "searches": searches}, arrays


def _ways(
    run: Run, search: BranchAndBound | None
) -> tuple[Callable[[], Snapshot | None], Callable[[Snapshot], None]] | None:
    """How a run is saved and how put where a saved one was; None for those that are asked again."""
    from rewarden.verifier.saved_search import restore, snapshot

    if search is not None:
        return partial(snapshot, search), partial(restore, search)
    out, back = getattr(run, "snapshot", None), getattr(run, "restore", None)
    return None if out is None or back is None else (out, back)


class _Recorded:
    """A run that is asked for what the log does not answer (mutable)."""

    def __init__(self, run: Run, search: BranchAndBound | None, log: list[dict[str, Any]], restored: bool) -> None:
        self.run, self.search, self.log, self.restored = run, search, log, restored
        self.answered, self.known = 0, len(log)
        self.owed: list[int] = []

    def go(self, work: int) -> Outcome:
        if self.answered < self.known:
            outcome = _outcome_in(self.log[self.answered], self.search)
            self.answered += 1
            if not self.restored:
                self.owed.append(work)
            return outcome
        for before in self.owed:  # an engine without a search that is saved: it has to come here by itself
            self.run.go(before)
        self.owed = []
        outcome = self.run.go(work)
        whole = outcome.reason != Reason.STOPPED if self.search is None else self.search.course is None
        if outcome.status == "open" and whole:
            self.log.append(_outcome_out(outcome, self.search))
        return outcome


# ── answers of engines ─────────────────────────────────────────────────────────────────────────
def _outcome_out(outcome: Outcome, search: BranchAndBound | None) -> dict[str, Any]:
    """Of an open outcome; a search that is saved can say itself what is open."""
    stopped = search is not None and outcome.reason == Reason.STOPPED  # just as it had come to its end
    return {
        "reason": (Reason.BUDGET if stopped else outcome.reason).value,
        "work": {name: getattr(outcome.work, name) for name in Work.__slots__},
        "settled": float(outcome.settled).hex(),
        "left": None if outcome.left is None else [_part_out(part) for part in outcome.left],
        "region": None if outcome.region is None or search is not None else _region_out(outcome.region),
    }


def _outcome_in(told: Mapping[str, Any], search: BranchAndBound | None) -> Outcome:
    from rewarden.verifier.engines.interface import Outcome, Part

    try:
        left = told["left"]
        return Outcome(
            status="open",
            reason=Reason(told["reason"]),
            work=Work(**{name: int(told["work"][name]) for name in Work.__slots__}),
            settled=float.fromhex(told["settled"]),
            left=None
            if left is None
            else tuple(
                Part(
                    int(p["goal"]),
                    int(p["instance"]),
                    tuple((Fraction(lo), Fraction(hi)) for lo, hi in p["box"]),
                    tuple((int(c), int(a)) for c, a in p["facts"]),
                )
                for p in left
            ),
            region=_region_in(told["region"]) if search is None else search.open_region(),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise damaged(f"{type(error).__name__}: {error}") from error


def _part_out(part: Part) -> dict[str, Any]:
    return {
        "goal": part.goal,
        "instance": part.instance,
        "box": [[str(lo), str(hi)] for lo, hi in part.box],
        "facts": [list(fact) for fact in part.facts],
    }


def _region_in(told: Mapping[str, Any] | None) -> OpenBoxes | None:
    if told is None:
        return None
    return OpenBoxes(np.array(told["instance"], np.int64), _floats_in(told["lo"]), _floats_in(told["hi"]))


def _region_out(region: OpenBoxes) -> dict[str, Any]:
    return {
        "instance": region.instance.tolist(),
        "lo": [[x.hex() for x in row] for row in region.lo.tolist()],
        "hi": [[x.hex() for x in row] for row in region.hi.tolist()],
    }


def _floats_in(rows: list[list[str]]) -> NDArray[np.float64]:
    return np.array([[float.fromhex(x) for x in row] for row in rows], np.float64)


# ── reading ────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True, eq=False)
class _Saved:
    finished: dict[str, dict[str, Any]]
    running: Mapping[str, Any] | None
    arrays: Mapping[str, Any]

    @property
    def key(self) -> str | None:
        return None if self.running is None else self.running["key"]

    def log(self, number: int) -> list[dict[str, Any]]:
        logs = [] if self.running is None else self.running["logs"]
        return list(logs[number]) if number < len(logs) else []

    def snapshot(self, number: int) -> Snapshot | None:
        from rewarden.verifier.saved_search import Snapshot

        for told in [] if self.running is None else self.running["searches"]:
            if told["run"] == number:
                prefix = f"r{number}."
                return Snapshot(
                    told, {k.removeprefix(prefix): a for k, a in self.arrays.items() if k.startswith(prefix)}
                )
        return None


def _read(data: bytes, about: Mapping[str, str]) -> _Saved:
    try:
        arrays = _arrays(data)
        told = json.loads(arrays["state"].tobytes())
        if (told["format"], told["format_version"]) != (FORMAT, VERSION):
            raise ValueError("it is no state")
        theirs, finished, running = dict(told["about"]), dict(told["finished"]), told["running"]
        if running is not None:
            if not (isinstance(running["key"], str) and all(isinstance(log, list) for log in running["logs"])):
                raise ValueError("the log is none")
            if not all(isinstance(one["run"], int) for one in running["searches"]):
                raise ValueError("a search is none")
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError) as error:
        raise damaged(str(error)) from error
    for name, value in about.items():
        if theirs.get(name) != value:
            raise UsageError(
                "G16",
                f"the saved state is about another {name}",
                help="name another file to start anew, or verify what it is about",
            )
    return _Saved(finished, running, arrays)


def _arrays(data: bytes) -> dict[str, Any]:
    """Plain arrays, none larger than the file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")
        if sum(member.file_size for member in archive.infolist()) > len(data):
            raise ValueError("it says to hold more than it does")
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def damaged(why: str) -> UsageError:
    """What to raise for a state that cannot be used."""
    return UsageError("G17", f"the saved state cannot be used: {why}", help="name another file to start anew")
