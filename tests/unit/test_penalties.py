from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from rewarden.spec_lang.errors import BindingError, UsageError
from rewarden.spec_lang.evaluate import truth_of_rows
from rewarden.spec_lang.obligation import And
from rewarden.spec_lang.penalty.pools import obligations
from rewarden.spec_lang.penalty.spec_penalty import PenaltyOptions, penalty_of
from rewarden.spec_lang.sampling.points import without_calls
from rewarden.spec_lang.spec import parse_spec
from tests.reference.depot import PAIRS, Level, depot, network, networks, steps

FEW = PenaltyOptions(points=32, steps=3)


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    return depot(tmp_path_factory.mktemp("depot"))


def only(spec, rewards, *rules, **options):
    return penalty_of(spec, rewards, rules=rules, options=replace(FEW, **options))


def code_of(error):
    return error.value.code


# ── values ─────────────────────────────────────────────────────────────────────────────────────
def test_every_kind_of_rule_is_looked_at_and_the_total_is_weighted(spec):
    penalty = penalty_of(spec, networks(), options=FEW)
    found = penalty.per_rule()
    assert tuple(found) == penalty.rules == tuple(rule.name for rule in spec.rules)
    assert all(count > 0 for count in penalty.counts().values()), penalty.counts()
    assert all(value.shape == () and 0 <= value.item() < float("inf") for value in found.values())
    weights = {rule.name: float(rule.weight) for rule in spec.rules}
    assert weights["same"] == 2
    assert penalty().item() == pytest.approx(sum(weights[rule] * value.item() for rule, value in found.items()))


def test_own_points_are_in_domain_and_premise_exactly(spec):
    penalty = penalty_of(spec, networks(), options=FEW)
    penalty.sample()
    for name in penalty.rules:
        for obligation, points in zip(obligations(spec, spec.rule(name)), penalty.points_of(name), strict=True):
            rows = points.numpy()
            known = And((obligation.structure, obligation.assume, without_calls(obligation.premise)))
            assert len(rows)
            assert truth_of_rows(known, rows).all()
            for column, variable in zip(rows.T, obligation.variables, strict=True):
                assert all(variable.lo <= Fraction(float(x)) <= variable.hi for x in column)
                assert not variable.discrete or (column == np.floor(column)).all()


def test_a_reward_in_binary32_is_asked_about_the_point_that_was_judged(spec):
    penalty = only(spec, {"R": network(6)}, "slow", "capped")
    penalty.sample()
    for rule in penalty.rules:
        (points,) = penalty.points_of(rule)
        assert (points.float().double() == points).all()
    precise = only(spec, {"R": network(6, dtype=torch.float64)}, "slow")
    precise.sample()
    (points,) = precise.points_of("slow")
    assert not (points.float().double() == points).all()


def test_what_holds_everywhere_costs_nothing_and_what_fails_everywhere_its_depth(spec):
    flat = Level(0.5)
    penalty = only(spec, {"R": flat}, "slow", "capped", "closer")
    assert penalty().item() == 0.0
    high = only(spec, {"R": Level(2.0)}, "exactly", "loop")
    found = high.per_rule()
    assert found["exactly"].item() == 5.0  # 3 · 2 − 1
    lengths = [len(points) for points in high.points_of("loop")]
    assert found["loop"].item() == pytest.approx(sum(2.0 * k * n for k, n in enumerate(lengths, 1)) / sum(lengths))


def test_data_constants_are_those_of_the_reward_now_and_detached(tmp_path):
    spec = depot(tmp_path, gap=1)
    reward = Level(3.0)
    penalty = only(spec, {"R": reward}, "capped")
    loss = penalty()
    loss.backward()
    assert loss.item() == 1.0
    assert reward.value.grad.item() == 1.0  # not 0, as it would be if the quantile took part
    with torch.no_grad():
        reward.value.fill_(-5.0)
    assert penalty().item() == 1.0


def test_data_constants_may_lag(tmp_path):
    spec = depot(tmp_path)
    reward = network(6)
    penalty = only(spec, {"R": reward}, "capped", constants_every=2, renew=0)
    first = penalty().item()
    with torch.no_grad():
        reward[2].bias += 1.0
    assert penalty().item() == pytest.approx(first + 1.0, rel=0.5)
    assert penalty().item() == pytest.approx(first, rel=1e-5)


