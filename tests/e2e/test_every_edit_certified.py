"""Every kind of edit, once: what it promises is written, verified, certified, and checked by the kernel.

`python -m tests.e2e.test_every_edit_certified` prints the table of docs/editing.md: CPU time of each step, and sizes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import rewarden as rw
from rewarden.editor.mend import bounds_for
from rewarden.editor.patch import apply_patch
from rewarden.reward.artifact import Artifact
from rewarden.reward.store import load_artifact, save_artifact
from rewarden.spec_lang.spec import load_spec, parse_spec
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.options import VerifyOptions
from tests.unit.test_mend_near import RING, data, spec_of
from tests.unit.test_mend_near import reward as beside_rows
from tests.unit.test_methods import APART, CAPPED, HEAD, network

OPTIONS = VerifyOptions(budget=20_000, falsify_budget=4_000)
SLOWER = HEAD + (
    "must slower:\n  forall a, b: Step varying speed\n  given a.close and a.gap <= 4 [m] and a.speed <= b.speed\n"
    "  expect R(a) >= R(b)\n"
)
FEWER = HEAD + (
    "must fewer_lanes:\n  forall a, b: Step varying lanes\n  given a.gap <= 4 [m] and a.lanes <= b.lanes\n"
    "  expect R(a) >= R(b)\n"
)
BOTH = CAPPED + "must far:\n  forall s: Step\n  given s.gap >= 8 [m] and s.close\n  expect R(s) <= 0.2\n"
FAR = HEAD + BOTH[len(CAPPED) :]
NEAR = "must r:\n  forall s: S near bad within 1 %\n  expect R(s) <= quantile(R(bad), 1/2)\n"
Pair = tuple[Artifact, Artifact]  # child, parent


def mended(text: str, method: str, parent: Artifact) -> Artifact:
    child = rw.patch(parse_spec(text), method=method, verify_options=OPTIONS, R=parent).artifact
    assert child is not None
    assert child.digest != parent.digest
    return child


def by(text: str, method: str, seed: int, width: int = 4) -> Callable[[Path], Pair]:
    def made(_: Path) -> Pair:
        parent = network(seed, width)
        return mended(text, method, parent), parent

    return made


def near_rows(folder: Path) -> Pair:
    data(folder, 300)
    parent = beside_rows(0)
    spec = spec_of(NEAR, folder)
    child, _ = apply_patch(parent, bounds_for(spec, {"R": parent}, "r", RING)[0], certified_extremum)
    return child, parent


def stacked(folder: Path) -> tuple[Artifact, Artifact, Artifact]:
    """Root, one edit, and another on top, in a folder of their own."""
    root = network(1, 4)
    one = mended(CAPPED, "region", root)
    two = mended(FAR, "region", one)
    for name, artifact in (("root", root), ("one", one), ("two", two)):
        save_artifact(artifact, folder / name)
    return root, one, two


def squashed(folder: Path) -> Pair:
    root, _, _ = stacked(folder)
    return rw.squash(folder / "two").artifact, root


def reverted(folder: Path) -> Pair:
    _, _, two = stacked(folder)
    return rw.revert(folder / "two", "1").artifact, two


def merged(folder: Path) -> Pair:
    root = network(1, 4)
    for name, text in (("one", CAPPED), ("other", FAR)):
        save_artifact(mended(text, "region", root), folder / name)
    save_artifact(root, folder / "root")
    return rw.merge(folder / "one", folder / "other").artifact, load_artifact(folder / "one")


def baked(folder: Path) -> Pair:
    root = network(1, 4)
    child = mended(CAPPED, "region", root)
    return rw.bake(child, steps=200).artifact, child


KINDS: dict[str, Callable[[Path], Pair]] = {
    "ceiling on a region": by(CAPPED, "region", 1),
    "violated region": by(CAPPED, "violated", 1),
    "threshold": by(APART, "threshold", 1),
    "envelope": by(FEWER, "envelope", 2),
    "slope": by(SLOWER, "slope", 2),
    "near 300 rows": near_rows,
    "joined: two rules at once": by(BOTH, "auto", 1),
    "last layer": by(CAPPED, "last-layer", 1),
    "all layers, tuned": by(CAPPED, "tuning", 1),
    "squash": squashed,
    "revert": reverted,
    "merge": merged,
    "bake": baked,
}


WEIGHTS = ("last layer", "all layers, tuned", "bake")  # they move the reward everywhere


@dataclass(frozen=True)
class Seen:
    rules: tuple[str, ...]
    leaves: int
    bytes: int
    promising: float
    certifying: float
    checking: float


def seen(pair: Pair, folder: Path) -> Seen:
    """The promise of an edit, once the kernel has said that all of it holds."""
    child, parent = pair
    begun = time.process_time()
    folder.mkdir(parents=True)
    (folder / "edit.rwd").write_text(rw.promise(child, parent, rows=folder / "changed.jsonl"))
    promised = time.process_time()
    spec = load_spec(folder / "edit.rwd")
    found = rw.verify(spec, OPTIONS, R=child, Before=parent)
    assert {rule.verdict for rule in found.rules} == {"proved"}, [(r.rule, r.reason) for r in found.rules]
    rw.certify(found, out=folder / "certificate")
    certified = time.process_time()
    pair_of = {"R": folder / "R", "Before": folder / "Before"}
    for name, artifact in (("R", child), ("Before", parent)):
        save_artifact(artifact, pair_of[name])
    checked = rw.check_certificate(folder / "certificate", rewards=pair_of, spec=folder / "edit.rwd")
    assert checked.accepted
    assert {claim.verdict for claim in checked.kernel.claims} == {"proved"}
    return Seen(
        tuple(claim.rule for claim in checked.kernel.claims),
        sum(claim.leaves for claim in checked.kernel.claims),
        sum(path.stat().st_size for path in (folder / "certificate").rglob("*") if path.is_file()),
        promised - begun,
        certified - promised,
        time.process_time() - certified,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_what_an_edit_promises_is_certified_and_checked(kind: str, tmp_path: Path) -> None:
    told = seen(KINDS[kind](tmp_path), tmp_path / "promise")
    assert "inside" in told.rules
    assert ("outside" in told.rules) == (kind not in WEIGHTS)


@pytest.mark.parametrize("kind", ["ceiling on a region", "slope"])
def test_so_it_is_of_what_is_quick(kind: str, tmp_path: Path) -> None:
    told = seen(KINDS[kind](tmp_path), tmp_path / "promise")
    assert told.rules == ("inside", "outside")


if __name__ == "__main__":
    print("| edit | promise | leaves | certificate | promising | verifying and certifying | checking |")
    for name, made in KINDS.items():
        if len(sys.argv) > 1 and not any(word in name for word in sys.argv[1:]):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            one = seen(made(Path(scratch)), Path(scratch) / "promise")
        print(
            f"| {name} | {', '.join(one.rules)} | {one.leaves} | {one.bytes / 1000:.0f} kB | {one.promising:.1f} s "
            f"| {one.certifying:.1f} s | {one.checking:.1f} s |",
            flush=True,
        )
