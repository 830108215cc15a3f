"""Graph ⇄ JSON: one table that says, for each op, its node class and the JSON key of each of its fields."""

from __future__ import annotations

from typing import Any

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
    Product,
    ReduceMax,
    ReduceMin,
    Relu,
    Scale,
    Sub,
)
from rewarden.spec_lang.errors import ArtifactError

# Keys stand in the order of the class's fields. `in`, `with` are nodes, `parts` a list of nodes, the rest tensor names.
OPS: dict[str, tuple[type[Node], tuple[str, ...]]] = {
    "input": (Input, ()),
    "scale": (Scale, ("in", "scale", "shift")),
    "affine": (AffineMap, ("in", "weight", "bias")),
    "relu": (Relu, ("in",)),
    "leaky_relu": (LeakyRelu, ("in", "slope")),
    "abs": (Abs, ("in",)),
    "add": (Add, ("in", "with")),
    "sub": (Sub, ("in", "with")),
    "minimum": (Minimum, ("in", "with")),
    "maximum": (Maximum, ("in", "with")),
    "min": (ReduceMin, ("in",)),
    "max": (ReduceMax, ("in",)),
    "clip": (Clip, ("in", "lo", "hi")),
    "concat": (Concat, ("parts",)),
    **{kind.function: (kind, ("in",)) for kind in SMOOTH},
    "product": (Product, ("in", "with")),
}
_OP_OF: dict[type[Node], str] = {node_type: op for op, (node_type, _) in OPS.items()}


def graph_to_json(graph: Graph) -> dict[str, object]:
    """`{"nodes": […], "output": index}`."""
    return {"nodes": [_node_to_json(node) for node in graph.nodes], "output": graph.output}


def _node_to_json(node: Node) -> dict[str, object]:
    op = _OP_OF[type(node)]
    values = (getattr(node, field) for field in type(node).__match_args__)
    fields = {key: list(v) if isinstance(v, tuple) else v for key, v in zip(OPS[op][1], values, strict=True)}
    return {"op": op, **fields}


def graph_from_json(value: object) -> Graph:
    """The graph; ArtifactError A14 for anything that is not one. Indices and shapes are checked by `widths`."""
    if not isinstance(value, dict) or set(value) != {"nodes", "output"} or not isinstance(value["nodes"], list):
        raise ArtifactError("A14", "the graph is not an object with a list of nodes and an output")
    return Graph(tuple(_node(v, i) for i, v in enumerate(value["nodes"])), _index(value["output"], "the output"))


def _node(value: object, number: int) -> Node:
    where = f"node {number}"
    op = value.get("op") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(op, str) or op not in OPS:
        raise ArtifactError("A14", f"{where} has the unknown op {op!r}", help="known ops: " + ", ".join(OPS))
    node_type, keys = OPS[op]
    if set(value) != {"op", *keys}:
        raise ArtifactError(
            "A14", f"{where} ({op}) has the wrong keys", help="its keys are " + ", ".join(("op", *keys))
        )
    return node_type(*(_field(key, value[key], where) for key in keys))


def _field(key: str, value: object, where: str) -> Any:  # noqa: ANN401 (int, text or tuple, as `key` says)
    match key:
        case "in" | "with":
            return _index(value, where)
        case "parts":
            if not isinstance(value, list) or not value:
                raise ArtifactError("A14", f"{where} concatenates nothing")
            return tuple(_index(v, where) for v in value)
        case _:
            if not isinstance(value, str):
                raise ArtifactError("A14", f"{where}: {key!r} is not the name of a tensor")
            return value


def _index(value: object, where: str) -> int:
    if type(value) is not int:
        raise ArtifactError("A14", f"{where}: {value!r} is not the index of a node")
    return value
