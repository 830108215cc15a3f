"""What the pure modules answer, as the protocol's types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lsprotocol import types
from pygls import uris

from rewarden.lsp import completion, definition, hover, outline, reports
from rewarden.lsp.fixes import Fix
from rewarden.lsp.names import Occurrence
from rewarden.lsp.positions import Encoding, Lines
from rewarden.lsp.reading import Reading
from rewarden.spec_lang.source import Source

SOURCE = "rewarden"
_ITEM_KINDS: dict[str, types.CompletionItemKind] = {
    "keyword": types.CompletionItemKind.Keyword,
    "record type": types.CompletionItemKind.Struct,
    "feature": types.CompletionItemKind.Field,
    "case": types.CompletionItemKind.EnumMember,
    "reward": types.CompletionItemKind.Interface,
    "data": types.CompletionItemKind.File,
    "param": types.CompletionItemKind.Constant,
    "definition": types.CompletionItemKind.Function,
    "record": types.CompletionItemKind.Variable,
    "built-in": types.CompletionItemKind.Method,
    "unit": types.CompletionItemKind.Unit,
    "rule": types.CompletionItemKind.Event,
    "file": types.CompletionItemKind.Module,
}
_ENTRY_KINDS: dict[outline.Kind, types.SymbolKind] = {
    "features": types.SymbolKind.Struct,
    "feature": types.SymbolKind.Field,
    "assume": types.SymbolKind.Namespace,
    "reward": types.SymbolKind.Interface,
    "data": types.SymbolKind.File,
    "param": types.SymbolKind.Constant,
    "definition": types.SymbolKind.Function,
    "use": types.SymbolKind.Module,
    "example": types.SymbolKind.Object,
    "rule": types.SymbolKind.Event,
}


class Translation:
    """Between one reading and the editor's view of its text."""

    def __init__(self, uri: str, reading: Reading, encoding: Encoding) -> None:
        self.uri = uri
        self.reading = reading
        self.encoding = encoding
        self.lines = Lines.of(reading.source.text, encoding)

    def offset(self, position: types.Position) -> int:
        return self.lines.offset(position.line, position.character)

    def range(self, start: int, end: int) -> types.Range:
        return range_of(self.lines, start, end)

    def location(self, file: Path | None, source: Source, start: int, end: int) -> types.Location:
        if file is None:
            return types.Location(self.uri, self.range(start, end))
        lines = Lines.of(source.text, self.encoding)
        return types.Location(uris.from_fs_path(str(file)) or self.uri, range_of(lines, start, end))

    def diagnostic(self, report: reports.Report) -> types.Diagnostic:
        warning = report.severity == "warning"
        related = [
            types.DiagnosticRelatedInformation(
                self.location(self.reading.file_of(r.source), r.source, r.start, r.end), r.message
            )
            for r in report.related
        ]
        return types.Diagnostic(
            range=self.range(report.start, report.end),
            severity=types.DiagnosticSeverity.Warning if warning else types.DiagnosticSeverity.Error,
            code=report.code,
            source=SOURCE,
            message=report.message,
            related_information=related or None,
        )

    def hover(self, found: hover.Hover) -> types.Hover:
        content = types.MarkupContent(types.MarkupKind.Markdown, found.text)
        return types.Hover(content, self.range(found.start, found.end))

    def place(self, found: definition.Place) -> types.Location:
        return self.location(found.file, found.source, found.start, found.end)

    def occurrence(self, found: Occurrence) -> types.Location:
        return types.Location(self.uri, self.range(found.start, found.end))

    def entry(self, found: outline.Entry) -> types.DocumentSymbol:
        return types.DocumentSymbol(
            name=found.name,
            detail=found.detail,
            kind=_ENTRY_KINDS[found.kind],
            range=self.range(found.start, found.end),
            selection_range=self.range(found.name_start, found.name_end),
            children=[self.entry(inner) for inner in found.inner],
        )

    def edit(self, places: Sequence[tuple[int, int, str]]) -> types.WorkspaceEdit:
        edits = [types.TextEdit(self.range(start, end), text) for start, end, text in places]
        return types.WorkspaceEdit(changes={self.uri: edits})

    def action(self, fix: Fix, shown: Sequence[types.Diagnostic]) -> types.CodeAction:
        """`shown` are the editor's own diagnostics, of which the fix belongs to those of its code."""
        return types.CodeAction(
            title=fix.title,
            kind=types.CodeActionKind.QuickFix,
            diagnostics=[d for d in shown if d.code == fix.diagnostic.code] or None,
            is_preferred=True,
            edit=self.edit([(fix.start, fix.end, fix.text)]),
        )


def range_of(lines: Lines, start: int, end: int) -> types.Range:
    return types.Range(types.Position(*lines.position(start)), types.Position(*lines.position(end)))


def completion_items(found: completion.Completion, lines: Lines, offset: int) -> list[types.CompletionItem]:
    where = range_of(lines, found.start, offset)
    return [
        types.CompletionItem(
            label=p.text,
            kind=_ITEM_KINDS[p.kind],
            detail=p.detail or None,
            documentation=types.MarkupContent(types.MarkupKind.Markdown, p.meaning) if p.meaning else None,
            sort_text=f"{k:04}",
            filter_text=p.text,
            text_edit=types.TextEdit(where, p.text),
        )
        for k, p in enumerate(found.proposals)
    ]