def test_each_reward_is_asked_once(spec):
    reward, base = Level(1.0), Level(0.0)
    penalty = only(spec, {"R": reward, "Base": base}, "slow", "capped", "same", "closer", constants_every=1000)
    penalty()
    reward.asked.clear()
    base.asked.clear()
    penalty()
    assert reward.asked == [2 * 32 + 32 + 32 + 2 * 32]
    assert base.asked == [32]


def test_training_with_it_mends_a_rule(spec):
    reward = network(6)
    penalty = only(spec, {"R": reward}, "capped", "slow", renew=5, margin=0.02)
    optimiser = torch.optim.Adam(reward.parameters(), 0.02)
    before = penalty().item()
    for _ in range(150):
        optimiser.zero_grad()
        penalty().backward()
        optimiser.step()
    penalty.sample(200)
    assert before > 0.01
    assert penalty().item() < before / 5


def test_a_premise_about_rewards_selects_points_without_being_trained(spec):
    rising, falling = (lambda x: x[:, 0] * 0.1), (lambda x: -x[:, 0] * 0.1)
    penalty = only(spec, {"R": rising, "Base": falling}, "wary", renew=0)
    found = penalty.per_rule()["wary"].item()
    (points,) = penalty.points_of("wary")
    better = points[:, 0].float() * 0.1 >= points[:, 6].float() * 0.1
    assert penalty.counts()["wary"] == int(better.sum()) > 0
    gaps = 0.1 * (points[better, 0] - points[better, 6])
    assert found == pytest.approx(gaps.mean().item(), rel=1e-5)
    assert not only(
        spec, {"R": network(6), "Base": falling}, "wary"
    )().requires_grad  # the premise's reward has no pull


def test_temperature_smooths_and_is_checked(spec):
    penalty = only(spec, networks(), "same", renew=0)
    sharp, smooth = penalty().item(), penalty(temperature=0.1).item()
    assert 0 < smooth < sharp
    assert only(spec, {"R": Level(0), "Base": Level(0)}, "same")(temperature=0.1).item() == 0.0
    with pytest.raises(ValueError):
        penalty(temperature=0.0)


def test_an_equality_has_no_inside_for_a_margin(spec):
    assert only(spec, {"R": Level(1), "Base": Level(1)}, "same", margin=0.5)().item() == 0.0
    assert only(spec, {"R": Level(1), "Base": Level(0.75)}, "same", margin=0.5)().item() == 0.5  # twice, for its weight
    assert only(spec, {"R": Level(0)}, "loop", margin=0.5)().item() == 0.5


def test_without_gradients_it_is_only_a_number(spec):
    penalty = only(spec, networks(), "slow", "agreed")
    with torch.no_grad():
        value = penalty()
    assert not value.requires_grad
    assert value.item() >= 0


def test_a_rule_without_points_counts_none_and_costs_nothing(tmp_path):
    spec = parse_spec(
        "spec thin v1\nfeatures S { x: real in 0 .. 1 }\nreward R(s: S)\n"
        "must never: forall s: S given s.x > 1 expect R(s) <= 0\nmust all: forall s: S expect R(s) <= 0\n"
    )
    reward = Level(1.0)
    penalty = penalty_of(spec, {"R": reward}, options=FEW)
    assert {rule: value.item() for rule, value in penalty.per_rule().items()} == {"never": 0.0, "all": 1.0}
    assert penalty.counts() == {"never": 0, "all": 32}
    nothing = penalty_of(spec, {"R": reward}, rules=["never"], options=FEW)
    assert nothing().item() == 0.0
    (torch.zeros((), requires_grad=True) + nothing()).backward()


@pytest.mark.parametrize("wrong", [lambda x: x, lambda x: x[:, 0] * float("nan"), lambda x: x[:-1, 0]])
def test_a_reward_that_returns_nonsense_is_named(spec, wrong):
    with pytest.raises(BindingError) as error:
        only(spec, {"R": wrong}, "slow")()
    assert code_of(error) == "B23"


