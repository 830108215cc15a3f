"""The kernel as a command and as a module: what it prints, how it exits, what it imports."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from rewarden.certificate import check as kernel
from rewarden.certificate import kernel_proof
from rewarden.certificate.check import check, main, render
from rewarden.certificate.kernel_claim import read_claim
from rewarden.certificate.kernel_sentence import sentence
from rewarden.reward.artifact import DataSource, Edit
from tests.reference.certificates import Case, affine, atom, cases, claims_file

NO_VERDICT = ("kernel_files", "kernel_report", "kernel_sentence")  # always loaded, and no verdict rests on them
KERNEL = sorted(Path(kernel.__file__).parent.glob("kernel_*.py"))
SCRIPT = Path(kernel.__file__)


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    return cases(tmp_path_factory.mktemp("cases"))


@pytest.fixture
def certificate(proved: dict[str, Case], tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and the artifact it is about."""
    paths = proved["ceiling"].write(tmp_path / "certificate")
    return tmp_path / "certificate", paths["R"]


def test_it_says_the_claim_and_what_it_did_not_check(
    certificate: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, artifact = certificate
    assert main([str(folder), "--reward", f"R={artifact}"]) == 0
    said = capsys.readouterr().out
    assert "must rule: for all s.x0 in [-1, 1], s.x1 in [-1, 1]: then" in said
    assert ">= 0." in said
    assert "text: not checked" in said
    assert "signature: not checked" in said
    assert "exact integer arithmetic" in said
    assert said.rstrip().endswith("accepted: 1 of 1 claims proved, every must among them")


def test_each_verdict_names_the_files_that_it_rests_on(proved: dict[str, Case], tmp_path: Path) -> None:
    plain = check(tmp_path / "a", proved["ceiling"].write(tmp_path / "a"))
    assert plain.claims[0].files == tuple(sorted(kernel.CORE))
    case = proved["ceiling"].copy()
    case.claim["goals"][0][0]["affine"]["constant"] = "-1000"
    shown = {"format": "rewarden-counterexample", "format_version": 1, "claim": "", "witness": case.proof["witness"]}
    false = Case(case.claim, shown, case.artifacts).rebind()
    report = check(tmp_path / "b", false.write(tmp_path / "b"))
    assert (report.claims[0].verdict, report.claims[0].files) == ("violated", tuple(sorted(kernel.POINT)))
    assert f"[checked by {', '.join(sorted(kernel.POINT))}]" in render(report)
    false.claim["goals"][0][0]["affine"]["constant"] = "1000"
    assert check(tmp_path / "c", false.rebind().write(tmp_path / "c")).claims[0].files == ()


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("strict", set()),
        ("premise", set()),
        ("whole", set()),
        ("boxes", {"kernel_alike"}),
        ("either", {"kernel_steps"}),
        ("fix", {"kernel_ops", "kernel_patches"}),
    ],
)
def test_neighbours_are_named_where_they_are_used_and_nowhere_else(
    name: str, more: set[str], proved: dict[str, Case], tmp_path: Path
) -> None:
    (report,) = check(tmp_path / "c", proved[name].write(tmp_path / "c")).claims
    assert set(report.files) == {*kernel.CORE, *more}


def test_lanes_are_named_where_neurons_were_bounded_in_them(
    proved: dict[str, Case], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kernel_proof, "LARGE", 0)
    said = [check(tmp_path / name, case.write(tmp_path / name)).claims[0] for name, case in proved.items()]
    assert any("kernel_lanes" in report.files for report in said)
    monkeypatch.setattr(kernel_proof, "LARGE", 1 << 60)
    again = [check(tmp_path / f"{n}2", case.write(tmp_path / f"{n}2")).claims[0] for n, case in proved.items()]
    rough = {"kernel_lanes", "kernel_steps"}  # and what these rest on
    assert [(r.verdict, {*r.files} - rough) for r in said] == [(r.verdict, {*r.files} - rough) for r in again]
    assert not any("kernel_lanes" in report.files for report in again)


