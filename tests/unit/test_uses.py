"""`use`: other files' declarations, found, renamed, kept inside the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewarden.spec_lang import SpecError, load_spec, parse_spec

VOCABULARY = """spec vocabulary v1
features Step {
  x : real [m] in 0 .. 10
  zone : enum {aisle, dock}
}
assume s: Step = s.zone == dock implies s.x <= 5 [m]
param dock: real = 3
param eps: real = dock / 30
let phi(s: Step) = s.x / 1 [m] + dock
region close(s: Step) = s.x < 2 [m] and s.zone == dock
relation move(a: Step, b: Step) = |b.x - a.x| <= 1 [m]
data logs: Step from "logs.csv"
reward R(s: Step)
must left_behind: forall s: Nowhere expect R(s) > 0
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.rwd"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "main.rwd"


def codes(path: Path, **options: object) -> list[str]:
    with pytest.raises(SpecError) as refusal:
        load_spec(path, **options)  # type: ignore[arg-type]
    return [d.code for d in refusal.value.diagnostics]


def test_everything_that_a_file_declares_has_a_dotted_name(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        sub__vocabulary=VOCABULARY,
        main="""spec main v1
use "sub/vocabulary.rwd" as v
reward Q(s: v.Step)
param mine: real = v.eps * 2
must a: forall s: v.Step given v.close(s) expect v.R(s) <= Q(s) + v.phi(s) + mine + quantile(v.R(v.logs), 0.5)
must b: forall s: v.Step near v.logs within 5 % expect Q(s) > v.dock
must c: trace t: v.Step within 2 steps via v.move expect sum(Q(t)) >= 0
must d: forall s in v.logs given s.zone == dock expect Q(s) > 0
""",
    )
    (tmp_path / "sub" / "logs.csv").write_text("x,zone\n1,dock\n7,aisle\n")
    spec = load_spec(main)
    assert list(spec.features) == ["v.Step"]
    assert list(spec.rewards) == ["v.R", "Q"]
    assert [rule.name for rule in spec.rules] == ["a", "b", "c", "d"]
    assert spec.params["mine"].value == spec.params["v.eps"].value * 2
    assert spec.rows("v.logs").values.shape == (2, 3)
    assert len(spec.obligation("b").instances.anchors) == 2  # type: ignore[union-attr]
    assert spec.rule("a").rewards == ("v.R", "Q")
    assert spec.rule("a").data == ("v.logs",)
    assert load_spec(main, params={"v.dock": 6}).params["v.eps"].value * 5 == 1


def test_one_file_by_two_ways_is_one_vocabulary(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        vocabulary=VOCABULARY,
        left='spec left v1\nuse "vocabulary.rwd" as v\nregion low(s: v.Step) = s.x < v.eps * 1 [m]\n',
        right='spec right v1\nuse "vocabulary.rwd" as w\nregion high(s: w.Step) = not w.close(s)\n',
        main="""spec main v1
use "left.rwd" as left
use "right.rwd" as right
use "vocabulary.rwd" as v
must a: forall s: v.Step given left.low(s) and right.high(s) expect v.R(s) > 0 or right.w.close(s)
must b: forall s: right.w.Step expect left.v.R(s) > left.v.eps
""",
    )
    (tmp_path / "logs.csv").write_text("x,zone\n1,dock\n")
    spec = load_spec(main)
    assert list(spec.features) == ["v.Step"]
    assert spec.rule("b").rewards == ("v.R",)


def test_the_digest_follows_what_is_used(tmp_path: Path) -> None:
    main = write(
        tmp_path, v=VOCABULARY, main='spec main v1\nuse "v.rwd" as v\nmust a: forall s: v.Step expect v.R(s) > v.eps\n'
    )
    before = load_spec(main).digest
    write(tmp_path, v=VOCABULARY + "# a remark\n")
    assert load_spec(main).digest == before
    write(tmp_path, v=VOCABULARY.replace("= 3", "= 4"))
    assert load_spec(main).digest != before