# ── which rules ────────────────────────────────────────────────────────────────────────────────
def test_rules_are_those_about_the_rewards_given(spec):
    assert penalty_of(spec, {"H": network(4)}).rules == ("steady", "agreed", "each")
    assert penalty_of(spec, {"H": network(4)}, severity="must").rules == ("agreed", "each")
    assert penalty_of(spec, networks(), rules=["each", "slow", "each"]).rules == ("each", "slow")


@pytest.mark.parametrize(
    "rewards, rules, code",
    [
        ({"r": network(6)}, None, "B24"),
        ({}, None, "B24"),
        ({"R": network(6)}, ["same"], "B22"),
        ({"Base": network(6)}, None, "B24"),
        ({"R": network(6)}, ["slo"], "G21"),
    ],
)
def test_what_cannot_be_penalised_is_said(spec, rewards, rules, code):
    with pytest.raises((BindingError, UsageError)) as error:
        penalty_of(spec, rewards, rules=rules)
    assert code_of(error) == code


@pytest.mark.parametrize("wrong", [{"points": 0}, {"steps": -1}, {"margin": float("nan")}, {"margin": -1.0}])
def test_options_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PenaltyOptions(**wrong)


# ── batches ────────────────────────────────────────────────────────────────────────────────────
def test_rows_of_a_batch_stand_for_records_and_pairs(spec):
    batch = steps((1, 0.5, 1, 0), (2, 2.0, 1, 0), (3, 2.0, 0, 0), (4, 2.0, 1, 2))
    penalty = only(spec, networks(), "capped", "same", "closer", "slow")
    found = penalty.per_rule(batch)
    # The last row breaks the assumption; of pairs in one zone: each with itself, and three more.
    assert penalty.counts() == {"capped": 1, "same": 1, "closer": 6, "slow": 4 + 3}
    reward = networks()["R"]
    values = reward(batch.float())[:, 0].double()
    assert found["closer"].item() == pytest.approx(
        sum(max(0.0, (values[j] - values[i] - 1).item()) for i in range(3) for j in range(i, 3)) / 6, abs=1e-6
    )


def test_varying_takes_only_what_varies_from_the_other_row(spec):
    """a = the first row's human at 0.5 m/s, with the second's speed for b; the second row has nobody near."""
    batch = steps((1, 0.5, 1, 0), (30, 2.0, 0, 1))
    seen = []

    def reward(rows):
        seen.append(rows.clone())
        return rows[:, 1]

    penalty = only(spec, {"R": reward}, "slow")
    assert penalty(batch).item() == pytest.approx((0 + 1.5) / 2)
    assert penalty.counts() == {"slow": 2}
    assert set(seen[-1][:, 0].tolist()) == {1.0}


def test_many_rows_give_some_pairs_only(spec):
    rng = np.random.default_rng(0)
    batch = torch.from_numpy(np.column_stack([rng.uniform(0, 40, 300), rng.uniform(0, 0.5, 300), np.ones(300)]))
    batch = torch.cat([batch, torch.eye(3, dtype=torch.float64)[rng.integers(3, size=300)]], dim=1)
    farther = {"R": lambda rows: rows[:, 0]}
    penalty = only(spec, farther, "closer")
    first = penalty(batch).item()
    assert penalty.counts() == {"closer": 32}
    again = only(spec, farther, "closer")
    assert again(batch).item() == first
    assert again(batch).item() != first  # other pairs of the same rows


def test_rules_about_data_and_traces_keep_to_their_own_points(spec):
    penalty = only(spec, networks(), "agreed", "shorter", "capped")
    penalty(steps((1, 2.0, 1, 0)))
    assert penalty.counts() == {"agreed": 32, "shorter": 30, "capped": 1}


@pytest.mark.parametrize(
    "batch",
    [
        torch.zeros(3, 5),
        torch.zeros(6),
        torch.full((2, 6), float("nan")),
        torch.full((4, 6), -0.7),  # normalised rows
    ],
)
def test_a_batch_that_does_not_fit_is_refused(spec, batch):
    with pytest.raises(BindingError) as error:
        only(spec, networks(), "capped")(batch)
    assert code_of(error) == "B25"


