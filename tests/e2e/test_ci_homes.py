"""Where Rewarden lives in CI: the action's own script in a shell, and the hooks by pre-commit itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.reference.cart import PROVED, VIOLATED, write_reward, write_spec

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
EVIL = '$(touch evil); `touch evil` "; touch evil #'


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return found


# ── the action ─────────────────────────────────────────────────────────────────────────────────
def test_the_action_has_the_form_of_a_composite_one(action: dict[str, Any]) -> None:
    assert set(action) == {"name", "description", "author", "branding", "inputs", "outputs", "runs"}
    assert action["runs"]["using"] == "composite"
    for told in action["inputs"].values():
        assert set(told) == {"description", "default"}
        assert isinstance(told["default"], str)
    for step in action["runs"]["steps"]:
        assert set(step) <= {"name", "id", "if", "shell", "working-directory", "env", "run", "uses", "with"}
        assert ("run" in step) == ("shell" in step) != ("uses" in step)
    text = (ROOT / "action.yml").read_text()
    named = set(re.findall(r"inputs\.([a-z-]+)", text))
    assert named == set(action["inputs"])
    assert set(re.findall(r"steps\.([a-z]+)\.", text)) == {"rewarden"}


def test_what_somebody_types_is_never_text_of_a_script(action: dict[str, Any]) -> None:
    scripts = [step["run"] for step in action["runs"]["steps"] if "run" in step]
    assert len(scripts) == 2
    assert not any("${{" in script for script in scripts)


@pytest.mark.parametrize("status", [0, 1, 2, 3, 4, 5])
def test_the_script_passes_on_what_was_asked_and_what_came_of_it(
    action: dict[str, Any], tmp_path: Path, status: int
) -> None:
    (step,) = [step for step in action["runs"]["steps"] if step.get("id") == "rewarden"]
    fake = tmp_path / "bin" / "rewarden"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\nfor a in "$@"; do printf "%s\\n" "$a"; done\nexit {status}\n')
    fake.chmod(0o755)
    given = {"INPUT_FAIL_ON": "should", "INPUT_SARIF": "a b.sarif", "INPUT_RULES": "one  two *", "INPUT_AGAINST": EVIL}
    env = {**dict.fromkeys(step["env"], ""), **given, "GITHUB_OUTPUT": str(tmp_path / "output")}
    env["PATH"] = f"{fake.parent}:{os.environ['PATH']}"
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    done = subprocess.run(shell, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert (tmp_path / "output").read_text() == f"status={status}\n"
    asked = ["ci", "--github", "--fail-on=should", f"--against={EVIL}", "--sarif=a b.sarif"]
    assert done.stdout.splitlines() == [*asked, "--rule=one", "--rule=two", "--rule=*"]
    assert not (tmp_path / "evil").exists()


def test_the_options_of_the_script_are_those_of_the_command(action: dict[str, Any]) -> None:
    from rewarden.cli import app

    (step,) = [step for step in action["runs"]["steps"] if step.get("id") == "rewarden"]
    (command,) = [c for c in app.registered_commands if c.name == "ci"]
    known = {f"--{name.replace('_', '-')}" for name in command.callback.__annotations__}
    assert set(re.findall(r"--[a-z-]+", step["run"])) <= known


# ── pre-commit ─────────────────────────────────────────────────────────────────────────────────
@pytest.mark.skipif(shutil.which("git") is None, reason="pre-commit works on git repositories")
def test_the_hooks_by_pre_commit_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
    hooks, project = tmp_path / "hooks", tmp_path / "project"
    hooks.mkdir()
    project.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    revision = _committed(hooks)
    write_reward(project, write_spec(project, PROVED, VIOLATED))
    (project / "rewarden.toml").write_text('specs = ["cart.rwd"]\n[rewards]\nR = "reward"\n')
    names = [hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())]
    config = {"repos": [{"repo": str(hooks), "rev": revision, "hooks": [{"id": name} for name in names]}]}
    (project / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    _committed(project)

    done = _hooks(project)
    assert done.returncode == 1
    said = {line.split(".")[0]: line.rsplit(".", 1)[1] for line in done.stdout.splitlines() if "..." in line}
    assert said == {"rewarden fmt": "Failed", "rewarden check": "Passed", "rewarden ci": "Failed"}
    assert "violated  must    slow" in done.stdout

    write_spec(project, PROVED)
    subprocess.run([BIN / "rewarden", "fmt", "cart.rwd"], cwd=project, check=True, capture_output=True)
    _committed(project)
    done = _hooks(project)
    assert done.returncode == 0, done.stdout


def _hooks(project: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "pre-commit"), "run", "--all-files", "--color", "never"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def _committed(folder: Path) -> str:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "core.hooksPath="]
    subprocess.run([*git, "init", "-q"], cwd=folder, check=True)
    subprocess.run([*git, "add", "-A"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "-qm", "a"], cwd=folder, check=True)
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()
