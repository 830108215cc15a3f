"""A spec read with the features that only the other one has.

A rule says nothing about a feature that its spec does not declare. So before two specs are compared, each is read once
more with the other's additional features declared as well, ranges and all: `forall` then means every value of them,
`varying f` that they are equal in all records, `with` that they stay as they were. That is what the rule's text means
where those features are declared, and a rule whose text stays the same stays equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rewarden.spec_lang import syntax
from rewarden.spec_lang.analysis import Analysis, analyse_tree
from rewarden.spec_lang.compare.frame import type_pairs
from rewarden.spec_lang.spec import Spec


def lifted(old: Spec, new: Spec) -> tuple[Spec, Spec]:
    """Both specs with each other's features; a spec that has them all, or cannot be read with them, as it is."""
    pairs = type_pairs(old, new)
    return _with_features(old, new, dict(pairs)), _with_features(new, old, {b: a for a, b in pairs})


def _with_features(spec: Spec, other: Spec, counterpart: dict[str, str]) -> Spec:
    theirs = {item.name: item for item in other.expanded.items if isinstance(item, syntax.FeaturesDecl)}
    changed = False
    items: list[syntax.Item] = []
    for item in spec.expanded.items:
        if isinstance(item, syntax.FeaturesDecl) and counterpart.get(item.name) in theirs:
            mine = {field.name for field in item.fields}
            more = tuple(f for f in theirs[counterpart[item.name]].fields if f.name not in mine)
            changed = changed or bool(more)
            item = replace(item, fields=item.fields + more)
        items.append(item)
    if not changed:
        return spec
    found = read_again(spec, items)
    return found.spec if found.spec is not None else spec


def read_again(spec: Spec, items: Sequence[syntax.Item]) -> Analysis:
    """The spec with other declarations, its parameters set as they are."""
    params = {p.name: bool(p.value) if p.kind == "bool" else p.value for p in spec.params.values() if p.overridden}
    tree = replace(spec.expanded, items=tuple(items))
    return analyse_tree(spec.source, tree, params=params, base=spec.folders.base, allow=spec.folders.allowed)
