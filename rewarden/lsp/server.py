"""The language server: the protocol's requests to the pure modules, and back. Nothing is decided here.

Texts are read in one worker thread, so that a large one does not hold up what is typed meanwhile; diagnostics follow
once the typing pauses. Completion never waits for a reading: it takes the last one.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lsprotocol import types
from pygls import uris
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer

from rewarden import __version__
from rewarden.lsp.completion import complete
from rewarden.lsp.definition import Refused, definition, references, renamed
from rewarden.lsp.documents import Documents, Text
from rewarden.lsp.fixes import fixes
from rewarden.lsp.formatting import formatting
from rewarden.lsp.hover import hover
from rewarden.lsp.names import Occurrence, name_at, occurrences
from rewarden.lsp.outline import outline
from rewarden.lsp.positions import Encoding, Lines, normalised
from rewarden.lsp.protocol import SOURCE, Translation, completion_items, range_of
from rewarden.lsp.reports import reports
from rewarden.spec_lang.symbols import Symbols

PAUSE = 0.25  # seconds without a change before diagnostics are sent


class Server(LanguageServer):
    """Mutable: the open texts, and the diagnostics that wait for a pause."""

    def __init__(self) -> None:
        full = types.TextDocumentSyncKind.Full
        super().__init__("rewarden", __version__, text_document_sync_kind=full)
        self.documents = Documents()
        self.waiting: dict[str, asyncio.Task[None]] = {}
        self.worker = ThreadPoolExecutor(max_workers=1)

    @property
    def encoding(self) -> Encoding:
        match self.workspace.position_encoding:
            case types.PositionEncodingKind.Utf8:
                return "utf-8"
            case types.PositionEncodingKind.Utf32:
                return "utf-32"
        return "utf-16"

    # ── reading ────────────────────────────────────────────────────────────────────────────────
    async def reading(self, uri: str) -> Translation | None:
        """The text as it is now; None where it is not open."""
        reading = self.documents.current(uri)
        if reading is None:
            loop = asyncio.get_running_loop()
            reading = await loop.run_in_executor(self.worker, self.documents.read, uri)
        return None if reading is None else Translation(uri, reading, self.encoding)

    def changed(self, uri: str, pause: float) -> None:
        """Take the editor's text; diagnostics follow, also for the texts that may use this one."""
        document = self.workspace.get_text_document(uri)
        path = uris.to_fs_path(uri) if uri.startswith("file:") else None
        self.documents.put(uri, Text(document.source, None if path is None else Path(path), document.version))
        self.diagnose(uri, pause)
        for other in self.documents.using_others():
            if other != uri:
                self.diagnose(other, PAUSE)

    def diagnose(self, uri: str, pause: float) -> None:
        """Send diagnostics after the pause, unless something changes before that."""
        if uri in self.waiting:
            self.waiting.pop(uri).cancel()
        self.waiting[uri] = asyncio.get_running_loop().create_task(self._diagnose(uri, pause))

    async def _diagnose(self, uri: str, pause: float) -> None:
        await asyncio.sleep(pause)
        text = self.documents.texts.get(uri)
        try:
            found = await self.reading(uri)
            if found is None or text is None:
                return
            shown = [found.diagnostic(report) for report in reports(found.reading)]
        except Exception as error:
            shown = [_internal(error)]
        if self.documents.texts.get(uri) is text:
            self.send(uri, None if text is None else text.version, shown)

    def send(self, uri: str, version: int | None, shown: list[types.Diagnostic]) -> None:
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, shown, version=version))


def _internal(error: Exception) -> types.Diagnostic:
    start = types.Position(0, 0)
    message = f"internal error: {type(error).__name__}: {error}\nhelp: this is a bug in Rewarden: please report it"
    return types.Diagnostic(types.Range(start, start), message, types.DiagnosticSeverity.Error, source=SOURCE)


def serve() -> None:
    """Serve one editor over standard input and output until it leaves."""
    # The thread that waits for input would outlive an exception: there is nothing to tidy up, so leave at once.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    out = sys.stdout.buffer
    sys.stdout = sys.stderr  # the protocol has standard output to itself
    logging.getLogger("pygls.protocol.json_rpc").addFilter(_worth_saying)
    make_server().start_io(sys.stdin.buffer, out)


def _worth_saying(record: logging.LogRecord) -> bool:
    """A refused request is answered; it is no incident."""
    return record.exc_info is None or not isinstance(record.exc_info[1], JsonRpcInvalidParams)


def make_server() -> Server:
    server = Server()
    _documents(server)
    _questions(server)
    _edits(server)
    return server


