"""Verdicts: obligations × artifacts → proved, violated, vacuous or unknown, with a proof or a witness.

Read in this order.

`program`         the layers that get bounded, and `inline`, which makes them of a claim and its artifacts; `linear`, of
                  rewards that are linear
`exact_program`   a program at a point in rationals: the judge of every witness
`bind`            a rule and artifacts → a claim (torch-free, z3-free: certificates are recompiled with it)
`witness`         an exactly checked point in named features and units, beside what the deployed reward says; `snap`
                  makes exact candidates of floating-point guesses
`falsify`         the search for violations in float64 (`float_program`, `starts`); `premise`: is a rule vacuous?
`rounding`, `fusion`, `relaxation`, `backsub`, `facts`   sound bounds: back-substitution with its rounding errors
`frontier`, `splitting`, `leaves`, `proof_tree`, `branch`   branch and bound on inputs, and the proof that comes of it
`extremum`        a certified bound of a reward over a region (what a patch is built from)
`differences`     two calls as one and a difference; `wide`: many boxes of many variables, by signs of neurons
`cells`, `lp`     compiled search over boxes and signs of neurons; linear programs over both
`loops`           rules about cycles and long traces: a graph of cells, potentials, sums along paths
`engines`         every way to settle a claim behind one interface, each of them alone or in `decision`'s order
`z3_engine`       the complete engine for small rewards and leaves
`identified`      does a rule survive what its reward is free to do (shift, scale)?
`options`, `progress`, `answer`, `verdict`  what goes in and what comes out
`regions`, `region_words`, `coverage`   parts of a region: exact shares, boxes joined, in words; `nearest` data rows
`kept`, `saved`, `saved_search` and the others of that name   verdicts from earlier runs; what a killed run goes on from
`decision`        which engine when: `verify_claim`; `portfolio`: `verify`, all rules of a spec

What floating point computes is only ever a hint, or is bounded with its rounding errors. Nothing here may be imported
by `spec_lang` or `reward`, and nothing here imports `editor` or the application. Importing this package loads neither
torch nor z3: the names below load their module on first use. `bind.bind` and `falsify.falsify` are imported from their
modules, since a package cannot give one name to a module and to a function.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewarden.verifier.decision import verify_claim
    from rewarden.verifier.exact_program import ExactProgram
    from rewarden.verifier.inline import compile_program
    from rewarden.verifier.options import VerifyOptions
    from rewarden.verifier.portfolio import verify
    from rewarden.verifier.program import Program
    from rewarden.verifier.progress import Progress
    from rewarden.verifier.verdict import Reason, RuleResult, Verdict, VerificationResult, Work
    from rewarden.verifier.witness import Witness, replay

_HOMES = {
    "ExactProgram": "exact_program",
    "compile_program": "inline",
    "VerifyOptions": "options",
    "verify": "portfolio",
    "verify_claim": "decision",
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
    "compile_program",
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
