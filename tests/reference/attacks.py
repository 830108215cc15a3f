"""Networks of the papers that fool verifiers by floating point, rebuilt from their ideas as artifacts.

Each comes with a goal, the verdicts that would be wrong over the reals, and those that would be wrong as executed.

- Zombori et al., Fooling a Complete Neural Network Verifier (ICLR 2021): a large constant absorbs the trigger of a
  backdoor in the solver's arithmetic, so that the network looks constant to it.
- Jia and Rinard, Exploiting Verified Neural Networks via Floating Point Numerical Error (SAS 2021): properties that
  hold or fail by less than the verifier's own rounding, and weights that make it large.
- Szász, Bánhelyi and Jelasity, No Soundness in the Real World (2025): networks that notice how they are executed (order
  of summation, flushing) and only then behave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from rewarden.reward import graph as g
from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.spec_lang.claim import AffineAtom, Claim, ClaimCall, ClaimRecord, ClaimVariable
from rewarden.spec_lang.features import Feature, RecordType
from tests.reference.random_programs import atom, form

UNIT = RecordType("Unit", (Feature("x", "real", Fraction(0), Fraction(1)),))
PAIR = RecordType("Pair", (*UNIT.features, Feature("y", "real", Fraction(0), Fraction(1))))
Rows = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Attack:
    """`real` and `executed`: the verdicts that are right over the reals, and as executed (in any order)."""

    name: str
    artifact: Artifact
    goal: AffineAtom
    real: str
    executed: tuple[str, ...]

    def claim(self) -> Claim:
        columns = self.artifact.columns
        variables = tuple(ClaimVariable(f"s.{c.name}", None, c.discrete) for c in columns)
        arguments = tuple(form(0, {j: 1}) for j in range(len(columns)))
        return Claim(
            rule=self.name,
            severity="must",
            variables=variables,
            records=(ClaimRecord("s", self.artifact.records[0].type.name, tuple(range(len(columns)))),),
            rewards=(("R", self.artifact.digest),),
            calls=(ClaimCall("R", arguments),),
            clauses=(),
            goals=((self.goal,),),
            boxes=(tuple((c.lo, c.hi) for c in columns),),
        )


class _Net:
    """Mutable: a graph in the making, one layer on the other unless told otherwise."""

    def __init__(self, kind: RecordType) -> None:
        self.kind = kind
        self.nodes: list[g.Node] = [g.Input()]
        self.tensors: dict[str, np.ndarray] = {}

    def affine(self, weight: Rows, bias: Sequence[float], source: int | None = None) -> int:
        k = len(self.nodes)
        self.tensors[f"w{k}"], self.tensors[f"b{k}"] = np.float32(weight), np.float32(bias)
        return self.put(g.AffineMap(k - 1 if source is None else source, f"w{k}", f"b{k}"))

    def relu(self) -> int:
        return self.put(g.Relu(len(self.nodes) - 1))

    def put(self, node: g.Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def artifact(self) -> Artifact:
        graph = g.Graph(tuple(self.nodes), len(self.nodes) - 1)
        return Artifact((RewardRecord("s", self.kind),), graph, self.tensors, "exact")


NOT_NEGATIVE = atom(calls={0: 1})


def absorbed_backdoor(sigma: float) -> Attack:
    """1/2 − ((t + σ) − σ), t = relu(2x − 1): in floats t is gone, and no execution opens the backdoor either."""
    net = _Net(UNIT)
    net.affine([[2.0]], [-1.0])
    net.relu()
    net.affine([[1.0]], [sigma])
    net.relu()
    net.affine([[1.0]], [-sigma])
    net.affine([[-1.0]], [0.5])
    executed = ("proved", "unknown") if sigma >= 2.0**25 else ("violated", "unknown")
    return Attack(f"absorbed, {sigma:g}", net.artifact(), NOT_NEGATIVE, "violated", executed)


def opened_by_rounding(sigma: float) -> Attack:
    """1/2 − relu(x − ((x + σ) − σ)): exactly 1/2 everywhere; as executed 1/2 − x."""
    net = _Net(UNIT)
    shifted = net.affine([[1.0]], [sigma])
    back = net.affine([[1.0]], [-sigma], shifted)
    net.put(g.Sub(0, back))
    net.relu()
    net.affine([[-1.0]], [0.5])
    return Attack(f"opened, {sigma:g}", net.artifact(), NOT_NEGATIVE, "proved", ("violated",))


def notices_order(sigma: float) -> Attack:
    """3/8 − relu(x − (σy − σy + x)): 3/8 exactly, and as deployed (from the left); summed from the right, 3/8 − x."""
    net = _Net(PAIR)
    net.affine([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]], [1.0, 1.0, 0.0])
    copied = net.affine([[sigma, -sigma, 1.0]], [0.0])
    x = net.affine([[1.0, 0.0]], [0.0], 0)
    net.put(g.Sub(x, copied))
    net.relu()
    net.affine([[-1.0]], [0.375])
    return Attack(f"order, {sigma:g}", net.artifact(), NOT_NEGATIVE, "proved", ("unknown",))


def notices_flushing() -> Attack:
    """2^140·relu(2^-140·x) >= x/2: true but where numbers below the normal range count as 0."""
    net = _Net(UNIT)
    net.affine([[2.0**-140]], [0.0])
    net.relu()
    net.affine([[2.0**70]], [0.0])
    net.affine([[2.0**70]], [0.0])
    goal = atom(Fraction(1, 2**8), {0: Fraction(-1, 2)}, {0: 1})
    return Attack("flushing", net.artifact(), goal, "proved", ("unknown",))


def by_a_hair(seed: int, excess: int, weights: int = 24) -> Attack:
    """A relu network whose least value is known exactly, and a goal that fails by 2^-excess."""
    rng = np.random.default_rng(seed)
    net = _Net(UNIT)
    first = rng.uniform(0.1, 1.0, (weights, 1)).astype(np.float32)
    second = rng.uniform(0.1, 1.0, (1, weights)).astype(np.float32) * np.float32(2.0**20)
    bias = rng.uniform(0.0, 1.0, weights).astype(np.float32)
    net.affine(first, bias)
    net.relu()
    net.affine(second, [0.0])
    least = sum((Fraction(float(a)) * Fraction(float(b)) for a, b in zip(second[0], bias, strict=True)), Fraction(0))
    goal = atom(-least - Fraction(1, 2**excess), None, {0: 1})
    return Attack(f"by 2^-{excess}, {seed}", net.artifact(), goal, "violated", ("violated", "unknown"))


def cancelled(power: int) -> Attack:
    """(2^p + 1 − 2^p)·x − 1/2 over three terms: x − 1/2, which floats may take for −1/2 or for 2x − 1/2."""
    net = _Net(UNIT)
    big = 2.0**power
    net.affine([[1.0], [1.0], [1.0]], [1.0, 1.0, 0.0])
    net.relu()
    net.affine([[big, -big, 1.0]], [0.0])
    goal = atom(Fraction(-3, 4), None, {0: 1})
    return Attack(f"cancelled, 2^{power}", net.artifact(), goal, "violated", ("violated", "unknown"))


def overflows() -> Attack:
    """relu(3e38·x + 1e38) − the same: 0 exactly, NaN as executed."""
    net = _Net(UNIT)
    net.affine([[3e38], [3e38]], [1e38, 1e38])
    net.relu()
    net.affine([[1.0, -1.0]], [0.5])
    return Attack("overflow", net.artifact(), NOT_NEGATIVE, "proved", ("unknown",))


ATTACKS = (
    *(absorbed_backdoor(2.0**p) for p in (10, 25, 54, 60, 100)),
    *(opened_by_rounding(2.0**p) for p in (25, 54, 100)),
    *(notices_order(2.0**p) for p in (24, 53, 80)),
    notices_flushing(),
    *(by_a_hair(seed, excess) for seed, excess in ((1, 10), (2, 30), (3, 60), (4, 200))),
    *(cancelled(p) for p in (24, 53, 54, 90)),
    overflows(),
)
