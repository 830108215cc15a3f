"""Verdicts from earlier runs: the same claim is not decided twice, and nothing damaged or stopped is believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rewarden as rw
from rewarden import verdict_cache
from rewarden.cli import run
from rewarden.editor.mend import bounds_for
from rewarden.editor.patch import apply_patch
from rewarden.reward.torch_import import from_torch
from rewarden.spec_lang.canonical import canonical_json, digest_of
from rewarden.verdict_cache import VerdictCache, default_folder
from rewarden.verifier.extremum import certified_extremum
from rewarden.verifier.kept import KeptError, of_kept, to_kept
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.trail import EVENT, SETTLED, Trail, trail_out
from rewarden.verifier.unwritten import Unwritten
from rewarden.verifier.verdict import VerificationResult
from tests.reference.cart import PROVED, SHOULD, VACUOUS, VIOLATED, write_reward, write_spec
from tests.unit.test_mend_near import HEAD, RING, data, reward, spec_of

OPTIONS = VerifyOptions(budget=2000, falsify_budget=2000)


class _Case:
    """A spec, its reward, a cache, and what the cache has said (mutable)."""

    def __init__(self, folder: Path, *rules: str) -> None:
        self.spec = write_spec(folder, *rules)
        self.reward = rw.load_reward(write_reward(folder, self.spec))
        self.notes: list[str] = []
        self.folder = folder / "kept"

    def verify(self, options: VerifyOptions = OPTIONS, **more: Any) -> VerificationResult:
        cache = VerdictCache(self.folder, self.notes.append)
        return rw.verify(rw.load_spec(self.spec), options, R=self.reward, cache=cache, **more)

    def entries(self) -> list[Path]:
        return sorted(self.folder.glob("*.json"))


def _told(result: VerificationResult) -> str:
    return json.dumps([{**rule, "cached": None} for rule in result.to_json()["rules"]], sort_keys=True)


def _cached(result: VerificationResult) -> list[bool]:
    return [rule.cached for rule in result.rules]


def test_every_verdict_is_kept_and_comes_back_as_it_was(tmp_path: Path) -> None:
    case = _Case(tmp_path, PROVED, VIOLATED, VACUOUS, SHOULD)
    first, second = case.verify(), case.verify()
    assert _cached(first) == [False] * 4
    assert _cached(second) == [True] * 4
    assert _told(first) == _told(second)
    assert [r.proof for r in first.rules] == [r.proof for r in second.rules]
    assert [r.claim for r in first.rules] == [r.claim for r in second.rules]
    assert not case.notes


def test_comments_and_layout_do_not_matter_and_thresholds_do(tmp_path: Path) -> None:
    case = _Case(tmp_path, PROVED)
    case.verify()
    text = case.spec.read_text(encoding="utf-8")
    case.spec.write_text(
        "# a comment\n" + text.replace("expect R(s) <= 100", "expect   R(s)   <=   100"), encoding="utf-8"
    )
    assert _cached(case.verify()) == [True]
    case.spec.write_text(text.replace("<= 100", "<= 101"), encoding="utf-8")
    assert _cached(case.verify()) == [False]


@pytest.mark.parametrize("option", [{"budget": 1999}, {"seed": 1}, {"engine": "bounds"}, {"falsify_budget": 1000}])
def test_options_that_matter_make_another_entry(tmp_path: Path, option: dict[str, Any]) -> None:
    case = _Case(tmp_path, PROVED)
    case.verify()
    assert _cached(case.verify(VerifyOptions(**{"budget": 2000, "falsify_budget": 2000, **option}))) == [False]


def test_other_code_decides_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = _Case(tmp_path, PROVED)
    case.verify()
    monkeypatch.setattr(verdict_cache, "code_digest", lambda: "another")
    assert _cached(case.verify()) == [False]


def test_what_was_stopped_is_not_kept(tmp_path: Path) -> None:
    case = _Case(tmp_path, PROVED)
    stopped = case.verify(stop=lambda: True)
    assert stopped.rules[0].reason == "Stopped before everything was settled. It was asked to stop."
    late = case.verify(VerifyOptions(time_limit=1e-6))
    assert late.rules[0].reason == "Stopped before everything was settled. The time limit of 1e-06 s was reached."
    case.verify(VerifyOptions(engine="falsify", falsify_budget=10, time_limit=1000.0))  # unknown, with a clock
    assert not case.entries()


def test_unknown_is_kept_for_the_same_budget(tmp_path: Path) -> None:
    case = _Case(tmp_path, PROVED)
    few = VerifyOptions(engine="falsify", falsify_budget=10)
    assert str(case.verify(few).rules[0].verdict) == "unknown"
    assert _cached(case.verify(few)) == [True]
    assert _cached(case.verify(VerifyOptions(engine="falsify", falsify_budget=11))) == [False]


# ── damage ─────────────────────────────────────────────────────────────────────────────────────
def _content(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """Changes the content, and makes the digest fit again."""

    def changed(entry: dict[str, Any]) -> None:
        change(entry["content"])
        entry["digest"] = digest_of(canonical_json(entry["content"]))

    return changed


DAMAGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "a digest": lambda e: e.update(digest="sha256:" + "0" * 64),
    "content alone": lambda e: e["content"].update(reason="Because."),
    "a key": lambda e: e.update(key="sha256:" + "0" * 64),
    "a version": lambda e: e.update(format_version=2),
    "a verdict": _content(lambda c: c.update(verdict="splendid")),
    "violated without a witness": _content(lambda c: c.update(verdict="violated", proof=None)),
    "a witness of nothing": _content(lambda c: c.update(verdict="violated", proof=None, witness=["0", "0", "0"])),
    "no point of the premise": _content(lambda c: c.update(premise_witness=None)),
    "a point elsewhere": _content(lambda c: c.update(premise_witness=["99", "0", "0"])),
    "a point that is none": _content(lambda c: c.update(premise_witness=["1/0", "0", "0"])),
    "a proof of another claim": _content(lambda c: c["proof"].update(claim="sha256:" + "0" * 64)),
    "a tree cut off": _content(lambda c: c["proof"]["goals"][0][0].insert(0, ["cut", 0, "1"])),
    "trees that are missing": _content(lambda c: c["proof"].update(goals=[])),
    "a node that is none": _content(lambda c: c["proof"]["goals"][0].__setitem__(0, [["twig"]])),
    "work that is none": _content(lambda c: c["work"].update(boxes=-1)),
    "no content": lambda e: e.update(content=None),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_told_of_and_decided_anew(tmp_path: Path, damage: str) -> None:
    case = _Case(tmp_path, PROVED)
    whole = _told(case.verify())
    (path,) = case.entries()
    entry = json.loads(path.read_text(encoding="utf-8"))
    DAMAGES[damage](entry)
    path.write_text(json.dumps(entry), encoding="utf-8")
    again = case.verify()
    assert _cached(again) == [False]
    assert _told(again) == whole
    assert len(case.notes) == 1
    assert "ignored" in case.notes[0]
    assert _cached(case.verify()) == [True]  # written anew


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[]", b"null", b"{" * 100_000])
def test_bytes_that_are_no_entry_are_ignored(tmp_path: Path, data: bytes) -> None:
    case = _Case(tmp_path, PROVED)
    case.verify()
    (path,) = case.entries()
    path.write_bytes(data)
    assert _cached(case.verify()) == [False]


def test_the_oldest_entries_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = VerdictCache(tmp_path)
    monkeypatch.setattr(verdict_cache, "MOST", 250)
    for number, name in enumerate("abcd"):
        cache.put(name, {"x": "y" * 80})
        os.utime(tmp_path / f"{name}.json", (number, number))
    assert cache.get("a") is None
    assert cache.get("d") == {"x": "y" * 80}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 250 + 100


def test_a_folder_that_cannot_be_written_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    notes: list[str] = []
    VerdictCache(tmp_path / "file" / "below", notes.append).put("a", {})
    assert len(notes) == 1


# ── the command ────────────────────────────────────────────────────────────────────────────────
def test_the_command_keeps_verdicts_unless_told_not_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = write_spec(tmp_path, PROVED, VIOLATED)
    call = ["verify", str(spec), "--reward", str(write_reward(tmp_path, spec)), "--json", str(tmp_path / "r.json")]
    run([*call, "--no-cache"])
    assert not default_folder().exists()
    assert run(call) == 1
    capsys.readouterr()
    assert run(call) == 1
    out, err = capsys.readouterr()
    assert "2 of these verdicts are from earlier runs (--no-cache)" in out
    assert err == ""
    rules = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["rules"]
    assert [rule["cached"] for rule in rules] == [True, True]


def test_nothing_new_needs_no_torch(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, PROVED, VIOLATED, SHOULD)
    call = ["verify", str(spec), "--reward", str(write_reward(tmp_path, spec))]
    run(call)
    code = f"import sys; from rewarden.cli import run; run({call!r}); print([m for m in ('torch', 'z3', 'numba') if m in sys.modules])"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_kept_proof_can_be_certified(tmp_path: Path) -> None:
    case = _Case(tmp_path, PROVED)
    case.verify()
    kept = case.verify()
    assert _cached(kept) == [True]
    rw.certify(kept, tmp_path / "certificate")
    assert rw.check_certificate(tmp_path / "certificate", reward=case.reward, spec=case.spec).accepted


# ── proofs that are not written yet ────────────────────────────────────────────────────────────
CELLS = VerifyOptions(engine="cells", budget=400, falsify_budget=100)


def test_a_proof_that_is_still_to_be_written_is_kept_as_its_trail(tmp_path: Path) -> None:
    case = _Case(tmp_path, PROVED)
    first, second = case.verify(CELLS), case.verify(CELLS)
    assert _cached(second) == [True]
    before, after = first.rules[0].proof, second.rules[0].proof
    assert isinstance(before, Unwritten)
    assert isinstance(after, Unwritten)
    assert before.trail is not None
    assert after.trail is not None
    assert trail_out(before.trail) == trail_out(after.trail)
    rw.certify(second, out=tmp_path / "certificate")
    assert rw.check_certificate(tmp_path / "certificate", reward=case.reward, spec=case.spec).accepted


AROUND = "must around:\n  forall s: S\n  given s.x <= 2 [m] or s.x >= 8 [m]\n  expect R(s) == Before(s)\n"


def _patched(folder: Path) -> tuple[Path, dict[str, rw.Artifact]]:
    """A rule about what lies around a patch, with the patched reward and what it was made of."""
    parent = reward()
    data(folder, 20)
    spec = spec_of("must r:\n  forall s: S\n  given s.x >= 4 [m] and s.x <= 6 [m]\n  expect R(s) <= 0.9\n", folder)
    child, _ = apply_patch(parent, bounds_for(spec, {"R": parent}, "r", RING)[0], certified_extremum)
    (folder / "around.rwd").write_text(HEAD + "reward Before(s: S)\n" + AROUND, encoding="utf-8")
    return folder / "around.rwd", {"R": child, "Before": parent}


def test_a_proof_about_less_is_kept(tmp_path: Path) -> None:
    spec, rewards = _patched(tmp_path)
    read, cache = rw.load_spec(spec), VerdictCache(tmp_path / "kept")
    first, second = (rw.verify(read, OPTIONS, cache=cache, rewards=rewards) for _ in range(2))
    assert _cached(second) == [True]
    before, after = first.rules[0].proof, second.rules[0].proof
    assert isinstance(before, Unwritten)
    assert isinstance(after, Unwritten)
    assert before.beyond
    assert after.beyond
    rw.certify(second, out=tmp_path / "certificate")
    assert rw.check_certificate(tmp_path / "certificate", rewards=rewards, spec=spec).accepted
    # The same with the proof that was written, with a trail, and with another word in place of `beyond`.
    written = json.loads((tmp_path / "certificate" / "proofs" / "around.json").read_text(encoding="utf-8"))
    claim = first.rules[0].claim
    assert claim is not None
    walked = Trail((np.array([(SETTLED, 0, 0, 0.0, 0)], EVENT),))
    owed = to_kept(replace(first.rules[0], proof=Unwritten(1, walked, beyond=True)), "key")
    back = of_kept(owed, "key", claim, rewards, read.features).proof
    assert isinstance(back, Unwritten)
    assert back.beyond
    assert back.trail is not None
    assert trail_out(back.trail) == trail_out(walked)
    kept = to_kept(replace(first.rules[0], proof=written), "key")
    assert of_kept(kept, "key", claim, rewards, read.features).proof == written
    kept["content"]["proof"]["beyond"] = 1
    kept["digest"] = digest_of(canonical_json(kept["content"]))
    with pytest.raises(KeptError, match="beyond"):
        of_kept(kept, "key", claim, rewards, read.features)


@pytest.mark.parametrize("change", [{"boxes": -1}, {"trail": {"boxes": [1], "events": "!"}}, {"trail": {"boxes": []}}])
def test_a_damaged_trail_is_decided_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    case = _Case(tmp_path, PROVED)
    case.verify(CELLS)
    (path,) = case.entries()
    entry = json.loads(path.read_text(encoding="utf-8"))
    _content(lambda content: content["proof"].update(change))(entry)
    path.write_text(json.dumps(entry), encoding="utf-8")
    assert _cached(case.verify(CELLS)) == [False]
    assert len(case.notes) == 1


def test_another_version_of_what_decides_with_us_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A z3 in which an error was mended may say otherwise."""
    found = set()
    for installed in ("4.12.0", "4.13.0", None):

        def version(name: str, installed: str | None = installed) -> str:
            if installed is None:
                raise PackageNotFoundError(name)
            return installed if name == "z3-solver" else "1"

        monkeypatch.setattr(verdict_cache, "version", version)
        verdict_cache.code_digest.cache_clear()
        found.add(verdict_cache.code_digest())
    verdict_cache.code_digest.cache_clear()
    assert len(found) == 3


