"""Reward artifacts: what a learned reward is, where it is kept, what it computes, and how it is learned or imported.

Read in this order:

- `graph`, `artifact`      the values: a graph of ops over encoded columns, patches, schema, provenance
- `widths`, `schema`       what a sound artifact is; whether it fits the symbol that a spec declares
- `graph_json`, `manifest` artifact ⇄ canonical JSON; its digest is the artifact's name
- `store`                  artifact ⇄ folder or `.rwz`, atomically, trusting nothing that is read
- `deployed`               what it computes when executed: binary32, each row on its own
- `exact`                  what it means: rationals
- `enclosure`, `rounding`  the bridges between the two, rigorous: float64 enclosures, the deployed value's error
- `encode`                 rows in problem units → encoded columns, with the declared domain enforced
- `statistics`, `lineage`  data constants, exactly; an artifact's history
- `imports/`               rewards that were made elsewhere; `onnx_import`, `torch_import` beside it

Nothing here knows of rules or proofs. Torch is imported by learning and importing alone, and only when they run.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewarden.reward.artifact import Artifact as Artifact
    from rewarden.reward.artifact import DataSource as DataSource
    from rewarden.reward.artifact import Edit as Edit
    from rewarden.reward.artifact import Learner as Learner
    from rewarden.reward.artifact import RewardRecord as RewardRecord
    from rewarden.reward.deployed import forward as forward
    from rewarden.reward.enclosure import enclose as enclose
    from rewarden.reward.exact import evaluate as evaluate
    from rewarden.reward.graph import Graph as Graph
    from rewarden.reward.graph import Patch as Patch
    from rewarden.reward.lineage import history as history
    from rewarden.reward.rounding import deployed_error as deployed_error
    from rewarden.reward.schema import check_binding as check_binding
    from rewarden.reward.statistics import statistic as statistic
    from rewarden.reward.store import load_artifact as load_artifact
    from rewarden.reward.store import save_artifact as save_artifact

_HOME = {
    "Artifact": "artifact",
    "DataSource": "artifact",
    "Edit": "artifact",
    "Graph": "graph",
    "Learner": "artifact",
    "Patch": "graph",
    "RewardRecord": "artifact",
    "check_binding": "schema",
    "deployed_error": "rounding",
    "enclose": "enclosure",
    "evaluate": "exact",
    "forward": "deployed",
    "history": "lineage",
    "load_artifact": "store",
    "save_artifact": "store",
    "statistic": "statistics",
}
__all__ = sorted(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME)
