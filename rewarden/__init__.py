"""Rewarden: rules for learned rewards. Prove them, mend them, sign them.

    spec    = rw.load_spec("driving.rwd")
    reward  = rw.load_reward("reward/")
    result  = rw.verify(spec, R=reward)
    patched = rw.patch(spec, R=reward).artifact
    rw.certify(result, out="certificate/")

Rooms, from left to right; each imports only what stands to its left: `spec_lang` (what a rule means), `reward` (what a
reward is), `verifier` (whether a rule holds), `editor` (how to mend it), and this package, the application.
Everything here is loaded on first use, so that `import rewarden` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewarden.api import RewardenError as RewardenError
    from rewarden.api import certify as certify
    from rewarden.api import check_certificate as check_certificate
    from rewarden.api import compare_patches as compare_patches
    from rewarden.api import export_onnx as export_onnx
    from rewarden.api import falsify as falsify
    from rewarden.api import from_classifier as from_classifier
    from rewarden.api import from_exported as from_exported
    from rewarden.api import from_imitation as from_imitation
    from rewarden.api import from_onnx as from_onnx
    from rewarden.api import from_safetensors as from_safetensors
    from rewarden.api import from_torch as from_torch
    from rewarden.api import load_reward as load_reward
    from rewarden.api import load_spec as load_spec
    from rewarden.api import patch as patch
    from rewarden.api import save_reward as save_reward
    from rewarden.api import score_file as score_file
    from rewarden.api import verify as verify
    from rewarden.api import with_texts as with_texts
    from rewarden.jobs import audit_report as audit_report
    from rewarden.jobs import bake as bake
    from rewarden.jobs import check as check
    from rewarden.jobs import diff as diff
    from rewarden.jobs import encode as encode
    from rewarden.jobs import inspect as inspect
    from rewarden.jobs import learn as learn
    from rewarden.jobs import merge as merge
    from rewarden.jobs import promise as promise
    from rewarden.jobs import revert as revert
    from rewarden.jobs import squash as squash
    from rewarden.jobs import unlearn as unlearn

__version__ = "0.1.0"

_JOBS = (
    "audit_report",
    "bake",
    "check",
    "diff",
    "encode",
    "inspect",
    "learn",
    "merge",
    "promise",
    "revert",
    "squash",
    "unlearn",
)

__all__ = [
    "RewardenError",
    "__version__",
    "audit_report",
    "bake",
    "certify",
    "check",
    "check_certificate",
    "compare_patches",
    "diff",
    "encode",
    "export_onnx",
    "falsify",
    "from_classifier",
    "from_exported",
    "from_imitation",
    "from_onnx",
    "from_safetensors",
    "from_torch",
    "inspect",
    "learn",
    "load_reward",
    "load_spec",
    "merge",
    "patch",
    "promise",
    "revert",
    "save_reward",
    "score_file",
    "squash",
    "unlearn",
    "verify",
    "with_texts",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("rewarden.jobs" if name in _JOBS else "rewarden.api"), name)
    raise AttributeError(f"module 'rewarden' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
