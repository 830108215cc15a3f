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
    from rewarden.api import (
        certify as certify,
        check_certificate as check_certificate,
        falsify as falsify,
        from_onnx as from_onnx,
        from_torch as from_torch,
        load_reward as load_reward,
        load_spec as load_spec,
        patch as patch,
        save_reward as save_reward,
        verify as verify,
    )

__version__ = "0.1.0"

_API = (
    "certify",
    "check_certificate",
    "falsify",
    "from_onnx",
    "from_torch",
    "load_reward",
    "load_spec",
    "patch",
    "save_reward",
    "verify",
)

__all__ = ["__version__", *_API]


def __getattr__(name: str) -> object:
    if name in _API:
        return getattr(import_module("rewarden.api"), name)
    raise AttributeError(f"module 'rewarden' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
