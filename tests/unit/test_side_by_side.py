"""`patch --compare`: one table of all methods, within one time, that goes on where an earlier run was stopped."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rewarden as rw
from rewarden import api, comparing
from rewarden.cli import run as cli
from rewarden.comparing import Clock, Kept
from rewarden.editor.compare import Compared
from rewarden.editor.methods.choose import METHODS
from rewarden.interrupt import TimeIsUp, limited
from rewarden.reward.store import load_artifact, save_artifact
from rewarden.side_by_side import HEAD, rows_of, table_lines
from rewarden.spec_lang.errors import EditError
from rewarden.spec_lang.spec import Spec, parse_spec
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import VerificationResult
from tests.unit.test_methods import APART, CAPPED, QUICK, network

LIMITED = VerifyOptions(budget=20_000, falsify_budget=4_000, time_limit=600.0)


@pytest.fixture
def unsaid(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Methods that say at once that they are not for the rules, and which were asked."""
    asked: list[str] = []

    def compared(spec: object, rewards: object, mender: object, name: str, rules: object, before: object) -> Compared:
        asked.append(name)
        return Compared(name, METHODS[name].guarantee, declined="not today", seconds=0.5)

    monkeypatch.setattr(comparing, "compared", compared)
    return asked


def test_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_artifact(network(), tmp_path / "r")
    (tmp_path / "s.rwd").write_text(CAPPED)
    arguments = ["patch", str(tmp_path / "s.rwd"), "--reward", str(tmp_path / "r"), "-q"]
    told = ["--json", str(tmp_path / "c.json"), "--html", str(tmp_path / "c.html")]
    assert cli([*arguments, "--compare", "--budget", "20000", *told]) == 0
    found = {m["method"]: m for m in json.loads((tmp_path / "c.json").read_text())["methods"]}
    assert list(found) == list(METHODS)
    assert found["threshold"]["declined"]
    assert found["region"]["holds"] == found["region"]["proved"] == found["violated"]["proved"] == ["capped"]
    assert found["violated"]["drift"]["changed"] <= found["region"]["drift"]["changed"]
    (moved,) = found["region"]["rewards"]
    assert (moved["along"], moved["rows"], moved["domain"]["rows"]) == ("gap", 20_000, 20_000)
    assert float(moved["rise"]) > 0
    assert found["last-layer"]["rewards"][0]["rise"] is None
    text, page = capsys.readouterr().out, (tmp_path / "c.html").read_text()
    head = " ".join(text.splitlines()[:3])
    assert all(word in head for name in HEAD for word in name.split())
    for name in METHODS:
        assert any(line.startswith(name) for line in text.splitlines())
        assert f"<code>{name}</code>" in page
    for one in found.values():
        assert one["declined"] or one["guarantee"].split()[0] in text
    assert "not here" in text
    assert "capped (new)" in text
    assert "capped (new)" in page
    assert list((tmp_path / "cache" / "rewarden" / "comparisons").iterdir()) == []
    assert cli(arguments) == 2  # no folder
    assert cli([*arguments, "--method", "violated", "-o", str(tmp_path / "out")]) == 0
    assert load_artifact(tmp_path / "out").parent == load_artifact(tmp_path / "r").digest


def test_rules_that_a_method_is_not_for_are_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "METHODS", {name: METHODS[name] for name in ("region", "threshold")})
    spec = parse_spec(CAPPED + APART.removeprefix(APART.split("must")[0]))
    artifact = network()
    found = {one.method: one for one in rw.compare_patches(spec, verify_options=QUICK, R=artifact)}
    assert found["region"].proved == ("capped",)
    assert found["threshold"].proved[-1:] == ("safe_pays",)
    assert set(found["region"].unmended or ()) == {"safe_pays"}
    with pytest.raises(EditError, match="one-record bounds"):
        rw.patch(spec, method="region", verify_options=QUICK, R=artifact)


def test_a_run_that_was_stopped_goes_on_with_the_others(tmp_path: Path, unsaid: list[str]) -> None:
    spec, artifact = parse_spec(CAPPED), network()

    def third(one: Compared) -> None:
        if len(unsaid) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rw.compare_patches(spec, verify_options=QUICK, keep=tmp_path, each=third, R=artifact)
    first = list(unsaid)
    assert len(first) == 3
    (file,) = tmp_path.iterdir()
    found = rw.compare_patches(spec, verify_options=LIMITED, keep=tmp_path, R=artifact)  # a time is no other question
    assert sorted(unsaid) == sorted(METHODS)  # none was asked twice
    assert [one.method for one in found] == list(METHODS)
    assert list(tmp_path.iterdir()) == []
    rw.compare_patches(spec, verify_options=QUICK, keep=tmp_path, R=artifact)
    assert len(unsaid) == 2 * len(METHODS)
    for other in (parse_spec(CAPPED.replace("0.5", "0.25")), parse_spec(APART)):
        with pytest.raises(KeyboardInterrupt):
            rw.compare_patches(other, verify_options=QUICK, keep=tmp_path, each=interrupted, R=artifact)
    file.write_bytes(b"{ nothing of the kind")
    asked = len(unsaid)
    rw.compare_patches(spec, verify_options=QUICK, keep=tmp_path, R=artifact)
    assert len(unsaid) == asked + len(METHODS)


