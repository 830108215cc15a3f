"""Changes to a proof or a claim, by somebody who knows the format: each takes a source of chance and a case."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction

from tests.reference.certificates import Case, Json, affine, atom, network, patched, rational

Mutator = Callable[[random.Random, Case], None]


# ── where things are ───────────────────────────────────────────────────────────────────────────
def tree_of(rng: random.Random, case: Case) -> list[Json]:
    return rng.choice(rng.choice(case.proof["goals"]))


def node_of(rng: random.Random, case: Case, tag: str) -> list[Json] | None:
    found = [n for goal in case.proof["goals"] for tree in goal for n in tree if n[0] == tag]
    return rng.choice(found) if found else None


def form_of(rng: random.Random, case: Case) -> Json:
    atoms = [a for clause in case.claim["clauses"] + case.claim["goals"] for a in clause]
    return rng.choice(atoms)["affine"]


def nudged(rng: random.Random, text: str) -> str:
    step = rng.choice([Fraction(1, 64), Fraction(1, 16), Fraction(1, 4), Fraction(1), Fraction(5)])
    return rational(Fraction(text) + rng.choice([-1, 1]) * step)


def weight(rng: random.Random) -> list[int]:
    return [rng.choice([1, 1, 3, 5, 1 << 40]), rng.choice([-20, -3, -1, 0, 1, 2, 30])]


# ── changes to the proof ───────────────────────────────────────────────────────────────────────
def change_multiplier(rng: random.Random, case: Case) -> None:
    leaf = node_of(rng, case, "leaf")
    if leaf is not None and leaf[2]:
        rng.choice(leaf[2])[2] = rng.choice([weight(rng), weight(rng), [-1, 0], [0, 0], [True, 0], [1, 9999]])


def add_multiplier(rng: random.Random, case: Case) -> None:
    leaf = node_of(rng, case, "leaf")
    if leaf is not None:
        count = len(case.claim["clauses"])
        leaf[2].append([rng.randrange(-1, count + 1), rng.randrange(-1, 2), weight(rng)])


def drop_multipliers(rng: random.Random, case: Case) -> None:
    leaf = node_of(rng, case, "leaf")
    if leaf is not None:
        leaf[rng.choice([2, 4])] = []


def change_goal_atom(rng: random.Random, case: Case) -> None:
    leaf = node_of(rng, case, "leaf")
    if leaf is not None:
        leaf[1] = rng.choice([-1, 0, 1, -2, True])


def change_slopes(rng: random.Random, case: Case) -> None:
    leaf = node_of(rng, case, "leaf")
    if leaf is not None:
        leaf[3] = [
            [k, i, rng.choice([0, 1, 77, 255, 256, 257, -1])]
            for k in range(1, 6)
            for i in range(3)
            if rng.random() < 0.4
        ]


def add_tight(rng: random.Random, case: Case) -> None:
    leaf = node_of(rng, case, "leaf")
    if leaf is not None:
        facts = [[rng.randrange(max(1, len(case.claim["clauses"]))), rng.randrange(2), weight(rng)]]
        leaf[4] = [*leaf[4], [rng.randrange(8), rng.randrange(3), rng.randrange(2), facts]]


def swap_nodes(rng: random.Random, case: Case) -> None:
    tree = tree_of(rng, case)
    i, j = rng.randrange(len(tree)), rng.randrange(len(tree))
    tree[i], tree[j] = tree[j], tree[i]


def drop_node(rng: random.Random, case: Case) -> None:
    tree = tree_of(rng, case)
    del tree[rng.randrange(len(tree))]


def repeat_node(rng: random.Random, case: Case) -> None:
    tree = tree_of(rng, case)
    tree.insert(rng.randrange(len(tree) + 1), list(rng.choice(tree)))


def prune(rng: random.Random, case: Case) -> None:
    """A whole subtree becomes one leaf."""
    tree = tree_of(rng, case)
    start = rng.randrange(len(tree))
    end, open_branches = start, 1
    while open_branches and end < len(tree):
        node = tree[end]
        children = {"cut": 2, "leaf": 0}.get(node[0], 0)
        if node[0] == "case":
            children = len(case.claim["clauses"][node[1]]) if 0 <= node[1] < len(case.claim["clauses"]) else 0
        open_branches += children - 1
        end += 1
    leaves = [n for n in tree[start:end] if n[0] == "leaf"]
    tree[start:end] = [rng.choice(leaves or tree)]


def change_cut(rng: random.Random, case: Case) -> None:
    cut = node_of(rng, case, "cut")
    if cut is not None:
        if rng.random() < 0.7:
            cut[2] = nudged(rng, cut[2])
        else:
            cut[1] = rng.randrange(-1, len(case.claim["variables"]) + 1)


def change_tag(rng: random.Random, case: Case) -> None:
    tree = tree_of(rng, case)
    k = rng.randrange(len(tree))
    tree[k] = rng.choice(
        [["case", rng.randrange(-1, 2)], ["cut", 0, "0"], ["leaf", -1, [], [], []], ["leaf", 0, [], [], []]]
    )


def swap_trees(rng: random.Random, case: Case) -> None:
    rng.shuffle(case.proof["goals"])
    for goal in case.proof["goals"]:
        rng.shuffle(goal)


def drop_tree(rng: random.Random, case: Case) -> None:
    goals = case.proof["goals"]
    where = goals if rng.random() < 0.5 else rng.choice(goals)
    where.pop()


def change_witness(rng: random.Random, case: Case) -> None:
    point = case.proof["witness"]["point"]
    k = rng.randrange(len(point))
    point[k] = nudged(rng, point[k])


PROOF = [
    change_multiplier, add_multiplier, drop_multipliers, change_goal_atom, change_slopes, add_tight, swap_nodes,
    drop_node, repeat_node, prune, change_cut, change_tag, swap_trees, drop_tree, change_witness,
]  # fmt: skip


# ── changes to the claim, and to what it is about ──────────────────────────────────────────────
def change_constant(rng: random.Random, case: Case) -> None:
    form = form_of(rng, case)
    form["constant"] = nudged(rng, form["constant"])


def lower_goal(rng: random.Random, case: Case) -> None:
    form = rng.choice(rng.choice(case.claim["goals"]))["affine"]
    form["constant"] = rational(Fraction(form["constant"]) - rng.choice([Fraction(1, 32), Fraction(1, 8), Fraction(1)]))


def change_coefficient(rng: random.Random, case: Case) -> None:
    form = form_of(rng, case)
    entries = form["variables"] + form["calls"]
    if entries:
        entry = rng.choice(entries)
        entry[1] = rational(-Fraction(entry[1])) if rng.random() < 0.5 else nudged(rng, entry[1])
        for kind in ("variables", "calls"):
            form[kind] = [e for e in form[kind] if e[1] != "0"]


def flip_strict(rng: random.Random, case: Case) -> None:
    found = rng.choice(rng.choice(case.claim["clauses"] + case.claim["goals"]))
    found["strict"] = not found["strict"]


def drop_clause(rng: random.Random, case: Case) -> None:
    if case.claim["clauses"]:
        del case.claim["clauses"][rng.randrange(len(case.claim["clauses"]))]


def add_atom(rng: random.Random, case: Case) -> None:
    """Weaken the premise: one more way for a clause to be true."""
    if case.claim["clauses"]:
        rng.choice(case.claim["clauses"]).append(atom(affine(rng.choice([-1, 0, 1]), {0: rng.choice([-1, 1])})))


def stretch_box(rng: random.Random, case: Case) -> None:
    pair = rng.choice(rng.choice(case.claim["boxes"]))
    side = rng.randrange(2)
    step = rng.choice([Fraction(1, 8), Fraction(1), Fraction(3)])
    pair[side] = rational(Fraction(pair[side]) + (step if side else -step))


def add_box(rng: random.Random, case: Case) -> None:
    case.claim["boxes"].append([list(pair) for pair in case.claim["boxes"][0]])
    stretch_box(rng, case)
    if rng.random() < 0.7:
        for goal in case.proof["goals"]:
            goal.append(list(goal[0]) if goal else [])


def change_kind(rng: random.Random, case: Case) -> None:
    variable = rng.choice(case.claim["variables"])
    variable["discrete"] = not variable["discrete"]


def drop_goal_atom(rng: random.Random, case: Case) -> None:
    goal = rng.choice(case.claim["goals"])
    if len(goal) > 1:
        del goal[rng.randrange(len(goal))]


def repeat_goal(rng: random.Random, case: Case) -> None:
    """One more goal, false or nearly, with the trees of another."""
    form = dict(case.claim["goals"][0][0]["affine"])
    form["constant"] = nudged(rng, form["constant"])
    case.claim["goals"].append([atom(form)])
    case.proof["goals"].append(case.proof["goals"][0])


def change_arguments(rng: random.Random, case: Case) -> None:
    arguments = rng.choice(case.claim["calls"])["arguments"]
    if rng.random() < 0.5:
        rng.shuffle(arguments)
    else:
        form = rng.choice(arguments)
        form["constant"] = nudged(rng, form["constant"])


def other_artifact(rng: random.Random, case: Case) -> None:
    name = rng.choice(sorted(case.artifacts))
    base = network(rng.randrange(40))
    if rng.random() < 0.5:
        base = patched(base, [[4.0, 0.0]], [0.0], rng.choice([-1.0, 0.0, 1.0]), 2.0)
    case.artifacts[name] = base


def swap_artifacts(rng: random.Random, case: Case) -> None:
    names = sorted(case.artifacts)
    case.artifacts = dict(zip(names, [case.artifacts[n] for n in reversed(names)], strict=True))


CLAIM = [
    change_constant, lower_goal, lower_goal, change_coefficient, flip_strict, drop_clause, add_atom, stretch_box,
    add_box, change_kind, drop_goal_atom, repeat_goal, change_arguments, other_artifact, swap_artifacts,
]  # fmt: skip
