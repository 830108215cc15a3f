"""Verdicts: obligations × artifacts → proved, violated, vacuous or unknown, with a proof or a witness.

Read in this order.

`program`         the layers that get bounded, and `inline`, which makes them of a claim and its artifacts
`exact_program`   a program at a point in rationals: the judge of every witness
`bind`            a rule and artifacts → a claim (torch-free, z3-free: certificates are recompiled with it)
`witness`         an exactly checked point in named features and units, beside what the deployed reward says; `snap`
                  makes exact candidates of floating-point guesses
`falsify`         the search for violations in float64 (`float_program`, `starts`); `premise`: is a rule vacuous?
`rounding`, `box_minimum`, `relaxation`, `backsub`, `facts`, `branch` … bound propagation and branch and bound
`z3_engine`       the complete engine for small rewards and leaves
`identified`      does a rule survive what its reward is free to do (shift, scale)?
`options`, `progress`, `verdict`  what goes in and what comes out
`portfolio`       which engine when: `verify`, `verify_claim`

What floating point computes is only ever a hint, or is bounded with its rounding errors. Nothing here may be imported
by `spec_lang` or `reward`, and nothing here imports `editor` or the application. Importing this package loads neither
torch nor z3: the names below load their module on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewarden.verifier.bind import bind
    from rewarden.verifier.exact_program import ExactProgram
    from rewarden.verifier.falsify import falsify
    from rewarden.verifier.inline import compile_program
    from rewarden.verifier.options import VerifyOptions
    from rewarden.verifier.portfolio import verify, verify_claim
    from rewarden.verifier.program import Program
    from rewarden.verifier.progress import Progress
    from rewarden.verifier.verdict import Reason, RuleResult, Verdict, VerificationResult, Work
    from rewarden.verifier.witness import Witness, replay

_HOMES = {
    "bind": "bind",
    "ExactProgram": "exact_program",
    "falsify": "falsify",
    "compile_program": "inline",
    "VerifyOptions": "options",
    "verify": "portfolio",
    "verify_claim": "portfolio",
    "Program": "program",
    "Progress": "progress",
    "Reason": "verdict",
    "RuleResult": "verdict",
    "Verdict": "verdict",
    "VerificationResult": "verdict",
    "Work": "verdict",
    "Witness": "witness",
    "replay": "witness",
}

__all__ = [
    "ExactProgram",
    "Program",
    "Progress",
    "Reason",
    "RuleResult",
    "Verdict",
    "VerificationResult",
    "VerifyOptions",
    "Witness",
    "Work",
    "bind",
    "compile_program",
    "falsify",
    "replay",
    "verify",
    "verify_claim",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
