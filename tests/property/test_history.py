"""Histories: any sequence of patch, revert, squash and merge keeps what each promised, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewarden.cli import run as cli
from rewarden.editor.history.bake import BakeOptions, bake
from rewarden.editor.history.chain import Chain
from rewarden.editor.history.merge import merge
from rewarden.editor.history.overlap import Columns, broken, clash, near_each_other
from rewarden.editor.history.revert import revert
from rewarden.editor.history.squash import squash
from rewarden.editor.history.stored import Stored, all_stored, pushed, rebuilt
from rewarden.editor.patch import apply_patch
from rewarden.editor.region import Bound
from rewarden.history import chain_of, difference, situation
from rewarden.reward import lineage
from rewarden.reward.artifact import Artifact, Edit, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.exact import evaluate
from rewarden.reward.graph import AffineMap, Graph, Input
from rewarden.reward.store import load_artifact, save_artifact
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.features import Feature, RecordType
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.options import VerifyOptions
from tests.property.test_patch import PREMISES, SPEC, bound, network, points

Edits = list[tuple[Bound, Artifact]]


def edited(base: Artifact, edits: list[Bound]) -> list[Artifact]:
    """The line of edits, oldest first, the base among them."""
    line = [base]
    for edit in edits:
        line.append(apply_patch(line[-1], edit, certified_extremum)[0])
    return line


def one_line(base: Artifact, edits: list[Bound]) -> list[Bound]:
    """Those of the edits that can be made one after the other: what contradicts an earlier one is refused."""
    made, newest = list[Bound](), base
    for edit in edits:
        try:
            newest = apply_patch(newest, edit, certified_extremum)[0]
        except EditError as refused:
            expected(refused, "E34", "E35")
            assert any(earlier.kind != edit.kind for earlier in made)
        else:
            made.append(edit)
    return made


def expected(refused: EditError, *codes: str) -> None:
    assert refused.code in codes


def chain(line: list[Artifact]) -> Chain:
    return Chain.of(tuple(reversed(line)))


def bounds_of(base: Artifact, seed: int, kinds: list[bool]) -> list[Bound]:
    """One bound per kind (True: a ceiling), each on a premise of its own, at levels that bite."""
    rng = np.random.default_rng(seed)
    found = []
    for number, ceiling in enumerate(kinds):
        premise = PREMISES[int(rng.integers(len(PREMISES)))]
        values = forward(base, points(seed, bound(premise, "0").polytopes, 60))
        level = float(np.quantile(values, 0.4 if ceiling else 0.6))
        edit = bound(premise, f"({level:.6f})", "<=" if ceiling else ">=")
        found.append(replace(edit, rule=f"rule{number}"))
    return found


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.tobytes() == b.tobytes()


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.booleans(), min_size=1, max_size=4), st.integers(0, 3))
def test_reverting_any_edit_leaves_what_the_others_make(seed: int, kinds: list[bool], which: int) -> None:
    base = network(seed)
    edits = one_line(base, bounds_of(base, seed, kinds))
    line = edited(base, edits)
    number = which % len(edits)  # 0 is the newest
    done = revert(chain(line), number, certified_extremum)
    left = [edit for k, edit in enumerate(edits) if k != len(edits) - 1 - number]
    if number == 0:
        assert done.artifact is line[-2]
        return
    assert done.artifact.parent == line[len(edits) - 1 - number].digest
    x = np.concatenate([points(seed + k, edit.polytopes, 60) for k, edit in enumerate(edits)])
    if (
        len({edit.kind for edit in edits}) == 1
    ):  # of one kind: as if that edit had never been made, but for slopes, which only rose
        never = edited(base, left)[-1]
        flat = np.array([any(inside(e, row) for e in edits) or all(far(e, row) for e in edits) for row in x])
        assert same(forward(done.artifact, x)[flat], forward(never, x)[flat])
    newest = left[-1]
    sign = 1 if newest.kind == "ceiling" else -1
    for row, value in zip(x, forward(done.artifact, x), strict=True):
        if inside(newest, row):
            assert sign * Fraction(float(value)) <= sign * newest.level
        if all(far(edit, row) for edit in left):
            assert evaluate(done.artifact, exact(row)) == evaluate(base, exact(row))


def exact(row: np.ndarray) -> list[Fraction]:
    return [Fraction(float(v)) for v in row]


def distance(edit: Bound, row: np.ndarray) -> Fraction:
    x = exact(row)
    return min(
        max(sum((c * v for c, v in zip(r.coefficients, x, strict=True)), -r.offset) for r in polytope.rows)
        for polytope in edit.polytopes
    )


def inside(edit: Bound, row: np.ndarray) -> bool:
    return distance(edit, row) <= 0


def far(edit: Bound, row: np.ndarray) -> bool:
    return distance(edit, row) >= 1


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.booleans(), min_size=2, max_size=4))
def test_squashing_changes_no_bit(seed: int, kinds: list[bool]) -> None:
    base = network(seed)
    edits = bounds_of(base, seed, kinds)
    # once more, deeper: what the first one did, it covers
    again = replace(edits[0], rule="again", level=edits[0].level - (1 if kinds[0] else -1))
    edits = one_line(base, [*edits, again])
    line = edited(base, edits)
    done = squash(chain(line), len(line) - 1)
    assert done.artifact.parent == base.digest
    assert len(done.artifact.patches) + len(done.dropped) == len(line[-1].patches)
    for k, edit in enumerate(edits):
        x = points(seed + k, edit.polytopes, 80)
        assert same(forward(done.artifact, x), forward(line[-1], x))


def test_a_patch_that_another_covers_is_left_out() -> None:
    base = network(1)
    narrow = bound("s.gap <= 10 [m] and s.speed >= 20 [m/s]", "(0.5)")
    wide = replace(bound("s.gap <= 60 [m]", "(0.25)"), rule="wide")
    line = edited(base, [narrow, wide])
    done = squash(chain(line), 2)
    assert [patch.rule for patch in done.dropped] == ["capped"]
    x = points(3, narrow.polytopes, 400)
    assert same(forward(done.artifact, x), forward(line[-1], x))
    apart = edited(base, [wide, narrow])  # the narrow one's level is higher: it does nothing wherever it stands
    assert [patch.rule for patch in squash(chain(apart), 2).dropped] == ["capped"]
    lower = edited(base, [wide, replace(narrow, level=Fraction(0))])
    assert squash(chain(lower), 2).dropped == ()


@pytest.mark.parametrize(("gates", "levels"), [((5, 1 / 2), (0, 0)), ((1 / 2, -4), (0, -1))])
def test_a_strangers_patches_are_left_where_they_are(gates: tuple[float, float], levels: tuple[int, int]) -> None:
    """A gate may be anywhere in a file. Of one that is not at the rim's edge it is not known where the patch acts."""
    kind = RecordType("S", (Feature("x", "real", Fraction(0), Fraction(10)),))
    tensors = {"w": np.ones((1, 1), np.float32), "b": np.zeros(1, np.float32)}
    base = Artifact((RewardRecord("s", kind),), Graph((Input(), AffineMap(0, "w", "b")), 1), tensors, "exact")
    line = [base]
    for rule, offset, gate, level in zip("qp", (3, 1), reversed(gates), reversed(levels), strict=True):
        rows, offsets = np.ones((1, 1), np.float32), np.array([offset], np.float32)
        numbers = (Fraction(level), Fraction(0), Fraction(1, 64), Fraction(gate))
        made = pushed(line[-1], Stored(rule, "ceiling", rows, offsets, *numbers))
        line.append(replace(made, parent=line[-1].digest, edit=Edit("patch", rule, {})))
    done = squash(chain(line), 2)
    x = np.linspace(0, 10, 501, dtype=np.float32)[:, None]
    assert same(forward(done.artifact, x), forward(line[-1], x))


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_merging_keeps_both_lines_or_shows_where_it_cannot(seed: int, one: bool, two: bool) -> None:
    base = network(seed)
    first, second = bounds_of(base, seed, [one, two])
    mine, yours = edited(base, [first]), edited(base, [second])
    done = merge(chain(mine), chain(yours), certified_extremum)
    x = np.concatenate([points(seed, first.polytopes, 150), points(seed + 1, second.polytopes, 150)])
    if done.artifact is None:
        assert one != two
        for conflict in done.conflicts:
            row = np.array([float(v) for v in conflict.point])
            if conflict.demanded:
                assert distance_exact(first, conflict.point) <= 0
                assert distance_exact(second, conflict.point) <= 0
            assert set(situation(base, conflict.point)["s"]) == {"speed", "gap", "close", "lane"}
            assert len(row) == base.width
        return
    values = forward(done.artifact, x)
    for row, value in zip(x, values, strict=True):
        for edit in (first, second):
            sign = 1 if edit.kind == "ceiling" else -1
            if inside(edit, row):
                assert sign * evaluate(done.artifact, exact(row)) <= sign * edit.level
                assert sign * Fraction(float(value)) <= sign * edit.level
        if far(first, row) and far(second, row):
            assert evaluate(done.artifact, exact(row)) == evaluate(base, exact(row))