def test_a_batch_that_could_be_of_two_types_is_refused():
    spec = parse_spec(
        "spec two v1\nfeatures A { x: real in 0 .. 1 }\nfeatures B { y: real in 0 .. 1 }\nreward R(s: A)\n"
        "reward Q(s: B)\nmust one: forall s: A expect R(s) <= 0\nmust two: forall s: B expect Q(s) <= 0\n"
    )
    penalty = penalty_of(spec, {"R": Level(1), "Q": Level(2)}, options=FEW)
    with pytest.raises(BindingError, match="of A or B"):
        penalty(torch.zeros(2, 1))
    assert penalty({"two": torch.zeros(2, 1)}).item() == 2.0


# ── points given ───────────────────────────────────────────────────────────────────────────────
HERE = {"dist": 1.0, "speed": 2, "human": True, "zone": "aisle"}


def test_points_are_given_by_rule(spec):
    penalty = only(spec, {"R": Level(1.0), "H": network(4)}, "capped", "exactly", "slow")
    rows = steps((1, 2.0, 1, 0), (1, 0.5, 1, 0))
    found = penalty.per_rule({"capped": rows, "slow": {"a": HERE, "b": {**HERE, "speed": 2.5}}})
    assert set(found) == {"capped", "slow"}
    assert penalty.counts() == {"capped": 1, "slow": 1}
    still = {f"t[{k}]": HERE for k in range(3)}
    assert penalty({"exactly": [still, {**still, "t[2]": {**HERE, "dist": 9.0}}]}).item() == 2.0
    assert penalty.counts() == {"exactly": 1}  # nine metres further in a second is no move


def test_witnesses_are_kept_and_looked_at(spec):
    penalty = only(spec, {"R": lambda x: x[:, 0]}, "closer", capacity=3, renew=0, steps=0)
    before = penalty.per_rule()["closer"].item()
    far = {"a": {**HERE, "dist": 0}, "b": {**HERE, "dist": np.float64(40)}}
    assert penalty.add_points("closer", far) == 1
    assert penalty.counts()["closer"] == 32
    assert penalty.per_rule()["closer"].item() == pytest.approx((before * 32 + 39) / 33, rel=1e-5)
    assert penalty.add_points("closer", [far, {**far, "b": {**HERE, "zone": "dock"}}]) == 1  # of one zone, so it says
    assert penalty.add_points("closer", torch.cat([steps((1, 1, 0, 0))] * 2, dim=1).repeat(9, 1)) == 9
    assert len(penalty.points_of("closer")[0]) == 32 + 3


def test_a_trace_goes_to_the_obligation_of_its_length(spec):
    penalty = only(spec, {"R": Level(5.0)}, "shorter", renew=0)
    assert penalty.add_points("shorter", [{"t[0]": HERE}, {f"t[{k}]": HERE for k in range(3)}]) == 2
    assert [len(points) for points in penalty.points_of("shorter")] == [1, 0, 1]


def test_points_near_data_are_near_some_row(spec):
    row = spec.table("embs").values[7]
    penalty = only(spec, {"H": network(4)}, "steady")
    near, far = row + 0.005, row + 0.1

    def named(x):
        return {"x": {"e": list(x)}, "anchor(x)": {"e": tuple(row)}}

    assert penalty.add_points("steady", [named(near), named(far)]) == 1


def test_points_not_near_data_are_near_no_row_and_train(tmp_path):
    (tmp_path / "d.csv").write_text("x,n,on,k\n0.25,1,true,a\n0.75,1,true,a\n0.75,1,true,a\n", encoding="utf-8")
    features = "features S { x: real in 0 .. 1 n: int in 0 .. 3 on: bool k: enum {a, b} }"
    rule = "forall s: S not near d within {x = 0.25, n = 1} given s.on and s.k == a expect R(s) <= 0"
    text = f'spec p v1 {features} reward R(s: S) data d: S from "d.csv" must away: {rule}'
    found = parse_spec(text, base=tmp_path)
    net = network(5)
    penalty = only(found, {"R": net}, "away")
    with torch.no_grad():
        list(net.parameters())[-1].add_(3.0)
    first = penalty()
    first.backward()
    (points,) = penalty.points_of("away")
    assert len(points) == FEW.points
    assert (points[:, 1] == 3).all()  # x is near one row or the other: only n tells a record apart from both
    assert (points[:, 2:] == torch.tensor([1.0, 1.0, 0.0])).all()
    assert first > 0
    assert list(net.parameters())[-1].grad.abs().sum() > 0
    near, far = ({"s": {"x": 0.5, "n": n, "on": True, "k": "a"}} for n in (2, 3))
    assert penalty.add_points("away", [near, far]) == 1


