"""`rewarden lsp` as an editor meets it: the real process, spoken to over its standard input and output."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_lsp
from lsprotocol import types
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities

from tests.reference.language_page import WAREHOUSE

PATIENCE = 240  # seconds until an answer is taken not to come: a loaded machine is slow, and no test asserts a time
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
VOCABULARY = "spec vocab v1\nfeatures Step { speed : real [m/s] in 0 .. 2 }\nreward R(s: Step)\n"
MAIN = 'spec main v1\nuse "vocab.rwd" as v\nmust calm:\n  forall s: v.Step\n  expect v.R(s) <= 1\n'

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_lsp.fixture(
    config=ClientServerConfig(server_command=[sys.executable, "-m", "rewarden", "lsp"], server_env=ENVIRONMENT),
    scope="module",
)
async def client(lsp_client: LanguageClient) -> AsyncIterator[None]:
    answer = await lsp_client.initialize_session(
        types.InitializeParams(capabilities=client_capabilities("visual-studio-code"))
    )
    assert answer.server_info is not None
    assert answer.server_info.name == "rewarden"
    yield
    await lsp_client.shutdown_session()


def opened(client: LanguageClient, text: str, path: Path) -> str:
    uri = path.as_uri()
    document = types.TextDocumentItem(uri, "rewarden", 1, text)
    client.text_document_did_open(types.DidOpenTextDocumentParams(document))
    return uri


def changed(client: LanguageClient, uri: str, version: int, text: str) -> None:
    client.text_document_did_change(
        types.DidChangeTextDocumentParams(
            types.VersionedTextDocumentIdentifier(version, uri), [types.TextDocumentContentChangeWholeDocument(text)]
        )
    )


async def codes(client: LanguageClient, uri: str, wanted: list[str]) -> list[types.Diagnostic]:
    """The diagnostics, once they are those: several notifications may come before."""
    until = asyncio.get_running_loop().time() + PATIENCE
    while True:
        found = client.diagnostics.get(uri)
        if found is not None and [d.code for d in found] == wanted:
            return list(found)
        assert asyncio.get_running_loop().time() < until, f"wanted {wanted}, last seen {found}"
        await asyncio.sleep(0.05)


def position(text: str, marked: str) -> types.Position:
    offset = text.index(marked.replace("¦", "")) + marked.index("¦")
    line = text.count("\n", 0, offset)
    return types.Position(line, offset - text.rfind("\n", 0, offset) - 1)


async def test_a_broken_file_has_diagnostics_until_it_is_mended(client: LanguageClient, tmp_path: Path) -> None:
    wrong = WAREHOUSE.replace("s.speed > v_safe", "s.sped > v_safe").replace("s.speed >= 1 [m/s]", "s.speed >= 1 [m]")
    uri = opened(client, wrong, tmp_path / "broken.rwd")
    name, unit = await codes(client, uri, ["N02", "U02"])
    assert name.severity == types.DiagnosticSeverity.Error
    assert name.source == "rewarden"
    assert "did you mean speed?" in name.message
    assert unit.related_information is not None
    assert [r.message for r in unit.related_information] == ["velocity", "length", "speed is declared real [m/s]"]
    start = position(wrong, "s.¦sped")
    assert (name.range.start, name.range.end) == (start, types.Position(start.line, start.character + 4))

    actions = await client.text_document_code_action_async(
        types.CodeActionParams(types.TextDocumentIdentifier(uri), name.range, types.CodeActionContext([name]))
    )
    assert actions is not None
    (action,) = actions
    assert isinstance(action, types.CodeAction)
    assert action.edit is not None
    assert action.edit.changes == {uri: (types.TextEdit(name.range, "speed"),)}

    changed(client, uri, 2, WAREHOUSE)
    await codes(client, uri, [])
    changed(client, uri, 3, WAREHOUSE.replace("given risky(s) and", "given risky(s and"))
    await codes(client, uri, ["P01", "P01"])
    client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri)))
    await codes(client, uri, [])


async def test_completion_while_typing(client: LanguageClient, tmp_path: Path) -> None:
    uri = opened(client, WAREHOUSE, tmp_path / "typing.rwd")
    await codes(client, uri, [])
    typed = WAREHOUSE + "\nmust more:\n  forall s: Step\n  given s."
    changed(client, uri, 2, typed)
    found = await client.text_document_completion_async(
        types.CompletionParams(types.TextDocumentIdentifier(uri), position(typed, "given s.¦"))
    )
    items = found.items if isinstance(found, types.CompletionList) else list(found or ())
    assert [i.label for i in items][:3] == ["dist_goal", "clearance", "speed"]
    assert items[2].detail == "real [m/s] in 0 .. 2.5"
    assert items[2].kind == types.CompletionItemKind.Field


async def test_hover_definition_references_outline_and_rename(client: LanguageClient, tmp_path: Path) -> None:
    text = "# 𝔘 is two units of UTF-16\n" + WAREHOUSE.replace("given risky(a) and", "given  risky(a)   and")
    uri = opened(client, text, tmp_path / "asked.rwd")
    document = types.TextDocumentIdentifier(uri)

    hover = await client.text_document_hover_async(types.HoverParams(document, position(text, "and a.spe¦ed <=")))
    assert hover is not None
    assert isinstance(hover.contents, types.MarkupContent)
    assert "speed : real [m/s] in 0 .. 2.5" in hover.contents.value

    rule = await client.text_document_hover_async(types.HoverParams(document, position(text, "must slow_¦near")))
    assert rule is not None
    assert isinstance(rule.contents, types.MarkupContent)
    assert "class: linear" in rule.contents.value

    where = position(text, "given  ris¦ky(a)")
    place = await client.text_document_definition_async(types.DefinitionParams(document, where))
    assert isinstance(place, types.Location)
    assert place.uri == uri
    assert place.range.start == position(text, "region ¦risky")

    uses = await client.text_document_references_async(
        types.ReferenceParams(types.ReferenceContext(include_declaration=False), document, where)
    )
    assert uses is not None
    assert len(uses) == text.count("risky(") - 1

    outline = await client.text_document_document_symbol_async(types.DocumentSymbolParams(document))
    assert outline is not None
    assert [s.name for s in outline][:3] == ["Step", "assume s: Step", "R"]

    edit = await client.text_document_rename_async(types.RenameParams(document, where, "dangerous"))
    assert edit is not None
    assert edit.changes is not None
    assert len(edit.changes[uri]) == text.count("risky(")


async def test_format(client: LanguageClient, tmp_path: Path) -> None:
    from rewarden.spec_lang.format.formatter import format_text

    ugly = "spec s v1\nfeatures Step{speed:real [m/s] in 0..2}\nreward R(s:Step)\nlet f(s:Step)=s.speed\n"
    uri = opened(client, ugly, tmp_path / "ugly.rwd")
    options = types.FormattingOptions(tab_size=2, insert_spaces=True)
    ask = types.DocumentFormattingParams(types.TextDocumentIdentifier(uri), options)
    edits = await client.text_document_formatting_async(ask)
    assert edits is not None
    (edit,) = edits
    lines = ugly.splitlines(keepends=True)
    kept = lines[: edit.range.start.line], lines[edit.range.end.line :]
    assert "".join([*kept[0], edit.new_text, *kept[1]]) == format_text(ugly)

    changed(client, uri, 2, format_text(ugly))
    assert not await client.text_document_formatting_async(ask)


async def test_a_used_file_is_read_from_the_editor(client: LanguageClient, tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocab.rwd"
    vocabulary.write_text(VOCABULARY, encoding="utf-8")
    main = opened(client, MAIN, tmp_path / "main.rwd")
    await codes(client, main, [])
    where = position(MAIN, "v.¦Step")
    place = await client.text_document_definition_async(
        types.DefinitionParams(types.TextDocumentIdentifier(main), where)
    )
    assert isinstance(place, types.Location)
    assert place.uri == vocabulary.as_uri()
    assert place.range.start == position(VOCABULARY, "features ¦Step")

    used = opened(client, VOCABULARY.replace("reward R", "reward Q"), vocabulary)
    await codes(client, main, ["N07"])
    changed(client, used, 2, VOCABULARY + "let f(s: Step) = s.spood\n")
    (error,) = await codes(client, main, ["N02"])
    assert error.message.startswith("vocab.rwd:4:20")
    assert error.range.start == types.Position(1, 0)
    client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(used)))
    await codes(client, main, [])


async def test_any_text_is_survived(client: LanguageClient, tmp_path: Path) -> None:
    uri = opened(client, "", tmp_path / "odd.rwd")
    document = types.TextDocumentIdentifier(uri)
    for version, text in enumerate(
        ["", "\x00\ufffe[({", "spec s v1\n" + "(" * 9999, "#" * (1 << 19), "\r\r\n\u2028é𝔘"], 2
    ):
        changed(client, uri, version, text)
        for line, unit in ((0, 0), (0, 5), (3, 3), (999, 999)):
            place = types.Position(line, unit)
            await client.text_document_hover_async(types.HoverParams(document, place))
            await client.text_document_completion_async(types.CompletionParams(document, place))
            await client.text_document_definition_async(types.DefinitionParams(document, place))
        await client.text_document_document_symbol_async(types.DocumentSymbolParams(document))
    changed(client, uri, 99, WAREHOUSE)
    await codes(client, uri, [])


# ── the process ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("how", ["end of input", "terminate"])
async def test_the_server_ends_with_its_editor(how: str) -> None:
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rewarden", "lsp", stdin=-1, stdout=-1, stderr=-1, env=ENVIRONMENT
    )
    assert server.stdin is not None
    body = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":{}}}'
    server.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    await server.stdin.drain()
    assert server.stdout is not None
    async with asyncio.timeout(PATIENCE):
        assert (await server.stdout.readline()).startswith(b"Content-")
        if how == "terminate":
            server.terminate()
        else:
            server.stdin.close()
        await server.wait()