def distance_exact(edit: Bound, x: tuple[Fraction, ...]) -> Fraction:
    return min(
        max(sum((c * v for c, v in zip(r.coefficients, x, strict=True)), -r.offset) for r in polytope.rows)
        for polytope in edit.polytopes
    )


def test_opposite_demands_in_one_place_are_a_clash_with_a_situation() -> None:
    base = network(2)
    low = bound("s.gap <= 50 [m]", "(0.1)")
    high = replace(bound("s.speed >= 20 [m/s]", "(0.9)", ">="), rule="high")
    done = merge(chain(edited(base, [low])), chain(edited(base, [high])), certified_extremum)
    assert done.artifact is None
    (conflict,) = done.conflicts
    assert conflict.demanded
    gap, speed = conflict.point[1], conflict.point[0]
    assert gap <= 50
    assert speed >= 20


def test_a_rim_in_the_others_region_is_told_apart() -> None:
    base = network(2)
    low = bound("s.gap <= 50 [m]", "(0.1)")
    close = replace(bound("s.gap >= 51 [m]", "(50)", ">="), rule="close")  # 1 m apart, with rims of 5 m
    columns = Columns.of(base.records)
    (one,), (two,) = (all_stored(edited(base, [edit])[-1]) for edit in (low, close))
    assert clash(one, two, columns) is None
    assert broken(one, two, columns) is not None
    apart = replace(bound("s.gap >= 70 [m]", "(50)", ">="), rule="apart")
    (three,) = all_stored(edited(base, [apart])[-1])
    assert broken(one, three, columns) is None
    done = merge(chain(edited(base, [low])), chain(edited(base, [apart])), certified_extremum)
    assert done.artifact is not None


