"""Rules that rest on data: near rows, over rows, shares, data constants; and data that changed or cannot be read."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from rewarden.spec_lang import load_spec
from rewarden.spec_lang.compare.align import Key, Rows
from rewarden.spec_lang.compare.model import Comparison, RuleChange
from rewarden.spec_lang.compare.specs import compare_specs

HEAD = """spec small v1
features Step { speed: real [m/s] in 0 .. 10  gap: real [m] in 0 .. 50  wet: bool }
reward R(s: Step)
data logs: Step from "logs.csv"
data prefs: (better: Step, worse: Step) from "prefs.csv"
"""
COLUMNS = ("speed", "gap", "wet")


def row(k: int) -> str:
    return f"{(k * 7) % 40 / 4},{(k * 13) % 200 / 4},{'true' if k % 3 else 'false'}"


def folder_of(place: Path, rows: list[int], columns: tuple[int, ...] = (0, 1, 2)) -> Path:
    """A folder with the data; rows are distinct for 0 <= k < 40."""
    place.mkdir()
    lines = [",".join(COLUMNS[c] for c in columns)]
    lines += [",".join(row(k).split(",")[c] for c in columns) for k in rows]
    (place / "logs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    head = ",".join(f"{m}.{c}" for m in ("better", "worse") for c in COLUMNS)
    pairs = [f"{row(k)},{row(k + 1)}" for k in rows]
    (place / "prefs.csv").write_text("\n".join([head, *pairs]) + "\n", encoding="utf-8")
    return place


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "here", list(range(20)))


def compared(old: str, new: str, before: Path, after: Path | None = None, head: str = HEAD) -> Comparison:
    after = after or before
    (before / "old.rwd").write_text(head + old, encoding="utf-8")
    (after / "new.rwd").write_text(head + new, encoding="utf-8")
    return compare_specs(load_spec(before / "old.rwd"), load_spec(after / "new.rwd"))


def one(old: str, new: str, before: Path, after: Path | None = None) -> RuleChange:
    (change,) = compared(f"must rule: {old}", f"must rule: {new}", before, after).rules
    return change


NEAR = "forall x: Step near logs within {{speed = {} [m/s], gap = 0.5 [m]}}{} expect R(x) <= 1".format


# ── near rows ──────────────────────────────────────────────────────────────────────────────────
def test_a_larger_radius_is_stronger(here: Path) -> None:
    change = one(NEAR(0.25, ""), NEAR(0.5, ""), here)
    assert change.change == "stronger"
    (shown,) = change.situations
    assert shown.row is not None
    anchor = float(row(shown.row).split(",")[0])
    assert 0.25 < abs(shown.records["x"]["speed"] - anchor) <= 0.5
    assert one(NEAR(0.5, ""), NEAR(0.25, ""), here).change == "weaker"


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_balls_too(here: Path, norm: str) -> None:
    rule = NEAR(0.25, f" in {norm}").replace("R(x) <= 1", "|R(x) - R(anchor(x))| <= 0.2")
    assert one(rule, rule, here).change == "equal"
    assert one(rule, rule.replace("0.25", "0.5"), here).change == "stronger"
    assert one(NEAR(0.25, ""), NEAR(0.25, f" in {norm}"), here).change == "weaker"  # a ball lies in its box


def test_balls_of_many_columns(tmp_path: Path) -> None:
    head = 'spec e v1\nfeatures E { e: real ^ 24 in -1 .. 1 }\nreward R(x: E)\ndata d: E from "d.npz"\n'
    np.savez(tmp_path / "d.npz", e=np.random.default_rng(1).uniform(-1, 1, (100, 24)))
    rule = "must rule: forall x: E near d within {} in l2 expect |R(x) - R(anchor(x))| <= 0.2".format
    (change,) = compared(rule(0.02), rule(0.03), tmp_path, head=head).rules
    assert change.change == "stronger"
    (change,) = compared(rule(0.03), rule("0.02"), tmp_path, head=head).rules
    assert change.change == "weaker"


def test_everywhere_is_more_than_near_rows(here: Path) -> None:
    assert one("forall x: Step expect R(x) <= 1", NEAR(0.5, ""), here).change == "weaker"
    assert one(NEAR(0.5, ""), "forall x: Step expect R(x) <= 1", here).change == "stronger"


def test_many_rows(tmp_path: Path) -> None:
    place = folder_of(tmp_path / "many", [k % 40 for k in range(400)])
    assert one(NEAR(0.25, ""), NEAR(0.5, ""), place).change == "stronger"


def test_more_rows_are_stronger(here: Path, tmp_path: Path) -> None:
    more = folder_of(tmp_path / "more", list(range(23)))
    found = compared(f"must rule: {NEAR(0.1, '')}", f"must rule: {NEAR(0.1, '')}", here, more)
    (change,) = found.rules
    assert change.change == "stronger"
    assert change.situations[0].row in (20, 21, 22)
    statuses = {d.name: (d.status, d.message) for d in found.data}
    assert statuses["logs"] == ("changed", "20 rows before, 23 now: 0 are gone, 3 are new")
    assert one(NEAR(0.1, ""), NEAR(0.1, ""), more, here).change == "weaker"
    assert {f.code for f in found.findings} == {"S27"}


def test_the_order_of_rows_and_columns_does_not_matter(here: Path, tmp_path: Path) -> None:
    other = folder_of(tmp_path / "other", list(reversed(range(20))), (2, 0, 1))
    assert one(NEAR(0.1, ""), NEAR(0.1, ""), here, other).change == "equal"


# ── over rows ──────────────────────────────────────────────────────────────────────────────────
def test_rules_over_rows(here: Path) -> None:
    strict, loose = (
        "forall p in prefs expect R(p.better) > R(p.worse)",
        "forall p in prefs expect R(p.better) >= R(p.worse)",
    )
    change = one(strict, loose, here)
    assert change.change == "weaker"
    assert set(change.situations[0].records) == {"p.better", "p.worse"}
    assert one(loose, strict, here).change == "stronger"
    assert one(loose, "forall p in prefs expect R(p.worse) <= R(p.better)", here).change == "equal"


SHARE = "forall p in prefs expect share(R(p.better) > R(p.worse)) {}".format


def test_shares_of_the_same_rows_are_compared_by_count(here: Path) -> None:
    assert one(SHARE(">= 0.6"), SHARE(">= 0.6"), here).change == "equal"
    assert one(SHARE(">= 0.6"), SHARE(">= 0.7"), here).change == "stronger"
    assert one(SHARE(">= 0.6"), SHARE("> 0.6"), here).change == "stronger"
    assert one(SHARE(">= 0.6"), SHARE("> 0.55"), here).change == "equal"  # 12 of 20 rows
    assert one(SHARE(">= 0.6"), SHARE("<= 0.6"), here).change == "disjoint"
    assert one(SHARE("<= 0.6"), SHARE("<= 0.5"), here).change == "stronger"
    assert one(SHARE(">= 0.6"), SHARE("> 1"), here).change == "stronger"
    other = SHARE(">= 0.6").replace("R(p.better) >", "R(p.better) >=")
    assert one(SHARE(">= 0.6"), other, here).change == "weaker"  # what counts here counts there


def test_shares_that_count_other_things(here: Path) -> None:
    better, equal = SHARE(">= 0.6"), SHARE(">= 0.6").replace("R(p.better) >", "R(p.better) >=")
    change = one(better, equal, here)
    (shown,) = change.situations
    assert (change.change, shown.refused_by) == ("weaker", "old")
    assert shown.counted is not None
    assert (shown.counted.satisfied < 12, shown.counted.accepted >= 12, shown.counted.of) == (True, True, 20)
    margin = SHARE(">= 0.6").replace("R(p.worse))", "R(p.worse) + 1)")
    assert one(better, margin, here).change == "stronger"
    some = better.replace("prefs expect", "prefs given p.better.wet expect")
    change = one(better, some, here)
    assert change.change == "disjoint"
    assert {shown.counted.of for shown in change.situations if shown.counted is not None} == {20, 13}
    assert one(SHARE(">= 1"), some, here).change == "weaker"
    assert one(better, NEAR(0.1, ""), here).change == "disjoint"  # a share, and a rule that is no share
    plain = "forall p in prefs expect share(p.better.wet) >= {}".format
    change = one(plain(0.5), plain(0.9), here)
    assert change.change == "stronger"  # 13 of 20 rows, whatever the reward
    assert change.situations[0].counted is not None
    assert (change.situations[0].counted.satisfied, change.situations[0].refused_by) == (13, "new")


def test_confidences_are_compared_by_the_counts_of_the_binomial_test(here: Path) -> None:
    # P(X >= 16) is 0.051 and P(X >= 17) 0.016 for X binomial (20, 0.6), P(X >= 15) 0.126
    assert one(SHARE(">= 0.6 confidence 0.94"), SHARE(">= 0.6 confidence 0.95"), here).change == "stronger"
    assert one(SHARE(">= 0.6 confidence 0.95"), SHARE(">= 0.6 confidence 0.98"), here).change == "equal"
    change = one(SHARE(">= 0.6 confidence 0.95"), SHARE(">= 0.6"), here)
    assert change.change == "weaker"
    assert change.notes == ("of 20 rows OLD asks for at least 17, NEW for at least 12",)
    assert change.situations[0].counted is not None
    assert change.situations[0].counted.left_open


def test_a_share_is_shown_by_a_reward_that_so_many_rows_satisfy(here: Path) -> None:
    change = one(SHARE(">= 0.6"), SHARE(">= 0.4"), here)
    (shown,) = change.situations
    assert shown.refused_by == "old"
    assert shown.counted is not None
    assert 8 <= shown.counted.satisfied < 12
    assert shown.world is not None
    found = 0
    for k, at in enumerate(shown.counted.rows):
        better, worse = (r.value for r in at.rewards)
        assert [r.call for r in at.rewards] == ["R(p.better)", "R(p.worse)"]
        assert at.row == k
        assert at.satisfied == (better > worse)
        found += at.satisfied
    assert found == shown.counted.satisfied


def test_premises_that_read_rewards(here: Path) -> None:
    given = "forall p in prefs given R(p.better) > 0 expect share(R(p.better) > R(p.worse)) {}".format
    assert one(given(">= 0.6"), given(">= 0.7"), here).change == "stronger"
    assert one(given(">= 0.6 confidence 0.99"), given(">= 0.6 confidence 0.95"), here).change == "weaker"
    assert one(given(">= 0.6 confidence 0.99"), given(">= 0.6"), here).change == "weaker"


def test_counts_that_no_reward_has_tell_nothing_apart(tmp_path: Path) -> None:
    place = folder_of(tmp_path / "twice", [*range(5), *range(5)])
    assert one(SHARE(">= 0.8"), SHARE("> 0.8"), place).change == "stronger"  # 8 and 10 of 10
    assert one(SHARE(">= 0.9"), SHARE("> 0.9"), place).change == "equal"  # 9 would need half a pair of rows
    same = "forall p in prefs expect share(R(p.better) >= R(p.better)) {}".format
    assert one(same(">= 0.9"), same(">= 1"), place).change == "equal"


def test_shares_of_many_rows(tmp_path: Path) -> None:
    place = tmp_path / "many"
    place.mkdir()
    lines = [f"{k % 100 / 10},{k / 100},true" for k in range(1200)]
    (place / "logs.csv").write_text("\n".join([",".join(COLUMNS), *lines]) + "\n", encoding="utf-8")
    head = HEAD.replace('data prefs: (better: Step, worse: Step) from "prefs.csv"\n', "")
    rule = "must rule: forall s in logs given s.gap < {} [m] expect share(R(s) > 1) {}".format
    (change,) = compared(rule(9, ">= 0.5"), rule(9, ">= 0.501"), place, head=head).rules
    assert change.change == "stronger"  # 450 and 451 of 900
    assert change.situations[0].counted is not None
    assert change.situations[0].counted.satisfied == 450
    (change,) = compared(rule(40, ">= 0.5"), rule(40, ">= 0.501"), place, head=head).rules
    assert change.change == "stronger"
    counted = change.situations[0].counted
    assert counted is not None
    assert (counted.satisfied, counted.total, len(counted.rows)) == (600, 1200, 32)
    assert sum(row.rewards[0].value > 1 for row in counted.rows) == 16
    cap = rule(40, "{}").replace("> 1", "<= quantile(R(logs), 0.9)").format
    assert compared(cap(">= 0.99"), cap(">= 0.95"), place, head=head).rules[0].change == "weaker"
    same = rule(40, "{}").replace("R(s) > 1", "R(s) > R(s) - s.gap / 1 [m]").format
    assert compared(same(">= 0.5"), same(">= 0.9"), place, head=head).rules[0].change == "equal"  # all but one row


@pytest.mark.parametrize("counts", ["R(p.a) >= R(p.b) + 1", "min(R(p.a), 2) > 3 * R(p.b)", "R(p.a) > mean(R(d.b))"])
def test_few_of_many_rows_are_made_exact(counts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n, width = 3_000, 4
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "p.npz", **{f"{m}.e": rng.uniform(-1, 1, (n, width)) for m in "ab"})
    head = f"spec big v1\nfeatures E {{ e: real ^ {width} in -1 .. 1 }}\nreward R(s: E)\n"
    head += 'data d: (a: E, b: E) from "p.npz"\n'
    made: list[int] = []
    plain = Rows.row

    def row(self: Rows, number: int) -> dict[Key, Fraction]:
        made.append(number)
        return plain(self, number)

    monkeypatch.setattr(Rows, "row", row)
    old = "must r: forall p in d expect share(R(p.a) > R(p.b)) >= 0.6"
    (change,) = compared(old, f"must r: forall p in d expect share({counts}) >= 0.5", tmp_path, head=head).rules
    assert change.change == "disjoint"
    assert len(made) < 200
    for shown in change.situations:
        assert shown.counted is not None
        assert shown.counted.total == n
        assert [row.satisfied for row in shown.counted.rows].count(True) == min(16, shown.counted.satisfied)
        assert [row.satisfied for row in shown.counted.rows].count(False) == min(16, n - shown.counted.satisfied)


# ── data constants ─────────────────────────────────────────────────────────────────────────────
CAP = "forall s: Step given s.wet expect R(s) <= {}(R(logs){})".format


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (CAP("quantile", ", 0.05"), CAP("quantile", ", 0.1"), "weaker"),
        (CAP("quantile", ", 0.9"), CAP("quantile", ", 0.5"), "stronger"),
        (CAP("quantile", ", 0.05"), CAP("min", ""), "equal"),  # the first of twenty
        (CAP("quantile", ", 0.06"), CAP("quantile", ", 0.08"), "equal"),  # both the second
        (CAP("quantile", ", 1"), CAP("max", ""), "equal"),
        (CAP("max", ""), CAP("mean", ""), "stronger"),
    ],
)
def test_quantiles(here: Path, old: str, new: str, expected: str) -> None:
    change = one(old, new, here)
    assert change.change == expected
    for shown in change.situations:
        (text, level) = shown.constants[0]
        assert text.split("(")[0] in ("quantile", "min", "max", "mean")
        assert shown.rewards[0].value > level  # refused


def test_a_quantile_of_many_rows(tmp_path: Path) -> None:
    place = folder_of(tmp_path / "many", list(range(20)))
    lines = [f"{k / 200},{k / 100},true" for k in range(2000)]
    (place / "logs.csv").write_text("\n".join([",".join(COLUMNS), *lines]) + "\n", encoding="utf-8")
    change = one(CAP("quantile", ", 0.5"), CAP("quantile", ", 0.8"), place)
    assert change.change == "weaker"
    ((column, slope),) = change.situations[0].elsewhere[0].slopes  # too many rows for values of their own
    assert column == "min(speed, ≈7.995)"
    assert abs(slope) == 1


def test_constants_of_other_rows_are_others(here: Path, tmp_path: Path) -> None:
    more = folder_of(tmp_path / "more", list(range(23)))
    change = one(CAP("max", ""), CAP("max", ""), here, more)
    assert change.change == "weaker"  # the greatest of more rows
    change = one(CAP("quantile", ", 0.5"), CAP("quantile", ", 0.5"), here, more)
    assert change.change == "disjoint"


# ── data that cannot be read ───────────────────────────────────────────────────────────────────
def test_without_its_data_a_rule_is_undecided_and_others_are_not(here: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    data = f"must near_rows: {NEAR(0.1, '')}\nmust cap: {CAP('max', '')}\n"
    plain = "must plain: forall s: Step expect R(s) <= {}\n".format
    found = compared(data + plain(1), data + plain(2), here, empty)
    assert {c.name: c.change for c in found.rules} == {"near_rows": "undecided", "cap": "undecided", "plain": "weaker"}
    assert {d.name: d.status for d in found.data} == {"logs": "unread", "prefs": "unread"}
    assert "D01" in found.rule("near_rows").reason
    assert not found.safe


def test_the_same_missing_file_is_the_same_data(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    rule = f"must rule: {NEAR(0.1, '')}\n"
    found = compared(rule, rule, tmp_path / "place")
    assert [(c.change, c.by) for c in found.rules] == [("equal", "text")]
    (change,) = compared(rule, rule.replace("0.1", "0.2"), tmp_path / "place").rules
    assert change.change == "undecided"


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("not near logs within 5 %", "not near logs within 5 %", "equal"),
        ("not near logs within 5 %", "not near logs within 6 %", "undecided"),
        ("not near logs within 5 %", "near logs within 5 %", "undecided"),
        ("not near logs within 5 %", "", "undecided"),
        ("not near logs within 5 %", "not near others within 5 %", "undecided"),
    ],
)
def test_not_near_missing_rows_is_the_same_only_as_the_same_words(
    tmp_path: Path, old: str, new: str, change: str
) -> None:
    (tmp_path / "place").mkdir()
    rule = "must rule: forall x: Step {} expect R(x) <= 1".format
    head = HEAD + 'data others: Step from "others.csv"\n'
    (found,) = compared(rule(old), rule(new), tmp_path / "place", head=head).rules
    assert found.change == change


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("not near logs within 5 %", "not near logs within 6 %", "weaker"),
        ("not near logs within 5 %", "", "stronger"),
        ("not near logs within 5 %", "near logs within 5 %", "disjoint"),
    ],
)
def test_not_near_data_is_compared_by_what_it_says(here: Path, old: str, new: str, change: str) -> None:
    rule = "forall x: Step {} expect R(x) <= 1".format
    assert one(rule(old), rule(new), here).change == change


def test_a_new_name_for_the_same_rows(here: Path) -> None:
    head, rule = HEAD, f"must rule: {NEAR(0.1, '')}\n"
    (here / "old.rwd").write_text(head + rule, encoding="utf-8")
    renamed = (head + rule).replace("logs:", "drives:").replace("near logs", "near drives")
    (here / "new.rwd").write_text(renamed, encoding="utf-8")
    found = compare_specs(load_spec(here / "old.rwd"), load_spec(here / "new.rwd"))
    assert [c.change for c in found.rules] == ["equal"]
    assert [(d.name, d.message) for d in found.data] == [("logs", "now called drives")]


def test_declarations_that_move_to_a_used_file_stay_the_same(here: Path) -> None:
    rule = "must rule: forall s: {} given s.gap < near_gap expect {}(s) <= quantile({}({}), 0.9)\n".format
    param = "param near_gap: real [m] = 3 [m]\n"
    (here / "words.rwd").write_text(HEAD, encoding="utf-8")
    (here / "old.rwd").write_text(HEAD + param + rule("Step", "R", "R", "logs"), encoding="utf-8")
    new = 'spec small v1\nuse "words.rwd" as v\n' + param + rule("v.Step", "v.R", "v.R", "v.logs")
    (here / "new.rwd").write_text(new, encoding="utf-8")
    found = compare_specs(load_spec(here / "old.rwd"), load_spec(here / "new.rwd"))
    assert [(c.change, c.by) for c in found.rules] == [("equal", "text")]
    assert found.safe


# ── units ──────────────────────────────────────────────────────────────────────────────────────
def in_units(place: Path, unit: str, factor: int, gaps: list[Fraction], rule: str) -> Path:
    """A spec whose gap is in that unit, with its rows."""
    place.mkdir()
    head = f"spec g v1\nfeatures G {{ gap: real [{unit}] in 0 .. {10 * factor} }}\nreward R(g: G)\n"
    (place / "g.csv").write_text("gap\n" + "".join(f"{float(x * factor)!r}\n" for x in gaps), encoding="utf-8")
    (place / "g.rwd").write_text(f'{head}data rows: G from "g.csv"\nmust rule: {rule}\n', encoding="utf-8")
    return place / "g.rwd"


NEAR_GAPS = "forall g: G near rows within {} expect R(g) <= 1"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (NEAR_GAPS.format("1 [cm]"), NEAR_GAPS.format("1 [cm]"), "equal"),
        (NEAR_GAPS.format("1 [cm]"), NEAR_GAPS.format("2 [cm]"), "stronger"),
        (NEAR_GAPS.format("20 [mm]"), NEAR_GAPS.format("1 [cm]"), "weaker"),
        ("forall g: G expect R(g) <= mean(R(rows))", "forall g: G expect R(g) <= mean(R(rows)) + 1", "weaker"),
    ],
)
def test_data_in_another_unit(tmp_path: Path, old: str, new: str, expected: str) -> None:
    gaps = [Fraction(k, 8) for k in range(30)]
    before, after = in_units(tmp_path / "m", "m", 1, gaps, old), in_units(tmp_path / "cm", "cm", 100, gaps, new)
    found = compare_specs(load_spec(before), load_spec(after))
    assert [c.change for c in found.rules] == [expected]
    assert found.data == ()
    for shown in found.rules[0].situations:
        if shown.row is not None:
            scale = 1 if shown.refused_by == "old" else 100
            away = abs(Fraction(shown.records["g"]["gap"]) / scale - gaps[shown.row])
            assert Fraction(1, 100) < away <= Fraction(2, 100)


def test_units_that_binary64_rounds_are_compared_exactly(tmp_path: Path) -> None:
    """1.23 m and 123 cm are two numbers, as binary64 has them: what reaches further covers both."""
    gaps = [Fraction(123, 100) + Fraction(k, 10) for k in range(40)]
    rules = [NEAR_GAPS.format(f"{k} [cm]") for k in (1, 2)]
    old, new = (in_units(tmp_path / f"m{k}", "m", 1, gaps, rule) for k, rule in enumerate(rules))
    shorter, longer = (in_units(tmp_path / f"cm{k}", "cm", 100, gaps, rule) for k, rule in enumerate(rules))
    assert compare_specs(load_spec(old), load_spec(longer)).rules[0].change == "stronger"
    assert compare_specs(load_spec(new), load_spec(shorter)).rules[0].change == "weaker"
    assert compare_specs(load_spec(old), load_spec(shorter)).rules[0].change == "disjoint"


def test_constants_of_many_and_of_several_data(tmp_path: Path) -> None:
    place = folder_of(tmp_path / "many", [k % 40 for k in range(2000)])
    assert one(CAP("quantile", ", 0.9"), CAP("mean", ""), place).change == "disjoint"
    every = "forall s: Step expect R(s) <= {}(R(logs){})".format
    assert one(every("quantile", ", 0.9"), every("quantile", ", 0.5"), place).change == "stronger"
    few = folder_of(tmp_path / "few", list(range(20)))
    assert one(every("quantile", ", 0.9"), every("mean", ""), few).change == "stronger"
    assert one(every("mean", ""), every("min", ""), few).change == "equal"  # no row is above the mean
    member = "forall s: Step expect R(s) <= mean(R(prefs.better))"
    assert one(every("mean", ""), member, few).change in ("disjoint", "equal")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("<= mean(R(d))", "<= min(R(d))", "equal"),  # the rows themselves are near: none is worth more than their mean
        ("< max(R(d))", "< max(R(e))", "equal"),  # no reward satisfies either
        ("<= R(anchor(s))", "<= max(R(d))", "weaker"),
        (">= R(anchor(s)) + max(R(d))", ">= R(anchor(s)) + max(R(e))", "disjoint"),
    ],
)
def test_rules_near_rows_know_what_their_constants_come_from(old: str, new: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("x\n1\n2\n4\n")
    (tmp_path / "e.csv").write_text("x\n3.5\n2\n")
    head = """spec small v1
features S { x: real in 0 .. 10 }
reward R(s: S)
data d: S from "d.csv"
data e: S from "e.csv"
"""
    rule = "must rule: forall s: S near d within 1 expect R(s) {}\n".format
    (change,) = compared(rule(old), rule(new), tmp_path, head=head).rules
    assert change.change == expected
    assert len(change.situations) == {"equal": 0, "weaker": 1, "disjoint": 2}[expected]


def test_the_reason_names_how_many_rows_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("\n".join(["x", *(str(k / 40) for k in range(210))]) + "\n")
    head = 'spec small v1\nfeatures S { x: real in 0 .. 10 }\nreward R(s: S)\ndata d: S from "d.csv"\n'
    old = "must rule: forall p in d expect share(R(p) > 0) >= 0.6\n"
    (change,) = compared(old, "must rule: forall s: S expect R(s) > 0\n", tmp_path, head=head).rules
    assert change.change == "stronger_or_equal"
    assert "up to 200 different rows" in change.reason
