"""`rewarden lsp`: a language server for editors."""

from __future__ import annotations

import sys

from rewarden import exits


def lsp() -> int:
    """Serve an editor: diagnostics, completion, hover and more, over standard input and output."""
    from rewarden.output import note
    from rewarden.spec_lang.errors import UsageError

    try:
        from rewarden.lsp.server import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("pygls", "lsprotocol"):
            raise
        help = "pip install 'rewarden[lsp]'"
        raise UsageError("G98", "the language server needs pygls, which is not installed", help=help) from None
    if sys.stdin.isatty():
        note("An editor is expected at the other end; Ctrl-C leaves.")
    serve()
    return exits.PROVED