def test_only_patches_that_are_near_each_other_are_asked_about_and_raised() -> None:
    base = network(5)
    columns = Columns.of(base.records)
    apart = [
        bound(
            f"{20 * k} [m] <= s.gap and s.gap <= {20 * k + 6} [m]", "(-9)" if k % 2 else "(9)", "<=" if k % 2 else ">="
        )
        for k in range(4)
    ]
    apart = [replace(edit, rule=f"rule{k}") for k, edit in enumerate(apart)]
    mine, theirs = edited(base, apart[:2]), edited(base, apart[2:])
    ours, others = all_stored(mine[-1]), all_stored(theirs[-1])
    assert list(near_each_other(ours, others)) == []
    done = merge(chain(mine), chain(theirs), certified_extremum)
    assert done.artifact is not None
    assert [a.same(b) for a, b in zip(all_stored(done.artifact), (*ours, *others), strict=True)] == [True] * 4
    for seed in range(3):
        kinds = [True, False, True, False, False]
        some = [all_stored(edited(base, [edit])[-1])[0] for edit in bounds_of(base, seed, kinds)]
        near = set(near_each_other(some, some))
        for j, one in enumerate(some):
            for k, other in enumerate(some):
                assert broken(one, other, columns) is None or (j, k) in near


def test_what_is_more_than_patches_cannot_be_moved() -> None:
    base = network(4)
    line = edited(base, bounds_of(base, 4, [True, True]))
    weights = {**line[-1].tensors, "c.b": line[-1].tensors["c.b"] + 1}
    changed = replace(line[-1], tensors=weights, parent=line[-1].digest)
    again = apply_patch(changed, bounds_of(base, 5, [True])[0], certified_extremum)[0]
    with pytest.raises(EditError) as caught:
        revert(chain([*line, changed, again]), 2, certified_extremum)
    assert caught.value.code == "E31"
    assert changed.digest[:19] in caught.value.message
    with pytest.raises(EditError) as caught:
        merge(chain(line), chain(line[:2]), certified_extremum)
    assert caught.value.code == "E32"
    with pytest.raises(EditError) as caught:
        merge(chain(line), chain([network(9)]), certified_extremum)
    assert caught.value.code == "E32"
    with pytest.raises(EditError) as caught:
        chain(line).number("nothing")
    assert caught.value.code == "E30"
    with pytest.raises(EditError) as caught:
        squash(chain(line), 9)
    assert caught.value.code == "E30"
    assert "2 edits at hand, not 9" in caught.value.message


