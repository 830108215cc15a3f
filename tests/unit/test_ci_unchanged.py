"""What a run has found is told again while nothing has changed, and never when something has."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewarden.ci import run as runs
from rewarden.cli import run
from tests.reference.cart import HEAD, PROVED, SHOULD, VIOLATED, write_reward, write_spec

CONFIG = 'specs = ["cart.rwd"]\n[rewards]\nR = "reward"\n[params]\ntop = 2\n[verify]\nbudget = 2000\n'
FORMS = ("--json", "o.json", "--sarif", "o.sarif", "--junit", "o.xml")


@pytest.fixture
def decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The specs that were read and decided, and not told again."""
    monkeypatch.chdir(tmp_path)
    found: list[str] = []
    honest: Callable[..., Any] = runs._verified
    monkeypatch.setattr(runs, "_verified", lambda c, r, *a, **k: (found.append(r.spec.name), honest(c, r, *a, **k))[1])
    return found


def _project(folder: Path, *rules: str, config: str = CONFIG) -> None:
    write_reward(folder, write_spec(folder, *rules))
    (folder / "rewarden.toml").write_text(config)


def _written() -> list[bytes]:
    return [Path(name).read_bytes() for name in FORMS[1::2]]


def test_every_format_has_the_same_bytes(
    tmp_path: Path, decided: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    _project(tmp_path, PROVED, VIOLATED, SHOULD)
    assert run(["ci", *FORMS]) == 1
    first, said = _written(), capsys.readouterr().out
    assert run(["ci", *FORMS]) == 1
    assert decided == ["cart.rwd"]
    assert _written() == first
    assert capsys.readouterr().out == said
    assert run(["ci", "--no-cache", *FORMS]) == 1
    assert _written() == first
    assert decided == ["cart.rwd"] * 2


def _replaced(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def _another_reward(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    write_reward(other, write_spec(other, PROVED), bias=1.0)
    for file in (other / "reward").iterdir():
        (folder / "reward" / file.name).write_bytes(file.read_bytes())


CHANGES: dict[str, Callable[[Path], object]] = {
    "a comment": lambda f: _replaced(f / "cart.rwd", b"spec cart v1", b"spec cart v1 # cart"),
    "a param": lambda f: _replaced(f / "rewarden.toml", b"top = 2", b"top = 3"),
    "a number that is a text": lambda f: _replaced(f / "rewarden.toml", b"top = 2", b'top = "2 [m/s]"'),
    "a budget": lambda f: _replaced(f / "rewarden.toml", b"2000", b"2001"),
    "data": lambda f: (f / "data" / "rows.parquet").write_bytes((f / "data" / "more.parquet").read_bytes()),
    "a reward": _another_reward,
    "another place": lambda f: (
        (f / "reward").rename(f / "moved"),
        _replaced(f / "rewarden.toml", b'"reward"', b'"moved"'),
    ),
    "a file that is gone": lambda f: (f / "reward" / "tensors.safetensors").unlink(),
    "a link in place of a file": lambda f: (
        (f / "cart.rwd").rename(f / "real.rwd"),
        (f / "cart.rwd").symlink_to("real.rwd"),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(tmp_path: Path, decided: list[str], change: str) -> None:
    import pyarrow.parquet as pq

    _project(tmp_path, PROVED)
    table = pq.read_table(tmp_path / "data" / "rows.parquet")
    pq.write_table(table.slice(0, 1), tmp_path / "data" / "more.parquet")
    for _ in range(2):
        assert run(["ci"]) == 0
    assert decided == ["cart.rwd"]
    CHANGES[change](tmp_path)
    run(["ci"])
    assert decided == ["cart.rwd"] * 2


def test_options_are_part_of_the_question(tmp_path: Path, decided: list[str]) -> None:
    _project(tmp_path, PROVED, SHOULD)
    for more in ([], ["--rule", "bounded"], ["--budget", "1999"], ["--timeout", "1000"]):
        run(["ci", *more])
        run(["ci", *more])
    assert len(decided) == 4
    assert run(["ci", "--fail-on", "should"]) == 1  # judged anew, of what was found before
    assert len(decided) == 4


def test_used_files_are_watched_where_links_lead(tmp_path: Path, decided: list[str]) -> None:
    for name, top in (("one", "100"), ("two", "1")):
        (tmp_path / f"{name}.rwd").write_text(f"spec words v1\n\nparam most: real = {top}\n")
    (tmp_path / "words.rwd").symlink_to("one.rwd")
    _project(tmp_path, PROVED)
    text = HEAD.replace("spec cart v1\n", 'spec cart v1\n\nuse "words.rwd" as w\n')
    (tmp_path / "cart.rwd").write_text(text + PROVED.replace("<= 100", "<= w.most"))
    assert run(["ci"]) == run(["ci"]) == 0
    assert len(decided) == 1
    (tmp_path / "words.rwd").unlink()
    (tmp_path / "words.rwd").symlink_to("two.rwd")
    assert run(["ci"]) == 1
    (tmp_path / "two.rwd").write_text("spec words v1\n\nparam most: real = 200\n")
    assert run(["ci"]) == 0
    assert len(decided) == 3


def _entries() -> list[Path]:
    return sorted((Path(os.environ["XDG_CACHE_HOME"]) / "rewarden" / "checks").glob("*.json"))


def test_what_was_meddled_with_is_decided_anew(
    tmp_path: Path, decided: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    _project(tmp_path, VIOLATED)
    assert run(["ci"]) == 1
    for path in _entries():
        path.write_text(path.read_text().replace('"violated"', '"proved"'))
    assert run(["ci"]) == 1
    assert "ignored" in capsys.readouterr().err
    for path in _entries():
        path.write_text("{}")
    assert run(["ci"]) == 1
    assert len(decided) == 3


def test_neither_trouble_nor_what_a_clock_has_stopped_is_kept(
    tmp_path: Path, decided: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _project(tmp_path, PROVED, config=CONFIG.replace('["cart.rwd"]', '["none.rwd"]'))
    assert run(["ci"]) == run(["ci"]) == 2
    assert len(decided) == 2
    _project(tmp_path, PROVED)
    monkeypatch.setattr("rewarden.verifier.kept.lasting", lambda result, options: False)
    assert run(["ci"]) == run(["ci"]) == 0
    assert len(decided) == 4


def test_waivers_and_baselines_are_held_against_what_was_found_before(tmp_path: Path, decided: list[str]) -> None:
    _project(tmp_path, VIOLATED)
    assert run(["ci", "--json", "o.json"]) == 1
    (rule,) = json.loads((tmp_path / "o.json").read_text())["runs"][0]["rules"]
    waiver = f'[[waiver]]\nfingerprint = "{rule["fingerprint"]}"\nowner = "ada"\nreason = "known"\nexpires = '
    (tmp_path / "w.toml").write_text(waiver + "2999-01-01\n")
    assert run(["ci", "--waivers", "w.toml"]) == 0
    (tmp_path / "w.toml").write_text(waiver + "2020-01-01\n")
    assert run(["ci", "--waivers", "w.toml"]) == 1
    assert run(["ci", "--against", "o.json"]) == 0
    assert run(["certify", "cart.rwd", "-r", "R=reward", "-o", "cert"]) == 1
    assert run(["ci", "--against", "cert"]) == 0
    assert decided == ["cart.rwd"]


def test_an_accepted_certificate_is_accepted_until_it_is_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    from rewarden.certificate import match

    monkeypatch.chdir(tmp_path)
    _project(tmp_path, PROVED, config=f"{CONFIG}[ci]\ncertificate = 'cert'\npolicy = 'policy.toml'\n")
    assert run(["keys", "new", "me.pem"]) == 0
    policy = '[certificate]\nmax_age_days = 5\n[[role]]\nname = "issuer"\nkeys = ["me.pub.pem"]\n'
    (tmp_path / "policy.toml").write_text(policy)
    assert run(["certify", "cart.rwd", "-r", "R=reward", "-o", "cert", "--key", "me.pem"]) == 0
    asked: list[Path] = []
    honest = match.check_certificate
    monkeypatch.setattr(
        match, "check_certificate", lambda place, *a, **k: (asked.append(place), honest(place, *a, **k))[1]
    )
    assert run(["ci"]) == run(["ci"]) == 0
    assert len(asked) == 1
    now = time.time()
    with monkeypatch.context() as later:
        later.setattr(time, "time", lambda: now + 6 * 86_400)
        assert run(["ci"]) == 0  # looked at again, by the policy's clock, which has not moved
    assert len(asked) == 2
    (tmp_path / "me.pub.pem").unlink()
    assert run(["keys", "new", "new.pem"]) == 0
    (tmp_path / "new.pub.pem").rename(tmp_path / "me.pub.pem")
    assert run(["ci"]) == 4  # another key, and nothing else has changed
