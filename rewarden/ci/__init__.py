"""Verification that lives in CI: everything that `rewarden.toml` names, in one answer with one exit status.

    outcome = run_ci(find_config(), CiOptions(fail_on="should"))
    outcome.status

To read in this order: `outcome` (what is found, as values), `policy` (what fails), `fingerprint` (one name for what a
rule claims), `waivers` and `baseline` (violations that do not fail), `checks` (the spec itself, decided once), `run`
(all of it together). What other tools read is made of an `Outcome` by `rewarden.outputs`. Nothing here prints, and a
run in which nothing has changed imports neither torch nor z3.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewarden.ci.fingerprint import fingerprint as fingerprint
    from rewarden.ci.outcome import Outcome as Outcome
    from rewarden.ci.run import CiOptions as CiOptions
    from rewarden.ci.run import run_ci as run_ci

_HOMES = {"CiOptions": "run", "Outcome": "outcome", "fingerprint": "fingerprint", "run_ci": "run"}
__all__ = ["CiOptions", "Outcome", "fingerprint", "run_ci"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"rewarden.ci.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'rewarden.ci' has no attribute {name!r}")