def interrupted(one: Compared) -> None:
    raise KeyboardInterrupt


def test_ctrl_c_tells_what_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, unsaid: list[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    known = comparing.compared

    def compared(*given: object) -> Compared:
        if len(unsaid) == 2:
            unsaid.append("interrupted")
            raise KeyboardInterrupt
        return known(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(comparing, "compared", compared)
    save_artifact(network(), tmp_path / "r")
    (tmp_path / "s.rwd").write_text(CAPPED)
    arguments = ["patch", str(tmp_path / "s.rwd"), "--reward", str(tmp_path / "r"), "-q", "--compare"]
    assert cli([*arguments, "--json", str(tmp_path / "c.json")]) == 130
    found = json.loads((tmp_path / "c.json").read_text())["methods"]
    assert [one["method"] for one in found] == list(METHODS)
    assert sorted(one["declined"] or one["open"] for one in found) == ["interrupted"] * 6 + ["not today"] * 2
    told = capsys.readouterr()
    assert "not today" in told.out
    assert "goes on with the others" in told.err
    assert cli(arguments) == 0
    assert "interrupted" not in capsys.readouterr().out


def test_the_time_is_that_of_all_of_it() -> None:
    spec, artifact = parse_spec(CAPPED), network()
    found = rw.compare_patches(spec, verify_options=VerifyOptions(time_limit=1e-3), R=artifact)
    assert [one.method for one in found] == list(METHODS)
    assert all(one.open for one in found)
    clock = Clock(100.0)
    share = clock.share(1 / 4)
    assert share == pytest.approx(25.0, abs=5.0)
    within = clock.verifying()
    assert within is not None
    assert within < 25.0
    assert Clock(None).share(1 / 4) is None
    assert Clock(None).verifying() is None


def test_what_asks_no_clock_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def compared(*given: object) -> Compared:
        try:
            while True:
                time.sleep(0.01)
        except Exception:  # what swallows its own failures does not swallow this
            pass
        raise AssertionError

    monkeypatch.setattr(comparing, "compared", compared)
    found = rw.compare_patches(parse_spec(CAPPED), verify_options=VerifyOptions(time_limit=4.0), R=network())
    assert all(one.open.startswith(("stopped after", "the time was up")) for one in found)
    with pytest.raises(TimeIsUp), limited(0.01):
        time.sleep(60.0)
    with limited(None), limited(60.0):
        pass


def test_what_is_kept_is_what_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "METHODS", {"region": METHODS["region"]})
    (one,) = rw.compare_patches(parse_spec(CAPPED), verify_options=QUICK, R=network())
    assert one.moved
    kept = Kept("a key", tmp_path)
    kept.put(one)
    back = Kept("a key", tmp_path).done[one.method]
    assert back.to_json() == one.to_json()
    assert rows_of([back]) == rows_of([one])
    assert Kept("another key", tmp_path).done == {}
    lines = table_lines([back], 200)
    assert max(map(len, lines)) <= 200
    assert any("20000 records drawn" in line for line in table_lines([back], 20))


# ── one edit ───────────────────────────────────────────────────────────────────────────────────
def test_the_time_of_an_edit_is_that_of_all_its_verifications(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was each verification's own: --timeout 60 could take minutes."""
    asked, verify = list[float](), api.verify

    def watched(spec: Spec, options: VerifyOptions, **rest: Any) -> VerificationResult:
        assert options.time_limit is not None
        asked.append(options.time_limit)
        return verify(spec, options, **rest)

    monkeypatch.setattr(api, "verify", watched)
    found = rw.patch(parse_spec(CAPPED), verify_options=LIMITED, R=network())
    assert found.artifact is not None
    assert len(asked) > 1
    assert all(limit <= 420.0 for limit in asked)  # 7 tenths of what is left
    assert asked[0] <= 200.0  # a third of all


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may be up within a gc callback
def test_an_edit_for_which_the_time_is_up_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EditError) as caught:
        rw.patch(parse_spec(CAPPED), verify_options=replace(LIMITED, time_limit=1e-3), R=network())
    assert caught.value.code == "E39"
    save_artifact(network(), tmp_path / "r")
    (tmp_path / "s.rwd").write_text(CAPPED)
    arguments = ["patch", str(tmp_path / "s.rwd"), "--reward", str(tmp_path / "r"), "-q", "--timeout", "0.001"]
    assert cli([*arguments, "-o", str(tmp_path / "out")]) == 3
    assert "nothing is written" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "s.rwd"]


def test_time_that_is_up_within_a_callback_is_up_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.unraisablehook", lambda _: None)

    class Slow:
        def __del__(self) -> None:
            time.sleep(0.3)

    with pytest.raises(TimeIsUp), limited(0.05):
        Slow()  # what is raised in there goes no further
