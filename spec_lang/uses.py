"""`use "file" as name`: the declarations of other spec files, written into the tree under dotted names.

Every file is read once, whatever the number of ways that lead to it: the first alias found, nearest to the root,
names its declarations for all, so that two vocabularies that use a third speak of the same records. Files lie in the
spec's own folder or below it, or in a folder that the caller allows. Rules and examples stay with the file that holds
them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rewarden.spec_lang import limits, syntax
from rewarden.spec_lang.errors import Label, SpecError, UsageError
from rewarden.spec_lang.findings import Findings
from rewarden.spec_lang.parser import decode, parse

ReadFile = Callable[[Path], bytes]


def read_file(path: Path) -> bytes:
    """A spec file's bytes, one more than allowed at most. UsageError G20."""
    try:
        with path.open("rb") as file:
            return file.read(limits.TEXT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
        raise UsageError("G20", f"cannot read the spec {path}: {reason}") from None


@dataclass(frozen=True, slots=True)
class Folders:
    """Where files may lie: `base` is the spec's own folder (None: the text has none), `allowed` are further ones."""

    base: Path | None
    allowed: tuple[Path, ...] = ()

    def roots(self) -> tuple[Path, ...]:
        return tuple(p.resolve() for p in (*(() if self.base is None else (self.base,)), *self.allowed))

    def holds(self, path: Path) -> bool:
        """Is a resolved path in one of them?"""
        return any(path.is_relative_to(root) for root in self.roots())


@dataclass(slots=True, eq=False)
class _File:
    """One file of the graph; `prefix` is "" for the root, else such as "v." """

    path: Path
    tree: syntax.SpecFile
    prefix: str
    declared: frozenset[str]
    uses: dict[str, _File] = field(default_factory=dict)


def expand(
    tree: syntax.SpecFile, folders: Folders, findings: Findings, read: ReadFile = read_file, root: Path | None = None
) -> syntax.SpecFile:
    """The tree with the declarations of all used files before its own; itself where it uses none.

    Reports L06 to L10 at the `use`, and a used file's own errors where they stand in it.
    """
    if not any(isinstance(item, syntax.UseDecl) for item in tree.items):
        check_paths(tree, findings)
        return tree
    if folders.base is None:
        for use in _uses(tree):
            findings.add("L07", f"no folder to look for {use.path} in", use.span, help="load the spec from a file")
        return replace(tree, items=tuple(i for i in tree.items if not isinstance(i, syntax.UseDecl)))
    loader = _Loader(folders, findings, read)
    files = loader.load(_file(root or folders.base.resolve() / "\0", tree, ""))
    if loader.cyclic(files):
        return replace(tree, items=())
    items = [item for file in reversed(files) for item in _renamed_items(file, folders.base)]
    return replace(tree, items=tuple(items))


def check_paths(tree: syntax.SpecFile, findings: Findings) -> None:
    """L06 for data outside the folder of the file that declares them."""
    for data in tree.items:
        if isinstance(data, syntax.DataSymbol) and _strays(data.path):
            help = 'write a path below the spec\'s folder, as in "data/logs.parquet"'
            findings.add("L06", "data lies below the spec's folder", data.span, help=help)


def _strays(path: str) -> bool:
    parts = Path(path).parts
    return not parts or Path(path).is_absolute() or ".." in parts or "\0" in path or "\\" in path


def _uses(tree: syntax.SpecFile) -> Iterator[syntax.UseDecl]:
    return (item for item in tree.items if isinstance(item, syntax.UseDecl))


def _file(path: Path, tree: syntax.SpecFile, prefix: str) -> _File:
    named = (syntax.FeaturesDecl, syntax.RewardSymbol, syntax.DataSymbol, syntax.ParamDecl, syntax.Definition)
    return _File(path, tree, prefix, frozenset(i.name for i in tree.items if isinstance(i, named)))


class _Loader:
    """Breadth first from the root, each file once."""

    def __init__(self, folders: Folders, findings: Findings, read: ReadFile) -> None:
        self.folders, self.findings, self.read = folders, findings, read
        self.edges: list[tuple[_File, _File, syntax.UseDecl]] = []

    def load(self, root: _File) -> list[_File]:
        """The root and every file that it reaches, nearest first."""
        known = {root.path: root}
        files = [root]
        for file in files:  # grows while it is walked
            check_paths(file.tree, self.findings)
            for use in _uses(file.tree):
                target = self._target(file, use, known, files)
                if target is None:
                    continue
                if use.alias in file.uses:
                    self.findings.add("N04", f"{use.alias} is declared twice", use.name_span)
                file.uses[use.alias] = target
                self.edges.append((file, target, use))
        return files

    def _target(self, file: _File, use: syntax.UseDecl, known: dict[Path, _File], files: list[_File]) -> _File | None:
        assert self.folders.base is not None
        path = self._path(file, use, self.folders.base)
        if path is None or path in known:
            return None if path is None else known[path]
        if len(files) >= limits.USED_FILES:
            message = f"more than {limits.USED_FILES} files are used"
            self.findings.add("L10", message, use.span, help="join some of them")
            return None
        try:
            name = os.path.relpath(path, self.folders.base.resolve())
            tree = parse(decode(self.read(path), name))
        except UsageError as error:
            self.findings.add("L07", f"cannot use {use.path}: {error.message.partition(': ')[2]}", use.span)
            return None
        except SpecError as error:
            for d in error.diagnostics:
                self.findings.add(d.code, d.message, d.labels, related=d.related, help=d.help)
            self.findings.add("L07", f"{use.path} has errors of its own", use.span, help="mend them first")
            return None
        known[path] = _file(path, tree, f"{file.prefix}{use.alias}.")
        self._hiding(known[path])
        files.append(known[path])
        return known[path]

    def _hiding(self, file: _File) -> None:
        """N10: renaming goes by name, so no record of a used file may have the name of a declaration."""
        taken = file.declared | {use.alias for use in _uses(file.tree)}
        for item in file.tree.items:
            params = item.params if isinstance(item, syntax.Definition) else ()
            for p in (item.param,) if isinstance(item, syntax.AssumeDecl) else params:
                if p.name in taken:
                    self.findings.add("N10", f"record {p.name} would hide a declaration", p.span)

    def _path(self, file: _File, use: syntax.UseDecl, base: Path) -> Path | None:
        folder = file.path.parent if file.prefix else base.resolve()
        try:
            path = (folder / use.path).resolve()
            special = path.exists() and not (path.is_file() or path.is_dir())
        except (OSError, ValueError, RuntimeError):
            self.findings.add("L07", f"cannot use {use.path!r}: not a path", use.span)
            return None
        if not self.folders.holds(path):
            help = "move it into the folder, or allow its folder (--allow-path)"
            self.findings.add("L09", f"{use.path} lies outside the spec's folder", use.span, help=help)
            return None
        if special:  # reading a pipe may wait forever
            self.findings.add("L07", f"cannot use {use.path!r}: not a regular file", use.span)
            return None
        return path

    def cyclic(self, files: Sequence[_File]) -> bool:
        """Do files use each other in a circle? L08 says which."""
        import networkx as nx

        graph = nx.DiGraph([(id(a), id(b)) for a, b, _ in self.edges])
        graph.add_nodes_from(id(f) for f in files)
        if nx.is_directed_acyclic_graph(graph):
            return False
        loop = nx.find_cycle(graph, id(files[0]))
        spans = {(id(a), id(b)): use for a, b, use in self.edges}
        uses = [spans[edge[0], edge[1]] for edge in loop]
        chain = " → ".join(f'"{use.path}"' for use in uses)
        labels = (Label(uses[0].span), *(Label(u.span) for u in uses[1:] if u.span.source is uses[0].span.source))
        self.findings.add("L08", f"spec files use each other in a circle: {chain}", labels)
        return True


# ── renaming ───────────────────────────────────────────────────────────────────────────────────
def _renamed_items(file: _File, base: Path) -> Iterator[syntax.Item]:
    renaming = _Renaming(file)
    for item in file.tree.items:
        if file.prefix and isinstance(item, syntax.RuleDecl | syntax.ExampleDecl):
            continue
        renamed = renaming.item(item)
        if isinstance(renamed, syntax.DataSymbol) and file.prefix:
            path = os.path.relpath(file.path.parent / renamed.path, base.resolve())
            renamed = replace(renamed, path=Path(path).as_posix())
        yield renamed


class _Renaming:
    """Names as one file writes them → names as the expanded tree has them."""

    def __init__(self, file: _File) -> None:
        self.file = file

    def name(self, written: str) -> str:
        """`Step` → `v.Step` in the used file; `v.w.Step` → the one name of that declaration."""
        if "." not in written:
            return self.file.prefix + written if written in self.file.declared else written
        file: _File = self.file
        parts = written.split(".")
        while len(parts) > 1 and parts[0] in file.uses:
            file = file.uses[parts.pop(0)]
        return written if file is self.file else file.prefix + ".".join(parts)

    def item(self, item: syntax.Item) -> syntax.Item:
        match item:
            case syntax.FeaturesDecl():
                return replace(item, name=self.name(item.name))
            case syntax.AssumeDecl():
                return replace(item, param=self._param(item.param), body=self.expr(item.body))
            case syntax.RewardSymbol():
                return replace(item, name=self.name(item.name), params=self._params(item.params))
            case syntax.DataSymbol():
                members = tuple((member, self.name(kind)) for member, kind in item.members)
                return replace(item, name=self.name(item.name), members=members)
            case syntax.ParamDecl():
                return replace(item, name=self.name(item.name), value=self.expr(item.value))
            case syntax.Definition():
                return replace(
                    item, name=self.name(item.name), params=self._params(item.params), body=self.expr(item.body)
                )
            case syntax.UseDecl():
                return replace(item, alias=self.file.prefix + item.alias)
            case syntax.ExampleDecl():
                return replace(item, cases=tuple(self._case(c) for c in item.cases))
            case syntax.RuleDecl():
                return self._rule(item)

    def _case(self, case: syntax.ExampleCase) -> syntax.ExampleCase:
        return replace(case, records=tuple(replace(b, updates=self._updates(b.updates)) for b in case.records))

    def _rule(self, rule: syntax.RuleDecl) -> syntax.RuleDecl:
        return replace(
            rule,
            quantifier=self._quantifier(rule.quantifier),
            given=None if rule.given is None else self.expr(rule.given),
            expect=self.expr(rule.expect),
            confidence=None if rule.confidence is None else self.expr(rule.confidence),
            weight=None if rule.weight is None else self.expr(rule.weight),
        )

    def _quantifier(self, q: syntax.Quantifier) -> syntax.Quantifier:
        match q:
            case syntax.Forall():
                return replace(q, params=self._params(q.params))
            case syntax.Near(radius=radius):
                around = self._updates(radius) if isinstance(radius, tuple) else self.expr(radius)
                return replace(q, param=self._param(q.param), data=self._named(q.data), radius=around)
            case syntax.ForallRows():
                return replace(q, data=self._named(q.data))
            case syntax.Trace(relation=relation):
                via = None if relation is None else self._named(relation)
                return replace(q, param=self._param(q.param), steps=self.expr(q.steps), relation=via)
            case syntax.Cycle():
                return replace(q, param=self._param(q.param), relation=self._named(q.relation))

    def _named(self, name: syntax.Name) -> syntax.Name:
        return replace(name, name=self.name(name.name))

    def _param(self, p: syntax.Param) -> syntax.Param:
        return replace(p, type_name=self.name(p.type_name))

    def _params(self, params: tuple[syntax.Param, ...]) -> tuple[syntax.Param, ...]:
        return tuple(self._param(p) for p in params)

    def _updates(self, updates: tuple[syntax.Update, ...]) -> tuple[syntax.Update, ...]:
        return tuple(replace(u, value=self.expr(u.value)) for u in updates)

    def expr(self, expr: syntax.Expr) -> syntax.Expr:
        """Records, features and cases keep their names; a path that begins with an alias becomes one name."""
        match expr:
            case syntax.Number() | syntax.Truth():
                return expr
            case syntax.Name():
                return self._named(expr)
            case syntax.Field():
                return self._path(expr)
            case syntax.Apply():
                return replace(
                    expr, function=self.name(expr.function), arguments=tuple(self.expr(a) for a in expr.arguments)
                )
            case syntax.With():
                return replace(expr, base=self.expr(expr.base), updates=self._updates(expr.updates))
            case syntax.Index():
                return replace(expr, base=self.expr(expr.base))
            case syntax.Abs() | syntax.Negate() | syntax.Not() | syntax.Temporal():
                return replace(expr, inner=self.expr(expr.inner))
            case syntax.Arithmetic():
                rest = tuple((op, self.expr(e)) for op, e in expr.rest)
                return replace(expr, first=self.expr(expr.first), rest=rest)
            case syntax.Compare():
                chain = tuple((op, self.expr(e)) for op, e in expr.rest)
                return replace(expr, first=self.expr(expr.first), rest=chain)
            case syntax.Connective():
                return replace(expr, parts=tuple(self.expr(p) for p in expr.parts))
            case syntax.Implies():
                return replace(expr, premise=self.expr(expr.premise), conclusion=self.expr(expr.conclusion))
            case syntax.If():
                return replace(
                    expr,
                    condition=self.expr(expr.condition),
                    then=self.expr(expr.then),
                    otherwise=self.expr(expr.otherwise),
                )
            case syntax.Discounted():
                return replace(expr, inner=self.expr(expr.inner), factor=self.expr(expr.factor))

    def _path(self, expr: syntax.Field) -> syntax.Expr:
        steps: list[syntax.Field] = []
        base: syntax.Expr = expr
        while isinstance(base, syntax.Field):
            steps.append(base)
            base = base.base
        steps.reverse()
        if not isinstance(base, syntax.Name) or base.name not in self.file.uses:
            return replace(expr, base=self.expr(expr.base))
        file = self.file.uses[base.name]
        taken = 0
        while taken < len(steps) - 1 and steps[taken].name in file.uses:
            file = file.uses[steps[taken].name]
            taken += 1
        last = steps[taken]
        found: syntax.Expr = syntax.Name(file.prefix + last.name, last.span)
        for step in steps[taken + 1 :]:
            found = replace(step, base=found)
        return found