def test_what_a_verdict_rests_on_is_all_that_is_loaded_for_it(proved: dict[str, Case], tmp_path: Path) -> None:
    paths = proved["ceiling"].write(tmp_path / "c")
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.resolve().parents[2])!r})\n"
        "from rewarden.certificate.check import main\n"
        f"assert main([{str(tmp_path / 'c')!r}, '--reward', {'R=' + str(paths['R'])!r}]) == 0\n"
        "print(sorted(m.rpartition('.')[2] for m in sys.modules if m.startswith('rewarden.certificate.')))\n"
    )
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == str(sorted([*kernel.CORE, *NO_VERDICT]))


def test_it_says_what_an_artifact_comes_from_and_that_nobody_did_that_again(
    proved: dict[str, Case], tmp_path: Path
) -> None:
    case = proved["ceiling"].copy()
    plain, table = case.artifacts["R"], "sha256:" + "ab" * 32
    data = (DataSource("d", "sha256:" + "cd" * 32, table, 3),)
    forgot = replace(plain, parent=plain.digest, edit=Edit("unlearn", "", {"road": "exact"}), data=data)
    case.artifacts["R"] = forgot
    report = check(tmp_path / "c", case.rebind().write(tmp_path / "c"))
    assert report.accepted, report
    told = f"recipe not re-run: R is, by its manifest, made by unlearn, from {plain.digest}, learned from {table}"
    assert told in render(report).splitlines()
    case.artifacts["Before"] = plain
    case.claim["rewards"]["Before"] = plain.digest
    report = check(tmp_path / "d", case.rebind().write(tmp_path / "d"))
    assert report.accounts["R"].startswith(f"made by unlearn, from {plain.digest} (which is Before), learned from")
    unsaid = check(tmp_path / "d", proved["ceiling"].write(tmp_path / "d"))
    assert "recipe not re-run" not in render(unsaid)


def test_a_reward_needs_no_name_where_there_is_one(certificate: tuple[Path, Path]) -> None:
    folder, artifact = certificate
    assert check(folder, {"": artifact}).accepted
    assert main([str(folder), "--reward", str(artifact)]) == 0


def test_workers_say_the_same(proved: dict[str, Case], tmp_path: Path) -> None:
    for name in ("boxes", "local"):
        paths = proved[name].write(tmp_path / name)
        one, two = (check(tmp_path / name, paths, workers=workers) for workers in (1, 2))
        (alone,), (shared,) = one.claims, two.claims
        assert set(shared.files) == {*alone.files, "kernel_jobs"}
        assert render(replace(two, claims=(replace(shared, files=alone.files),))) == render(one)
    broken = proved["local"].copy()
    broken.proof["goals"][0][0].pop()
    paths = broken.write(tmp_path / "broken")
    assert check(tmp_path / "broken", paths, workers=2).claims[0].verdict == "refused"
    idle = proved["local"].copy()
    idle.proof["goals"][0][0][-1] = ["leaf", -1, [], [], []]  # the tree is whole, and a leaf shows nothing
    (report,) = check(tmp_path / "idle", idle.write(tmp_path / "idle"), workers=2).claims
    assert (report.verdict, report.leaves) == ("refused", 0)
    assert "does not settle it" in report.reason


