"""What a spec declares, read from its syntax tree alone: the reference evaluator's symbol table.

Nothing is checked: it is for specs that have passed the checks. `expanded` writes `use` out by its definition: every
declaration of a used file, under `name.`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from fractions import Fraction
from typing import Any

from rewarden.spec_lang import syntax
from rewarden.spec_lang.features import Feature, RecordType

Value = Fraction | bool | str


@dataclass(frozen=True)
class Declared:
    """One tree's declarations; `overrides` sets parameters from outside, numbers in the declared unit."""

    records: dict[str, RecordType]
    rewards: dict[str, tuple[str, ...]]  # the record types that each takes
    data: dict[str, tuple[tuple[str, str], ...]]  # members, as (name or "", record type)
    params: dict[str, syntax.ParamDecl]
    definitions: dict[str, syntax.Definition]
    assumptions: tuple[syntax.AssumeDecl, ...]
    rules: dict[str, syntax.RuleDecl]
    examples: tuple[syntax.ExampleDecl, ...]
    overrides: Mapping[str, Value] = field(default_factory=dict)


def declared(tree: syntax.SpecFile, overrides: Mapping[str, Value] | None = None) -> Declared:
    def of(kind: type[Any]) -> list[Any]:
        return [i for i in tree.items if isinstance(i, kind)]

    return Declared(
        records={i.name: RecordType(i.name, tuple(map(_feature, i.fields))) for i in of(syntax.FeaturesDecl)},
        rewards={i.name: tuple(p.type_name for p in i.params) for i in of(syntax.RewardSymbol)},
        data={i.name: i.members for i in of(syntax.DataSymbol)},
        params={i.name: i for i in of(syntax.ParamDecl)},
        definitions={i.name: i for i in of(syntax.Definition)},
        assumptions=tuple(of(syntax.AssumeDecl)),
        rules={i.name: i for i in of(syntax.RuleDecl)},
        examples=tuple(of(syntax.ExampleDecl)),
        overrides=overrides or {},
    )


def _feature(f: syntax.FieldDecl) -> Feature:
    lo, hi = f.range or (Fraction(0), Fraction(1))
    return Feature(f.name, f.kind, lo, hi, f.unit, f.cases, f.size or 1)


# ── use ────────────────────────────────────────────────────────────────────────────────────────
Read = Callable[[str, str], tuple[str, syntax.SpecFile]]  # (the user's file, path as written) → (which file, its tree)


@dataclass(frozen=True)
class _File:
    prefix: str  # "" for the root, else such as "v."
    tree: syntax.SpecFile
    uses: dict[str, str]  # alias → which file
    names: frozenset[str]


def expanded(tree: syntax.SpecFile, root: str, read: Read) -> syntax.SpecFile:
    """The tree with the declarations of all files that it uses, each file once, under the alias nearest to the root."""
    files: dict[str, _File] = {}
    waiting = [(root, "", tree)]
    while waiting:
        which, prefix, found = waiting.pop(0)
        if which in files:
            continue
        uses: dict[str, str] = {}
        for item in found.items:
            if isinstance(item, syntax.UseDecl):
                target, inner = read(which, item.path)
                uses[item.alias] = target
                waiting.append((target, f"{prefix}{item.alias}.", inner))
        named = (i.name for i in found.items if hasattr(i, "name") and not isinstance(i, syntax.RuleDecl))
        files[which] = _File(prefix, found, uses, frozenset(named))
    items: list[syntax.Item] = []
    for which, file in reversed(files.items()):
        own = (syntax.UseDecl,) if which == root else (syntax.UseDecl, syntax.RuleDecl, syntax.ExampleDecl)
        items += [_Renaming(file, files).of(i) for i in file.tree.items if not isinstance(i, own)]
    return replace(tree, items=tuple(items))


@dataclass(frozen=True)
class _Renaming:
    """Rebuilds the items of one file with the names that the whole has for them."""

    file: _File
    files: Mapping[str, _File]

    def full(self, written: str) -> str:
        """`Step`, `v.Step`, `v.w.logs.member`: the alias path gives way to its file's prefix."""
        file, parts = self.file, written.split(".")
        while parts[0] in file.uses:
            file = self.files[file.uses[parts.pop(0)]]
        return file.prefix + ".".join(parts) if parts[0] in file.names else written

    def of(self, node: Any) -> Any:
        if isinstance(node, tuple):
            return tuple(self.of(x) for x in node)
        if not is_dataclass(node) or type(node).__module__ != syntax.__name__:
            return node
        if isinstance(node, syntax.Field):
            return self.path(node)
        inner = {f.name: self.of(getattr(node, f.name)) for f in fields(node) if f.compare}
        return self.renamed(replace(node, **inner))

    def path(self, node: syntax.Field) -> Any:
        """`v.eps` is a field of `v` only until it is known that v is a file; what follows the name are features."""
        names: list[str] = []
        base: Any = node
        while isinstance(base, syntax.Field):
            names.insert(0, base.name)
            base = base.base
        if not isinstance(base, syntax.Name) or base.name not in self.file.uses:
            return replace(node, base=self.of(node.base))
        file, parts = self.files[self.file.uses[base.name]], names
        while parts[0] in file.uses:
            file = self.files[file.uses[parts.pop(0)]]
        found: Any = syntax.Name(file.prefix + parts.pop(0), node.span)
        for name in parts:
            found = syntax.Field(found, name, node.span, node.span)
        return found

    def renamed(self, node: Any) -> Any:
        match node:
            case syntax.Name():
                return replace(node, name=self.full(node.name))
            case syntax.Apply():
                return replace(node, function=self.full(node.function))
            case syntax.Param():
                return replace(node, type_name=self.full(node.type_name))
            case syntax.DataSymbol():
                members = tuple((name, self.full(kind)) for name, kind in node.members)
                return replace(node, name=self.full(node.name), members=members)
            case syntax.FeaturesDecl() | syntax.RewardSymbol() | syntax.ParamDecl() | syntax.Definition():
                return replace(node, name=self.full(node.name))
        return node