def test_a_long_line_is_told_by_manifests_and_few_of_it_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each artifact of a line holds all patches below it: to load them all takes the square of what one takes."""
    base = network(1)
    line = [base]
    for k in range(12):
        edit = replace(bound(f"{5 * k} [m] <= s.gap and s.gap <= {5 * k + 1} [m]", f"(-{k})"), rule=f"rule{k}")
        line.append(apply_patch(line[-1], edit, certified_extremum)[0])
    for k, artifact in enumerate(line):
        save_artifact(artifact, tmp_path / f"a{k:02}")
    loaded = list[str]()

    def counted(path: Path) -> Artifact:
        loaded.append(path.name)
        return load_artifact(path)

    monkeypatch.setattr(lineage, "load_artifact", counted)
    told = chain_of(tmp_path / "a12")
    assert [step.digest for step in told.steps] == [artifact.digest for artifact in reversed(line)]
    assert loaded == []
    done = revert(told, 11, certified_extremum)
    assert loaded == ["a00", "a01"]
    assert done.artifact.manifest_bytes == revert(chain(line), 11, certified_extremum).artifact.manifest_bytes
    loaded.clear()
    squashed = squash(chain_of(tmp_path / "a12"), 12)
    assert loaded == ["a00"]
    assert squashed.artifact.digest == squash(chain(line), 12).artifact.digest
    (tmp_path / "a05" / "tensors.safetensors").write_bytes(b"")  # nobody needs it
    assert revert(chain_of(tmp_path / "a12"), 11, certified_extremum).artifact.digest == done.artifact.digest
    with pytest.raises(EditError) as caught:
        revert(chain_of(tmp_path / "a12"), 6, certified_extremum)
    assert caught.value.code == "E30"
    assert "a05" in caught.value.message


def test_what_several_edits_promise_together_names_every_rule_and_no_fix_that_is_undone() -> None:
    base = network(3)
    low = replace(bound("s.gap <= 10 [m]", "(-0.5)"), rule="low")
    fast = replace(bound("s.speed >= 30 [m/s] and s.gap >= 40 [m]", "(-0.25)"), rule="fast")
    said = squash(chain(edited(base, [low, fast])), 2).artifact.edit.statement
    assert "at most -0.5 wherever the premise of low" in said["low.fix"]
    assert "at most -0.25 wherever the premise of fast" in said["fast.fix"]
    assert "low, fast" in said["locality"]
    assert "continuity" in said
    high = replace(bound("s.gap >= 12 [m]", "(9)", ">="), rule="high")  # its rim of 5 m reaches into that of low
    said = squash(chain(edited(base, [low, high])), 2).artifact.edit.statement
    assert "high.fix" in said
    assert "low.fix" not in said


def test_where_a_level_lay_in_the_data_is_said_of_the_reward_that_the_edit_was_made_on() -> None:
    base = network(3)
    low = replace(bound("s.gap <= 10 [m]", "(-0.5)"), rule="low")
    fast = replace(bound("s.speed >= 30 [m/s] and s.gap >= 40 [m]", "(-0.25)"), rule="fast", anchor="3 of 9 rows are")
    line = edited(base, [low, fast])
    assert line[-1].edit is not None
    assert line[-1].edit.statement["anchor"] == "3 of 9 rows are"
    moved = revert(chain(line), 1, certified_extremum).artifact  # the rows may lie otherwise now
    once = moved.edit.statement["fast.anchor"]
    assert once == "of the reward that it was made on: 3 of 9 rows are"
    again = squash(chain([base, moved]), 1).artifact.edit.statement
    assert again["fast.anchor"] == once


def test_a_difference_is_proved_where_there_is_none_and_bounded_where_there_is() -> None:
    base = network(6, width=4)
    child = edited(base, [bound("s.gap <= 10 [m]", "(-0.5)")])[-1]
    quick = VerifyOptions(budget=2_000, coverage_budget=2_000)
    assert difference(base, base).same
    renamed = replace(base, parent=child.digest)
    assert difference(base, renamed).same
    found = difference(base, child, quick)
    assert not found.same
    assert found.identical is not None
    shares = found.identical["same"].coverage_details.shares
    assert shares["proved"] > Fraction(8, 10)  # beyond gap = 15 m they are one
    assert found.most is not None
    x = points(1, bound("s.gap <= 10 [m]", "0").polytopes, 2000)
    assert np.abs(forward(base, x).astype(float) - forward(child, x)).max() <= found.most + 1e-6


def test_baking_gives_a_plain_network_near_the_patched_reward() -> None:
    base = network(8, width=32)
    x = points(1, bound("s.gap <= 30 [m]", "0").polytopes, 2000)
    level = float(np.quantile(forward(base, x), 0.2))
    line = edited(base, [bound("s.gap <= 30 [m]", f"({level:.6f})")])
    before = np.abs(forward(base, x) - forward(line[-1], x))
    done = bake(line[-1], BakeOptions(steps=300))
    after = np.abs(forward(done.artifact, x) - forward(line[-1], x))
    assert done.artifact.patches == ()
    assert done.artifact.parent == line[-1].digest
    assert done.artifact.graph == base.graph
    assert after.mean() < before.mean()
    assert done.mean < done.beneath
    twice = [bake(line[-1], BakeOptions(steps=10)).artifact.digest for _ in range(2)]
    assert twice[0] == twice[1]
    with pytest.raises(EditError):
        bake(base)


def test_a_network_that_could_not_learn_its_patches_is_not_written_and_the_ways_out_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = network(8)
    spec, low = tmp_path / "s.rwd", bound("s.gap <= 30 [m]", "(-3)")
    spec.write_text(SPEC.format(premise="s.gap <= 30 [m]", level="(-3)", relation="<="))
    save_artifact(edited(base, [low])[-1], tmp_path / "patched")
    arguments = ["bake", str(tmp_path / "patched"), "--spec", str(spec), "-o", str(tmp_path / "baked"), "-q"]
    assert cli([*arguments, "--steps", "1"]) == 1
    told = capsys.readouterr().out
    assert f"not written: not proved any more: {low.rule}" in told
    assert "more --steps than 1 may keep them" in told
    assert not (tmp_path / "baked").exists()


def test_rebuilding_with_the_same_patches_is_the_same_reward() -> None:
    base = network(8)
    line = edited(base, one_line(base, bounds_of(base, 8, [True, False, True])))
    again = rebuilt(line[-1], all_stored(line[-1]))
    x = points(8, bound(PREMISES[0], "0").polytopes, 200)
    assert same(forward(again, x), forward(line[-1], x))


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = network(3)
    one, two = bound("s.gap <= 10 [m]", "(-0.5)"), replace(bound("s.speed >= 30 [m/s]", "(-0.25)"), rule="fast")
    line = edited(base, [one, two])
    other = edited(base, [two])[-1]
    for name, artifact in (("base", base), ("one", line[1]), ("both", line[2]), ("other", other)):
        save_artifact(artifact, tmp_path / name)

    def there(*names: str) -> list[str]:
        return [str(tmp_path / name) for name in names]

    assert cli(["revert", *there("both"), "-o", *there("back")]) == 0
    for file in ("manifest.json", "tensors.safetensors"):
        assert (tmp_path / "back" / file).read_bytes() == (tmp_path / "one" / file).read_bytes()
    assert cli(["revert", *there("both"), "--edit", "capped", "-o", *there("fast")]) == 0
    assert load_artifact(tmp_path / "fast").tensors_bytes == other.tensors_bytes
    assert cli(["squash", *there("both"), "-o", *there("squashed")]) == 0
    assert cli(["merge", *there("one", "other"), "-o", *there("merged")]) == 0
    assert len(load_artifact(tmp_path / "merged").patches) == 2
    assert cli(["show", *there("both"), "0"]) == 0
    assert "speed >= 30" in capsys.readouterr().out
    high = edited(base, [replace(bound("s.gap <= 5 [m]", "(9)", ">="), rule="high")])[-1]
    save_artifact(high, tmp_path / "high")
    assert cli(["merge", *there("one", "high"), "-o", *there("nothing")]) == 1
    assert "at the same place" in capsys.readouterr().out
    assert not (tmp_path / "nothing").exists()
    assert cli(["revert", *there("base"), "-o", *there("nothing")]) == 2
    lonely = tmp_path / "elsewhere"
    lonely.mkdir()
    save_artifact(line[2], lonely / "both")
    assert cli(["revert", str(lonely / "both"), "-o", *there("nothing")]) == 2
    assert "--in" in capsys.readouterr().err
    assert cli(["revert", str(lonely / "both"), "--in", str(tmp_path), "-o", *there("found")]) == 0