def _killed(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_leaves_its_claim_refused(proved: dict[str, Case], tmp_path: Path) -> None:
    """As where memory is short: nobody waits for its answer."""
    (report,) = check(tmp_path / "c", proved["local"].write(tmp_path / "c"), workers=2, leaf=_killed).claims
    assert (report.verdict, report.leaves) == ("refused", 0)
    assert "has ended without an answer" in report.reason


def test_a_must_claim_without_a_proof_is_not_accepted(
    certificate: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody who removes a proof gains nothing."""
    folder, artifact = certificate
    (folder / "proofs" / "rule.json").unlink()
    report = check(folder, {"R": artifact})
    assert report.claims[0].verdict == "not checked"
    assert report.sound
    assert not report.accepted
    assert main([str(folder), "--reward", str(artifact)]) == 4
    assert "incomplete" in capsys.readouterr().out
    assert main([str(folder), "--reward", str(artifact), "--allow-unchecked"]) == 0


def test_no_claims_are_no_success(certificate: tuple[Path, Path]) -> None:
    folder, _ = certificate
    (folder / "claims.json").write_bytes(claims_file())
    (folder / "proofs" / "rule.json").unlink()
    assert not check(folder, {}).accepted


def test_one_changed_byte_is_refused(certificate: tuple[Path, Path]) -> None:
    folder, artifact = certificate
    proof = folder / "proofs" / "rule.json"
    data = bytearray(proof.read_bytes())
    refused = 0
    for k in range(0, len(data), 7):
        data[k] ^= 1
        proof.write_bytes(bytes(data))
        refused += not check(folder, {"R": artifact}).accepted
        data[k] ^= 1
    assert refused > 0.8 * len(range(0, len(data), 7)), "a slope or a weight may change and still prove the claim"


def test_a_violation_is_replayed(proved: dict[str, Case], tmp_path: Path) -> None:
    case = proved["ceiling"].copy()
    witness = case.proof["witness"]
    case.claim["goals"] = [[atom(affine(Fraction(-9), {}, {0: -1}))]]
    case.proof = {"format": "rewarden-counterexample", "format_version": 1, "claim": "", "witness": witness}
    report = check(tmp_path / "c", case.rebind().write(tmp_path / "c"))
    assert report.claims[0].verdict == "violated"
    assert report.sound
    assert not report.accepted
    case.claim["goals"] = [[atom(affine(Fraction(99), {}, {0: -1}))]]
    report = check(tmp_path / "d", case.rebind().write(tmp_path / "d"))
    assert report.claims[0].verdict == "refused"


def test_claims_are_sorted_and_named_once(certificate: tuple[Path, Path], proved: dict[str, Case]) -> None:
    folder, artifact = certificate
    claim = proved["ceiling"].claim
    (folder / "claims.json").write_bytes(claims_file(claim, claim))
    assert "each rule once" in str(check(folder, {"R": artifact}).problem)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["{folder}"],
        ["{folder}", "--reward", "R=/nowhere"],
        ["{folder}", "--reward"],
        ["{folder}", "--reward", "R={artifact}", "--reward", "R={artifact}"],
        ["{folder}", "--reward", "{artifact}", "--reward", "R={artifact}"],
        ["{folder}", "--reward", "R={artifact}", "--workers", "many"],
        ["{folder}", "--reward", "R={artifact}", "--workers", "0"],
        ["{folder}", "--reward", "R={artifact}", "--fast"],
        ["{folder}", "{folder}", "--reward", "R={artifact}"],
        ["/nowhere", "--reward", "R={artifact}"],
    ],
)
def test_usage(arguments: list[str], certificate: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder, artifact = certificate
    with pytest.raises(SystemExit, match="2"):
        main([a.format(folder=folder, artifact=artifact) for a in arguments])
    assert "error: " in capsys.readouterr().err


def test_a_reward_that_no_claim_names(certificate: tuple[Path, Path]) -> None:
    folder, artifact = certificate
    assert "no claim is about" in str(check(folder, {"Q": artifact}).problem)


# ── alone ──────────────────────────────────────────────────────────────────────────────────────
def test_it_runs_as_a_plain_file_with_the_standard_library_alone(certificate: tuple[Path, Path]) -> None:
    """-I -S: no site-packages, no environment. Exit status and words are those of the module."""
    folder, artifact = certificate
    run = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), str(folder), "--reward", f"R={artifact}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == ""
    assert run.returncode == 0
    assert "accepted: 1 of 1" in run.stdout


def test_it_imports_the_standard_library_and_itself() -> None:
    top = SCRIPT.resolve().parents[2]
    code = (
        f"import sys; sys.path.insert(0, {str(top)!r})\n"
        "import rewarden.certificate.check\n"
        "own = {m for m in sys.modules if m.partition('.')[0] == 'rewarden'}\n"
        "tops = {m.partition('.')[0] for m in sys.modules}\n"
        "other = tops - set(sys.stdlib_module_names) - {'rewarden', '__main__', '__mp_main__'}\n"
        "print(sorted(own)); print(sorted(other))\n"
    )
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    own, other = run.stdout.splitlines()
    names = [f"rewarden.certificate.{name}" for name in (*kernel.CORE, *NO_VERDICT)]
    assert own == str(sorted(["rewarden", "rewarden.certificate", *names])), "the rest is loaded where it is needed"
    assert other == "[]"


def test_it_can_be_read_in_one_sitting() -> None:
    """Lines that say something; and no arithmetic in floating point."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (SCRIPT, *KERNEL)}
    lines = {name: sum(1 for line in text.splitlines() if line.strip()) for name, text in texts.items()}
    assert sum(lines[name] for name in kernel.CORE) < 1000, "what judges points and proofs"
    assert sum(lines[name] for name in kernel.POINT) < 700, "of that, what judges a counterexample"
    assert sum(lines[name] for name in NO_VERDICT) < 410, "what finds files, and puts it all in words"
    assert sum(lines.values()) < 3530, "and the neighbours, of which a claim needs a few at most"
    for text in texts.values():
        assert not re.search(r"(?<![\w_])(float|eval|exec|__import__|import_module)\(", text)


def test_a_premise_that_is_not_near_many_rows_is_said_shortly(proved: dict[str, Case]) -> None:
    """Thousands of rows are thousands of clauses, each with an alternative for each side of a box."""
    said = proved["ceiling"].copy().claim
    middles = [(Fraction(k, 8), Fraction(-k, 16)) for k in range(60)]
    sides = [
        [({0: 1}, -x - Fraction(1, 4)), ({0: -2}, 2 * x - Fraction(1, 2)), ({1: 1}, -y), ({1: -1}, y)]
        for x, y in middles
    ]
    away = [[atom(affine(constant, terms), True) for terms, constant in row] for row in sides]
    said["clauses"] = [[atom(affine(1, {0: 1}))], *away]
    told = sentence(read_claim(said))
    here = (
        "(s.x0, s.x1) is in none of the 60 boxes that claims.json lists, each with the radius 0.25 in s.x0, 0 in s.x1"
    )
    assert f"if s.x0 + 1 >= 0 and {here}, then" in told
    assert len(told) < 400
    said["clauses"][7].pop(0)  # a side beyond the range is left out; of the others the radius is known
    assert here in sentence(read_claim(said))
    said["clauses"][8][0]["affine"]["constant"] = "-9"
    assert "lists, each with the radius 0 in s.x1" in sentence(read_claim(said))
    said["clauses"] = said["clauses"][:4]
    assert sentence(read_claim(said)).count(" or ") == 9, "a few are said in full"


def test_whatever_the_core_enters_names_itself() -> None:
    """A neighbour that the core imports in a function adds its name to what the verdict rests on."""
    entered = 0
    for name in kernel.CORE:
        for outer in ast.walk(ast.parse((SCRIPT.parent / f"{name}.py").read_text(encoding="utf-8"))):
            for node in ast.walk(outer) if isinstance(outer, ast.FunctionDef) else ():
                if isinstance(node, ast.ImportFrom) and node.module is not None:
                    neighbour = node.module.rpartition(".")[2]
                    tree = ast.parse((SCRIPT.parent / f"{neighbour}.py").read_text(encoding="utf-8"))
                    bodies = {
                        d.name: ast.unparse(d) for d in tree.body if isinstance(d, ast.FunctionDef | ast.ClassDef)
                    }
                    for alias in {alias.name for alias in node.names} - {"SHAPE", "read_other"}:  # these read claims
                        assert f"used.add('{neighbour}')" in bodies[alias], f"{name} enters {neighbour}.{alias}"
                        entered += 1
    assert entered > 12


def test_what_is_printed_commands_no_terminal(
    certificate: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, artifact = certificate
    shutil.copytree(folder, tmp_path / "c")
    (tmp_path / "c" / "proofs" / "x\x1b[31m.json").write_text("{}")
    assert main([str(tmp_path / "c"), "--reward", str(artifact)]) == 4
    said = capsys.readouterr().out
    assert "proofs/x?[31m.json belongs to no claim" in said
    assert "\x1b" not in said