def test_rules_about_steps_are_cached_only_where_all_of_them_was(tmp_path: Path) -> None:
    """Of loops and long traces only the search among short ones is kept: cells decide them anew."""
    header = "spec walk v1\nfeatures S { x : real in 0 .. 4 }\nreward R(s: S)\n"
    relation = "relation creep(a: S, b: S) = |a.x - b.x| <= 1\n"
    rules = (
        "must loop: cycle t: S via creep expect sum(R(t) - 2) <= 0\n"
        "must long: trace t: S of 6 steps via creep expect sum(R(t)) <= 12\n"
        "must short: trace t: S within 2 steps via creep expect sum(R(t)) <= 4\n"
    )
    spec = tmp_path / "walk.rwd"
    spec.write_text(header + relation + rules)
    net = torch.nn.Sequential(torch.nn.Linear(1, 1))
    with torch.no_grad():
        net[0].weight.fill_(0.25)
        net[0].bias.fill_(0.5)
    head = rw.load_spec(spec)
    R = from_torch(net, (("s", head.features["S"]),))

    def verify() -> VerificationResult:
        return rw.verify(rw.load_spec(spec), OPTIONS, R=R, cache=VerdictCache(tmp_path / "kept", print))

    first, second = verify(), verify()
    assert [rule.verdict for rule in first.rules] == ["proved"] * 3
    assert _cached(first) == [False] * 3
    assert _cached(second) == [False, False, True]
