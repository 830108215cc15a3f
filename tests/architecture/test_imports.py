"""Imports go one way, and the heavy engines are loaded only by those whose job they are."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("spec_lang", "reward", "verifier", "editor")  # left to right; `rewarden` itself stands last
KERNEL = (
    "check",
    "kernel_alike",
    "kernel_artifact",
    "kernel_bounds",
    "kernel_cases",
    "kernel_claim",
    "kernel_files",
    "kernel_jobs",
    "kernel_json",
    "kernel_lanes",
    "kernel_lineage",
    "kernel_loops",
    "kernel_near",
    "kernel_ops",
    "kernel_patches",
    "kernel_pieces",
    "kernel_program",
    "kernel_proof",
    "kernel_report",
    "kernel_rows",
    "kernel_sentence",
    "kernel_shapes",
    "kernel_smooth",
    "kernel_steps",
    "kernel_table",
    "kernel_twins",
)
Z3_MODULES = {"spec_lang/sanity/z3.py", "spec_lang/z3_terms.py", "verifier/z3_engine.py"}
Z3_MODULES |= {"spec_lang/compare/fit.py", "spec_lang/compare/room.py", "spec_lang/compare/z3.py"}
Z3_MODULES |= {"spec_lang/compare/loop_graph.py", "spec_lang/compare/share_rewards.py", "editor/history/overlap.py"}
Z3_MODULES |= {"editor/preconditions.py", "editor/methods/clashing.py"}


@cache
def _sources(room: str) -> tuple[Path, ...]:
    folder = ROOT / room
    # os.walk semantics: the application folder holds one symlink per room, which must not be followed
    found = [
        p for p in sorted(folder.rglob("*.py")) if not any(part.is_symlink() for part in p.parents if part != folder)
    ]
    return tuple(p for p in found if p.is_relative_to(folder))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _imports(node: ast.AST, *, at_import: bool) -> Iterator[tuple[str, int]]:
    """Imported modules with their line; with `at_import`, only those that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        if at_import and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if at_import and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from (found for other in child.orelse for found in _imports(other, at_import=at_import))
            continue
        match child:
            case ast.Import(names=names):
                yield from ((alias.name, child.lineno) for alias in names)
            case ast.ImportFrom(module=module, level=0) if module is not None:
                yield module, child.lineno
                yield from ((f"{module}.{alias.name}", child.lineno) for alias in child.names)
            case ast.ImportFrom():
                yield "<relative>", child.lineno
            case _:
                yield from _imports(child, at_import=at_import)


def _found(room: str, *, at_import: bool) -> Iterator[tuple[str, str, int]]:
    for path in _sources(room):
        for module, line in _imports(_tree(path), at_import=at_import):
            yield path.relative_to(ROOT).as_posix(), module, line


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_itself_and_rooms_to_its_left(room: str) -> None:
    allowed = ROOMS[: ROOMS.index(room) + 1]
    wrong = []
    for file, module, line in _found(room, at_import=False):
        parts = module.split(".")
        if parts[0] == "rewarden" and (len(parts) == 1 or parts[1] not in allowed) and module != "rewarden":
            wrong.append(f"{file}:{line} imports {module}")
    assert not wrong


@pytest.mark.parametrize("room", (*ROOMS, "rewarden"))
def test_rooms_are_imported_under_the_name_of_the_application(room: str) -> None:
    bare = {*ROOMS, "<relative>"}
    wrong = [f"{f}:{line} imports {m}" for f, m, line in _found(room, at_import=False) if m.split(".")[0] in bare]
    assert not wrong


@pytest.mark.parametrize("room", (*ROOMS, "rewarden"))
def test_nothing_unpickles_or_evaluates(room: str) -> None:
    banned = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    wrong = [f"{f}:{line} imports {m}" for f, m, line in _found(room, at_import=False) if m.split(".")[0] in banned]
    for path in _sources(room):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("eval", "exec", "torch.load"):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} calls {ast.unparse(node.func)}")
    assert not wrong


@pytest.mark.parametrize("room", (*ROOMS, "rewarden"))
def test_z3_is_imported_where_its_terms_are_made_and_nowhere_else(room: str) -> None:
    wrong = {f for f, m, _ in _found(room, at_import=False) if m.split(".")[0] == "z3"} - Z3_MODULES
    assert not wrong


def test_the_application_never_imports_torch_at_its_top() -> None:
    wrong = [f"{f}:{line}" for f, m, line in _found("rewarden", at_import=True) if m.split(".")[0] == "torch"]
    assert not wrong


def test_the_kernel_is_the_standard_library_and_itself() -> None:
    wrong = []
    for name in KERNEL:
        path = ROOT / "rewarden" / "certificate" / f"{name}.py"
        for module, line in _imports(_tree(path), at_import=False):
            top = module.split(".")[0]
            own = module.startswith("rewarden.certificate.") and module.split(".")[2] in KERNEL
            if not own and top not in sys.stdlib_module_names:
                wrong.append(f"{path.name}:{line} imports {module}")
    assert not wrong


@pytest.mark.parametrize(
    "what",
    [
        "import rewarden",
        "import rewarden.cli",
        "import rewarden.spec_lang, rewarden.reward, rewarden.verifier, rewarden.editor",
        "import rewarden.verifier.bind",
        "import rewarden.certificate.check",
        "import rewarden.certificate.match",
        "import rewarden.api",
        "import rewarden.binding, rewarden.output, rewarden.config",
        "import rewarden.ci.run, rewarden.outputs.written, rewarden.outputs.sarif, rewarden.outputs.github",
        "import rewarden.pytest_plugin",
    ],
)
def test_importing_loads_neither_torch_nor_z3(what: str) -> None:
    assert _loaded(what, ("torch", "z3")) == "[]"


def test_help_is_light() -> None:
    what = "from rewarden.cli import run; run(['--help']); run(['verify', '--help'])"
    heavy = ("torch", "z3", "numpy", "lark", "pint", "matplotlib", "onnx", "pyarrow", "networkx")
    assert _loaded(what, heavy) == "[]"


def _loaded(statement: str, modules: tuple[str, ...]) -> str:
    code = f"{statement}\nimport sys\nprint([m for m in {modules!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]