def test_rows_of_data_are_the_only_points_of_a_rule_about_them(spec):
    penalty = only(spec, {"H": network(4)}, "each")
    assert penalty.add_points("each", torch.zeros(1, 8)) == 0
    assert penalty.add_points("each", spec.rows("prefs").values[3:5]) == 2


@pytest.mark.parametrize(
    "rule, points, message",
    [
        ("capped", {"a": HERE}, "has no a"),
        ("capped", {"s": {"dist": 1.0, "speed": 1, "human": True}}, "lacks zone"),
        ("capped", {"s": {**HERE, "spead": 1}}, "did you mean speed"),
        ("capped", {"s": {**HERE, "zone": "roof"}}, "roof"),
        ("capped", {"s": {**HERE, "dist": "far"}}, "far"),
        ("capped", {"s": {**HERE, "dist": [1, 2]}}, "give 1 numbers"),
        ("capped", torch.zeros(2, 5), r"\[n, 6\]"),
        ("capped", torch.full((1, 6), float("inf")), "finite"),
        ("slow", {"a": HERE}, "lacks b"),
        ("agreed", torch.zeros(1, 8), "share of rows"),
        ("each", torch.zeros(1, 8), "is not one of the rules penalised"),
    ],
)
def test_points_that_do_not_fit_are_refused(spec, rule, points, message):
    with pytest.raises(BindingError, match=message) as error:
        only(spec, networks(), "capped", "slow", "agreed").add_points(rule, points)
    assert code_of(error) == "B25"


# ── drawing ────────────────────────────────────────────────────────────────────────────────────
def values(penalty, calls):
    return [penalty().item() for _ in range(calls)]


def test_the_same_seed_and_calls_give_the_same_values(spec):
    rules = ("slow", "steady", "agreed", "shorter", "wary")
    first = values(only(spec, networks(), *rules, renew=2), 5)
    assert values(only(spec, networks(), *rules, renew=2), 5) == first
    assert values(only(spec, networks(), *rules, renew=2, seed=1), 5) != first


def test_points_are_drawn_again_after_some_calls_or_when_asked(spec):
    faster = {"R": lambda rows: rows[:, 1]}
    penalty = only(spec, faster, "slow", renew=2)
    a, b, c, d, e = values(penalty, 5)
    assert a == b != c == d != e
    kept = only(spec, faster, "slow", renew=0)
    assert len(set(values(kept, 5))) == 1
    kept.sample(80)
    assert len(kept.points_of("slow")[0]) == 80


def test_a_saved_state_continues_the_run(spec):
    rules = ("slow", "steady", "agreed", "shorter")
    penalty = only(spec, networks(), *rules, renew=3)
    values(penalty, 2)
    penalty.add_points("slow", {"a": HERE, "b": HERE})
    state = {key: value.clone() for key, value in penalty.state_dict().items()}
    rest = values(penalty, 4)
    other = only(spec, networks(), *rules, renew=3)
    other.load_state_dict(state)
    assert values(other, 4) == rest
    with pytest.raises(ValueError, match="other rules"):
        only(spec, networks(), "slow").load_state_dict(state)


def test_a_search_finds_more_than_chance(spec):
    """R peaks in a corner that few random points come near."""
    corner = torch.tensor([40.0, 2.5])

    def reward(rows):
        return 1.0 - (rows[:, :2] / corner - 1.0).abs().amax(1)

    limit = {"rules": ["capped"], "options": PenaltyOptions(64, 0)}
    chance, found = penalty_of(spec, {"R": reward}, **limit), only(spec, {"R": reward}, "capped", points=64, steps=12)
    chance.sample()
    found.sample()
    best = [float(reward(p.points_of("capped")[0]).max()) for p in (chance, found)]
    assert best[1] > best[0]
    assert best[1] > 0.999