def test_circles_are_refused_with_the_way_round(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        a='spec a v1\nuse "b.rwd" as b\n',
        b='spec b v1\nuse "main.rwd" as m\n',
        main='spec main v1\nuse "a.rwd" as a\n',
    )
    with pytest.raises(SpecError) as refusal:
        load_spec(main)
    [circle] = [d for d in refusal.value.diagnostics if d.code == "L08"]
    assert '"a.rwd" → "b.rwd" → "main.rwd"' in circle.message
    write(tmp_path, main='spec main v1\nuse "main.rwd" as a\n')
    assert codes(main) == ["L08"]


def test_files_outside_the_folder_need_leave(tmp_path: Path) -> None:
    write(tmp_path / "shared", vocabulary=VOCABULARY)
    (tmp_path / "shared" / "logs.csv").write_text("x,zone\n1,dock\n")
    main = write(
        tmp_path / "mine",
        main='spec main v1\nuse "../shared/vocabulary.rwd" as v\nmust a: forall s in v.logs expect true\n',
    )
    assert codes(main) == ["L09"]
    assert load_spec(main, allow=(tmp_path / "shared",)).rows("v.logs").values.shape == (1, 3)
    (tmp_path / "mine" / "link.rwd").symlink_to(tmp_path / "shared" / "vocabulary.rwd")
    main.write_text('spec main v1\nuse "link.rwd" as v\n')
    assert codes(main) == ["L09"]  # a link does not lead out either


@pytest.mark.parametrize(
    ("used", "code"),
    [
        (None, "L07"),
        (b"\xff\xfe\x00", "P08"),
        (b"nonsense", "P01"),
        (b"spec v v1\nlet f(a: T) = a", None),
        (b"x" * 400_000, "P05"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, used: bytes | None, code: str | None) -> None:
    main = write(tmp_path, main='spec main v1\nuse "v.rwd" as v\n')
    if used is not None:
        (tmp_path / "v.rwd").write_bytes(used)
    found = codes(main)
    assert code is None or code in found
    assert ("L07" in found) == (code is not None)


def test_a_used_file_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "v.rwd").mkdir()
    assert codes(write(tmp_path, main='spec main v1\nuse "v.rwd" as v\n')) == ["L07"]


def test_mistakes_are_told_where_they_stand(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        v=VOCABULARY.replace("s.x < 2 [m]", "s.y < 2 [m]"),
        main='spec main v1\nuse "v.rwd" as v\nmust a: forall s: v.Stop expect v.close(s) or v.far(s) or v.epz > 1\n',
    )
    with pytest.raises(SpecError) as refusal:
        load_spec(main)
    found = {(d.code, d.labels[0].span.source.name) for d in refusal.value.diagnostics}
    assert found == {("N02", "v.rwd"), ("N03", "main.rwd"), ("N07", "main.rwd"), ("N01", "main.rwd")}
    assert "did you mean v.Step?" in refusal.value.render()


def test_records_of_a_used_file_hide_nothing(tmp_path: Path) -> None:
    main = write(
        tmp_path,
        v="spec v v1\nfeatures T { x : real in 0 .. 1 }\nparam a: real = 1\nregion g(a: T) = a.x > 0\n",
        main='spec main v1\nuse "v.rwd" as v\nmust m: forall s: v.T expect v.g(s)\n',
    )
    assert "N10" in codes(main)


def test_too_many_files(tmp_path: Path) -> None:
    files = {f"f{k}": f'spec f{k} v1\nuse "f{k + 1}.rwd" as n\n' for k in range(100)}
    write(tmp_path, **files)
    assert "L10" in codes(tmp_path / "f0.rwd")


def test_text_without_a_folder() -> None:
    with pytest.raises(SpecError, match="no folder"):
        parse_spec('spec main v1\nuse "v.rwd" as v\n')
