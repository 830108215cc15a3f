"""One text, read as far as it goes: the analysis of what parses, and what names stood for when it was last whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rewarden.lsp.known import merged
from rewarden.lsp.positions import normalised
from rewarden.spec_lang import syntax
from rewarden.spec_lang.analysis import Analysis, analyse_tree
from rewarden.spec_lang.errors import Diagnostic
from rewarden.spec_lang.findings import Findings
from rewarden.spec_lang.parser import parse_partial
from rewarden.spec_lang.source import Source
from rewarden.spec_lang.symbols import Symbols, collect
from rewarden.spec_lang.uses import ReadFile, read_file


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """`known` is for places that the text's own state leaves open; `whole` is what it falls back on."""

    source: Source
    folder: Path | None
    analysis: Analysis
    diagnostics: tuple[Diagnostic, ...]
    parses: bool
    known: Symbols
    whole: Symbols | None

    def own_items(self) -> Iterator[syntax.Item]:
        """The items of this text that could be read, with the names of used files written out where they are known."""
        tree = self.analysis.expanded or self.analysis.tree
        return (i for i in (tree.items if tree is not None else ()) if i.span.source is self.source)

    def uses(self) -> Iterator[syntax.UseDecl]:
        tree = self.analysis.tree
        return (i for i in (tree.items if tree is not None else ()) if isinstance(i, syntax.UseDecl))

    def file_of(self, source: Source) -> Path | None:
        """Where the text of a span lies, if it is another file's."""
        if source is self.source or self.folder is None:
            return None
        return (self.folder.resolve() / source.name).resolve()


def read(
    text: str,
    name: str,
    *,
    path: Path | None = None,
    allow: tuple[Path, ...] = (),
    load: ReadFile = read_file,
    before: Reading | None = None,
) -> Reading:
    """`path` is the text's file (None: it has none yet), `load` reads the files that it uses, `before` is the last
    reading of the same text."""
    source = Source(name, normalised(text))
    folder = None if path is None else path.parent
    tree, errors = parse_partial(source)
    analysis = Analysis(source, diagnostics=errors)
    if tree is not None:
        analysis = analyse_tree(source, tree, base=folder, allow=allow, read=load, path=path)
    symbols = analysis.symbols
    if symbols is None and tree is not None:
        items = tuple(i for i in tree.items if not isinstance(i, syntax.UseDecl))
        symbols = collect(replace(tree, items=items), Findings(limit=None))
    last = None if before is None else before.whole
    whole = not errors and analysis.symbols is not None
    return Reading(
        source=source,
        folder=folder,
        analysis=analysis,
        diagnostics=errors or analysis.diagnostics,
        parses=not errors,
        known=merged(symbols, None if whole else last),
        whole=symbols if whole else last,
    )
