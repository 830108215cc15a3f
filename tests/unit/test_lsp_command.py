"""`rewarden lsp` as a command: what it loads, and what it says where it cannot run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rewarden.cli import run


def test_the_server_loads_neither_torch_nor_z3() -> None:
    code = (
        "import sys\n"
        "from rewarden.lsp.server import make_server\n"
        "from rewarden.lsp.documents import Documents, Text\n"
        "from rewarden.lsp.hover import hover\n"
        "from rewarden.lsp.formatting import formatting\n"
        "from tests.reference.language_page import WAREHOUSE\n"
        "make_server()\n"
        "documents = Documents()\n"
        "documents.put('a', Text(WAREHOUSE, None))\n"
        "assert 'class: linear' in hover(documents.read('a'), WAREHOUSE.index('slow_near')).text\n"
        "formatting(WAREHOUSE)\n"
        "print([m for m in ('torch', 'z3', 'matplotlib', 'onnx', 'pyarrow') if m in sys.modules])\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_without_pygls_the_command_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lsprotocol", None)
    monkeypatch.delitem(sys.modules, "rewarden.lsp.server", raising=False)
    monkeypatch.delitem(sys.modules, "rewarden.lsp.protocol", raising=False)
    assert run(["lsp"]) == 2
    said = capsys.readouterr().err
    assert "error[G98]" in said
    assert "pip install 'rewarden[lsp]'" in said
