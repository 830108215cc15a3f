"""The wheel is whole: it holds every room, the grammar, the demo's data, and nothing of the tests; and it runs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, unpacked as an installer would."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    target = out / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_it_holds_all_that_is_in_the_tree(unpacked: Path) -> None:
    """Every module of every room, at its import name, and every file of data."""
    wanted = {Path("rewarden") / p.relative_to(ROOT) for r in ROOMS for p in (ROOT / r).rglob("*") if _ships(p)}
    wanted |= {p.relative_to(ROOT) for p in _application() if _ships(p)}
    shipped = {p.relative_to(unpacked) for p in unpacked.rglob("*") if p.is_file() and "dist-info" not in str(p)}
    assert wanted - shipped == set()
    assert not [p for p in shipped if p.parts[0] != "rewarden"]


ROOMS = ("spec_lang", "reward", "verifier", "editor")


def _application() -> list[Path]:
    """Files of the application, not those that its symlinks to the rooms lead to."""
    found, waiting = [], [ROOT / "rewarden"]
    while waiting:
        for path in waiting.pop().iterdir():
            if path.is_symlink():
                continue
            if path.is_dir():
                waiting.append(path)
            else:
                found.append(path)
    return found


def _ships(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts


def test_it_runs_from_where_it_was_unpacked(unpacked: Path, tmp_path: Path) -> None:
    program = (
        "import rewarden, rewarden.spec_lang.parser, rewarden.certificate.check\n"
        "from importlib.resources import files\n"
        "from rewarden.spec_lang import parse_spec\n"
        f"assert rewarden.__file__.startswith({str(unpacked)!r}), rewarden.__file__\n"
        "text = files('rewarden.demo_data').joinpath('driving.rwd').read_text()\n"
        "print(len(parse_spec(text).rules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(unpacked), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 6