def test_a_search_reaches_the_rim_of_a_ball(tmp_path):
    """A linear reward, in 64 dimensions: at most |w|·r in one direction, where chance finds hardly any of it."""
    np.savez(tmp_path / "d.npz", e=np.zeros((3, 64)))
    spec = parse_spec(
        "spec ball v1\nfeatures E { e: real ^ 64 in -1 .. 1 }\nreward H(x: E)\n"
        'data d: E from "d.npz"\nmust m: forall x: E near d within 0.1 in l2 expect H(x) <= H(anchor(x))\n',
        base=tmp_path,
    )
    w = torch.linspace(-1, 1, 64)
    penalty = penalty_of(spec, {"H": lambda x: x @ w}, options=PenaltyOptions(64, 12))
    penalty.sample()
    rises = penalty.points_of("m")[0][:, :64].float() @ w / (0.1 * w.norm())
    assert rises[:32].max() < 0.5 < 0.9 < rises[32:].max() <= 1


def test_rows_are_drawn_without_repetition(spec):
    penalty = only(spec, networks(), "each", points=150)
    penalty.sample()
    (rows,) = penalty.points_of("each")
    assert len(rows.unique(dim=0)) == 150
    penalty.sample(1000)
    assert len(penalty.points_of("each")[0]) == PAIRS


# ── conclusions of every shape ─────────────────────────────────────────────────────────────────
CHOICES = """spec s v1
features S { x: real in 0 .. 1 }
reward R(s: S)
reward Q(s: S)
must paid: forall s: S expect (if R(s) > 0 then 1 else 0) * Q(s) >= 1
must same_sign: forall s: S expect R(s) * Q(s) >= 0.5
must most: trace t: S of 6 steps expect sum((if R(t) > 0 and Q(t) > 0 then 1 else 0)) >= 4
must wide:
  forall s: S
  expect (R(s) >= 1 or Q(s) >= 2 or R(s) <= -9) and (R(s) >= 2 or Q(s) >= 1 or R(s) <= -8)
    and (R(s) >= 1.5 or Q(s) >= 3 or R(s) <= -7) and (R(s) + Q(s) >= 2 or Q(s) >= 4 or R(s) <= -6)
"""


@pytest.mark.parametrize("rule", ["paid", "same_sign", "most", "wide"])
@pytest.mark.parametrize("temperature", [None, 0.1])
def test_training_mends_conclusions_that_are_flat_where_they_fail(rule, temperature):
    rewards = {"R": Level(-0.5), "Q": Level(-0.25)}
    penalty = only(parse_spec(CHOICES), rewards, rule)
    optimiser = torch.optim.SGD([w for reward in rewards.values() for w in reward.parameters()], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        found = penalty(temperature=temperature)
        if found.item() == 0:
            return
        found.backward()
        optimiser.step()
    raise AssertionError(f"still broken by {found.item()}")


ALIKE = """spec s v1
features S { x: int in 0 .. 3 }
reward R(s: S)
reward Q(s: S)
must signed: forall a, b: S expect R(a) == R(b) implies R(b) >= 1
must low: forall a, b: S given R(a) <= 5 expect R(a) == R(b) implies R(b) >= 1
must chosen: forall a, b: S expect (if R(a) <= 1 then R(b) else Q(a)) < R(a)
must last: trace t: S of 4 steps expect R(first(t)) > R(last(t)) or Q(last(t)) >= 1
"""


@pytest.mark.parametrize(
    ("rule", "records"),
    [
        ("signed", ("a", "b")),
        ("low", ("a", "b")),
        ("chosen", ("a", "b")),
        ("last", [f"t[{k}]" for k in range(4)]),
    ],
)
@pytest.mark.parametrize("temperature", [None, 0.1])
def test_what_no_reward_can_do_at_one_record_is_not_tried(rule, records, temperature):
    """R(a) > R(b) is nearly met at a = b, and never will be: its calls pull one output both ways."""
    rewards = {"R": Level(-0.5), "Q": Level(-0.25)}
    penalty = only(parse_spec(ALIKE), rewards, rule)
    found = penalty({rule: {record: {"x": 2} for record in records}}, temperature=temperature)
    assert found.item() > 0
    found.backward()
    assert any(
        w.grad is not None and w.grad.abs().sum() > 0 for reward in rewards.values() for w in reward.parameters()
    )