# ── what the editor sends ──────────────────────────────────────────────────────────────────────
def _documents(server: Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    async def opened(ls: Server, params: types.DidOpenTextDocumentParams) -> None:
        ls.changed(params.text_document.uri, 0)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    async def changed(ls: Server, params: types.DidChangeTextDocumentParams) -> None:
        ls.changed(params.text_document.uri, PAUSE)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    async def closed(ls: Server, params: types.DidCloseTextDocumentParams) -> None:
        uri = params.text_document.uri
        if uri in ls.waiting:
            ls.waiting.pop(uri).cancel()
        ls.documents.remove(uri)
        ls.send(uri, None, [])
        for other in ls.documents.using_others():
            ls.diagnose(other, PAUSE)


def _questions(server: Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=[".", "[", "{"]))
    async def completed(ls: Server, params: types.CompletionParams) -> types.CompletionList:
        uri = params.text_document.uri
        latest = ls.documents.latest(uri)
        if latest is None:
            found = await ls.reading(uri)
            latest = None if found is None else found.reading
        text = ls.documents.texts.get(uri)
        lines = Lines.of("" if text is None else normalised(text.text), ls.encoding)
        offset = lines.offset(params.position.line, params.position.character)
        proposals = complete(lines.text, offset, Symbols() if latest is None else latest.known)
        return types.CompletionList(False, completion_items(proposals, lines, offset))

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    async def hovered(ls: Server, params: types.HoverParams) -> types.Hover | None:
        found = await ls.reading(params.text_document.uri)
        told = None if found is None else hover(found.reading, found.offset(params.position))
        return None if found is None or told is None else found.hover(told)

    @server.feature(types.TEXT_DOCUMENT_DEFINITION)
    async def defined(ls: Server, params: types.DefinitionParams) -> types.Location | None:
        found = await ls.reading(params.text_document.uri)
        place = None if found is None else definition(found.reading, found.offset(params.position))
        return None if found is None or place is None else found.place(place)

    @server.feature(types.TEXT_DOCUMENT_REFERENCES)
    async def referred(ls: Server, params: types.ReferenceParams) -> list[types.Location]:
        found = await ls.reading(params.text_document.uri)
        if found is None:
            return []
        places = references(found.reading, found.offset(params.position))
        return [found.occurrence(o) for o in places if params.context.include_declaration or not o.declares]

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    async def outlined(ls: Server, params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
        found = await ls.reading(params.text_document.uri)
        return [] if found is None else [found.entry(entry) for entry in outline(found.reading)]


def _edits(server: Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_FORMATTING)
    async def formatted(ls: Server, params: types.DocumentFormattingParams) -> list[types.TextEdit]:
        text = ls.documents.texts.get(params.text_document.uri)
        lines = Lines.of("" if text is None else normalised(text.text), ls.encoding)
        edit = formatting(lines.text)
        return [] if edit is None else [types.TextEdit(range_of(lines, edit[0], edit[1]), edit[2])]

    @server.feature(types.TEXT_DOCUMENT_PREPARE_RENAME)
    async def may_rename(ls: Server, params: types.PrepareRenameParams) -> types.Range | None:
        found = await ls.reading(params.text_document.uri)
        if found is None:
            return None
        _allowed(renamed(found.reading, found.offset(params.position)))
        name = name_at(occurrences(found.reading), found.offset(params.position))
        return None if name is None else found.range(name.start, name.end)

    @server.feature(types.TEXT_DOCUMENT_RENAME, types.RenameOptions(prepare_provider=True))
    async def rename(ls: Server, params: types.RenameParams) -> types.WorkspaceEdit | None:
        found = await ls.reading(params.text_document.uri)
        if found is None:
            return None
        places = renamed(found.reading, found.offset(params.position), params.new_name)
        return found.edit([(o.start, o.end, params.new_name) for o in _allowed(places)])

    @server.feature(
        types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=[types.CodeActionKind.QuickFix])
    )
    async def fixed(ls: Server, params: types.CodeActionParams) -> list[types.CodeAction]:
        found = await ls.reading(params.text_document.uri)
        if found is None:
            return []
        start, end = found.offset(params.range.start), found.offset(params.range.end)
        return [found.action(fix, params.context.diagnostics) for fix in fixes(found.reading, start, end)]


def _allowed(places: tuple[Occurrence, ...] | Refused) -> tuple[Occurrence, ...]:
    if isinstance(places, Refused):
        raise JsonRpcInvalidParams(places.reason)
    return places
