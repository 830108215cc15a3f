"""Small random artifacts with every op and with patches, for property tests of any room.

`random_artifact(rng, record_type)` is a function of the generator's state alone; `artifacts()` is the same as a
hypothesis strategy (it draws a seed, so a failure prints one number).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact, RewardRecord
from rewarden.reward.graph import (
    SMOOTH,
    Abs,
    Add,
    AffineMap,
    Clip,
    Concat,
    Graph,
    Input,
    LeakyRelu,
    Maximum,
    Minimum,
    Node,
    Patch,
    Product,
    ReduceMax,
    ReduceMin,
    Relu,
    Scale,
    Sub,
)
from rewarden.spec_lang.features import Feature, RecordType

ALL_OPS = (
    "scale", "affine", "relu", "leaky_relu", "abs", "add", "sub", "minimum", "maximum", "min", "max", "clip", "concat",
)  # fmt: skip
MLP_OPS = ("affine", "relu")
SMOOTH_KINDS = {kind.function: kind for kind in SMOOTH}
SMOOTH_OPS = ("affine", "affine", "relu", "add", "concat", "min", "product", *SMOOTH_KINDS)

MIXED = RecordType(
    "Step",
    (
        Feature("speed", "real", Fraction(0), Fraction(5, 2), "m/s"),
        Feature("gap", "real", Fraction(-1), Fraction(1, 3), "m"),
        Feature("count", "int", Fraction(-2), Fraction(5)),
        Feature("near", "bool", Fraction(0), Fraction(1)),
        Feature("zone", "enum", Fraction(0), Fraction(1), None, ("aisle", "dock", "charger")),
        Feature("e", "real", Fraction(-1), Fraction(1), None, (), 2),
    ),
)
TWO_REALS = RecordType(
    "Point", (Feature("x", "real", Fraction(-1), Fraction(1)), Feature("y", "real", Fraction(0), Fraction(2)))
)


def random_record_type(rng: np.random.Generator, name: str = "T") -> RecordType:
    """One to four features of random kinds and ranges."""
    features = []
    for i in range(int(rng.integers(1, 5))):
        kind = str(rng.choice(["real", "real", "int", "bool", "enum"]))
        if kind == "bool":
            features.append(Feature(f"f{i}", "bool", Fraction(0), Fraction(1)))
        elif kind == "enum":
            cases = tuple(f"c{j}" for j in range(int(rng.integers(2, 4))))
            features.append(Feature(f"f{i}", "enum", Fraction(0), Fraction(1), None, cases))
        elif kind == "int":
            lo = int(rng.integers(-4, 3))
            features.append(Feature(f"f{i}", "int", Fraction(lo), Fraction(lo + int(rng.integers(1, 6)))))
        else:
            lo = Fraction(int(rng.integers(-40, 30)), int(rng.integers(1, 12)))
            hi = lo + Fraction(int(rng.integers(1, 60)), int(rng.integers(1, 12)))
            features.append(
                Feature(f"f{i}", "real", lo, hi, str(rng.choice(["m", "m/s", "kg"])), (), int(rng.integers(1, 3)))
            )
    return RecordType(name, tuple(features))


class _Builder:
    """Mutable: nodes, widths and tensors so far."""

    def __init__(self, rng: np.random.Generator, width: int) -> None:
        self.rng = rng
        self.nodes: list[Node] = [Input()]
        self.widths = [width]
        self.tensors: dict[str, NDArray[np.float32]] = {}

    def tensor(self, *shape: int, scale: float = 1.0) -> str:
        """A new normal tensor; some entries are 0, some round, so that ties and kinks occur."""
        values = self.rng.normal(size=shape) * scale
        values = np.where(self.rng.random(shape) < 0.15, np.round(values), values)
        return self.constant(values)

    def constant(self, values: object) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = np.asarray(values, dtype=np.float32)
        return name

    def put(self, node: Node, width: int) -> int:
        self.nodes.append(node)
        self.widths.append(width)
        return len(self.nodes) - 1

    def some_node(self) -> int:
        """An earlier node, later ones preferred."""
        return len(self.nodes) - 1 - min(int(self.rng.geometric(0.5)) - 1, len(self.nodes) - 1)

    def affine(self, source: int, width: int) -> int:
        n = self.widths[source]
        return self.put(AffineMap(source, self.tensor(width, n, scale=n**-0.5), self.tensor(width, scale=0.3)), width)

    def partner(self, source: int) -> int:
        """A node of the same width as `source`."""
        same = [i for i, w in enumerate(self.widths) if w == self.widths[source] and i != source]
        if same and self.rng.random() < 0.5:
            return int(self.rng.choice(same))
        return self.affine(self.some_node(), self.widths[source])

    def op(self, op: str) -> int:
        source = self.some_node()
        width = self.widths[source]
        match op:
            case "scale":
                return self.put(Scale(source, self.tensor(width), self.tensor(width, scale=0.3)), width)
            case "affine":
                return self.affine(source, int(self.rng.integers(1, 7)))
            case "relu" | "abs":
                return self.put(Relu(source) if op == "relu" else Abs(source), width)
            case "leaky_relu":
                return self.put(LeakyRelu(source, self.constant([self.rng.random()])), width)
            case "add" | "sub" | "minimum" | "maximum" | "product":
                kinds = {"add": Add, "sub": Sub, "minimum": Minimum, "maximum": Maximum, "product": Product}
                kind = kinds[op]
                return self.put(kind(source, self.partner(source)), width)
            case "min" | "max":
                return self.put(ReduceMin(source) if op == "min" else ReduceMax(source), 1)
            case "clip":
                lo, hi = np.sort(self.rng.normal(size=2).astype(np.float32))
                return self.put(Clip(source, self.constant([lo]), self.constant([hi])), width)
            case "concat":
                other = self.some_node()
                if width + self.widths[other] > 24:
                    return self.affine(source, 3)
                return self.put(Concat((source, other)), width + self.widths[other])
            case _:
                return self.put(SMOOTH_KINDS[op](source), width)


def random_artifact(
    rng: np.random.Generator,
    record_type: RecordType | Sequence[RecordType] = TWO_REALS,
    ops: Sequence[str] = ALL_OPS,
    *,
    size: int = 6,
    patches: int = 0,
) -> Artifact:
    """An artifact over one or several record types: `size` random ops, then an affine node of width 1, then patches."""
    types = (record_type,) if isinstance(record_type, RecordType) else tuple(record_type)
    records = tuple(RewardRecord(f"s{i}", t) for i, t in enumerate(types))
    builder = _Builder(rng, sum(t.width for t in types))
    for op in rng.choice(list(ops), size=size):
        builder.op(str(op))
    output = builder.affine(len(builder.nodes) - 1, 1)
    made = tuple(random_patch(builder, records, i) for i in range(patches))
    return Artifact(records, Graph(tuple(builder.nodes), output), builder.tensors, "exact", patches=made)


def random_mlp(
    rng: np.random.Generator, record_type: RecordType = TWO_REALS, hidden: Sequence[int] = (6, 6), *, patches: int = 0
) -> Artifact:
    """A plain ReLU network with a normaliser."""
    records = (RewardRecord("s", record_type),)
    builder = _Builder(rng, record_type.width)
    last = builder.put(
        Scale(0, builder.tensor(record_type.width), builder.tensor(record_type.width)), record_type.width
    )
    for width in hidden:
        last = builder.put(Relu(builder.affine(last, width)), width)
    output = builder.affine(last, 1)
    made = tuple(random_patch(builder, records, i) for i in range(patches))
    return Artifact(records, Graph(tuple(builder.nodes), output), builder.tensors, "exact", patches=made)


def random_patch(builder: _Builder, records: tuple[RewardRecord, ...], number: int) -> Patch:
    """A patch on a random polytope around a random point of the domain."""
    rng = builder.rng
    columns = [c for r in records for c in r.type.columns()]
    ranges = np.array([float(c.hi - c.lo) or 1.0 for c in columns])
    centre = random_rows(rng, [r.type for r in records], 1)[0]
    rows = rng.normal(size=(int(rng.integers(1, 4)), len(columns))) * (rng.random(len(columns)) < 0.7) / ranges * 4
    offsets = rows @ centre + rng.normal(size=len(rows)) * 0.7
    return Patch(
        kind=str(rng.choice(["ceiling", "floor"])),
        rows=builder.constant(rows),
        offsets=builder.constant(offsets),
        level=builder.tensor(1, scale=0.5),
        slope=builder.constant([rng.exponential(2.0)]),
        delta=builder.constant([rng.choice([0.0, 2.0**-20, 0.01])]),
        gate=builder.constant([1.0 - float(rng.choice([0.0, 2.0**-20, 0.01]))]),
        rule=f"rule_{number}",
    )


def random_rows(
    rng: np.random.Generator, record_type: RecordType | Sequence[RecordType], count: int
) -> NDArray[np.float64]:
    """Encoded rows [count, width] in the declared ranges, a few at the ends; discrete columns whole, enums one-hot."""
    types = (record_type,) if isinstance(record_type, RecordType) else tuple(record_type)
    blocks = []
    for feature in (f for t in types for f in t.features):
        lo, hi = float(feature.lo), float(feature.hi)
        if feature.kind == "enum":
            blocks.append(np.eye(len(feature.cases))[rng.integers(0, len(feature.cases), size=count)])
        elif feature.kind == "real":
            values = np.clip(lo + (hi - lo) * rng.random((count, feature.size)), _up(feature.lo), _down(feature.hi))
            ends = np.where(rng.random(values.shape) < 0.5, _up(feature.lo), _down(feature.hi))
            blocks.append(np.where(rng.random(values.shape) < 0.1, ends, values))
        else:
            blocks.append(rng.integers(int(lo), int(hi) + 1, size=(count, feature.size)).astype(np.float64))
    return np.concatenate(blocks, axis=1)


def _up(value: Fraction) -> float:
    """The least binary64 that is not below the value."""
    return float(value) if Fraction(float(value)) >= value else float(np.nextafter(float(value), np.inf))


def _down(value: Fraction) -> float:
    return -_up(-value)


seeds = st.integers(0, 2**32 - 1)


@st.composite
def artifacts(
    draw: st.DrawFn, record_type: RecordType = TWO_REALS, ops: Sequence[str] = ALL_OPS, max_patches: int = 2
) -> Artifact:
    """A random artifact of up to eight ops and `max_patches` patches."""
    rng = np.random.default_rng(draw(seeds))
    return random_artifact(
        rng, record_type, ops, size=draw(st.integers(0, 8)), patches=draw(st.integers(0, max_patches))
    )
