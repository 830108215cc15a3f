"""The language of rules: text, types, units, obligations, and what they mean to each engine.

A spec (`.rwd`) says, in the words and units of the domain, what a learned reward must never do. This package reads
it, finds what is wrong with it, and lowers every rule to one exact structure, the obligation, which is then read
three ways: as a claim to prove, as Z3 terms, as a differentiable penalty. It knows nothing of how a reward is stored,
trained or bounded: here a reward is a free symbol.

    spec = load_spec("driving.rwd")
    spec.obligation("slow_near_people")

Read in this order:

    source, errors, diagnostics, codes   where something is, what is wrong, how it is said
    grammar.lark, parser, tree_builder   text to syntax tree; `syntax` is the tree, `printer` its canonical text
    units, types, features               quantities, with exact factors to SI
    symbols, scope, check, params,       names, types, units: every mistake of a file at once
      check_functions, check_units,
      check_rules
    forms, formulas, bounds              exact arithmetic on terms and formulas
    values, lower_expressions, beyond,   the checked tree to `obligation`s
      lower_functions, updates,
      neighbourhood, lower
    spec                                 all of it together: `load_spec`
    tables                               data files as checked tables
    claim, claims, claim_json, sentence  an obligation in the normal form that is proved, certified and read aloud
    z3_terms, penalty                    the other two readings

Nothing here imports the other rooms. Importing this package loads neither torch nor Z3: names come on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewarden.spec_lang.errors import RewardenError, SpecError
    from rewarden.spec_lang.features import Feature, RecordType
    from rewarden.spec_lang.obligation import Obligation
    from rewarden.spec_lang.spec import DataDecl, RewardDecl, Rule, Spec, load_spec, parse_spec

_HOME = {
    "RewardenError": "errors",
    "SpecError": "errors",
    "Feature": "features",
    "RecordType": "features",
    "Obligation": "obligation",
    "DataDecl": "spec",
    "RewardDecl": "spec",
    "Rule": "spec",
    "Spec": "spec",
    "load_spec": "spec",
    "parse_spec": "spec",
}

__all__ = [
    "DataDecl",
    "Feature",
    "Obligation",
    "RecordType",
    "RewardDecl",
    "RewardenError",
    "Rule",
    "Spec",
    "SpecError",
    "load_spec",
    "parse_spec",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
