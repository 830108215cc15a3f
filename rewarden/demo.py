"""`rewarden demo`: from recorded driving to a certificate that somebody else can check.

Every step does what the command of its name does, on the files that it leaves in the folder, so that each can be
repeated by hand. Nothing is assumed to go well: where a step does not come out as the story has it, the demo says so,
and its exit status is that of the last verification or of the certificate, whichever is worse.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from rewarden import api, exits
from rewarden.atomic import write_bytes, write_text
from rewarden.editor.drift import Drift, drift
from rewarden.editor.mend import PatchResult
from rewarden.learning import learn_from
from rewarden.output import emit, number, paint, result_lines, short, summary
from rewarden.progress import Progress, per_rule, progress, silent
from rewarden.report.story import CertificateFacts, Story
from rewarden.results import write_result
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.errors import UsageError
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import Verdict

MARK = ".rewarden-demo"
PIECES = (
    "driving.rwd", "data", "demonstrations.toml", "preferences.toml", "rewarden.toml", "reward", "reward-demos",
    "before.json", "patched", "after.json", "certificate", "report.html", MARK,
)  # fmt: skip
DATA = ("demos.parquet", "incidents.parquet", "preferences.parquet")
SEED = 7
BUDGET = 20_000  # boxes per rule: decides every `must` rule of the story, and leaves it under three minutes

_LEARN = """# rewarden learn {name}.toml -o DIR
[data]
{name} = "data/{file}"

[features]
spec = "driving.rwd"
type = "Step"

[learner]
name = "{learner}"
seed = {seed}
{options}"""
# Small experts and their largest error: as telling on these data as the defaults (AUC 0.82), at half the leaves.
_SMALL = """
[learner.options]
experts = 3
hidden = 8
error = "linf"
"""
# The same bytes on processors with other vector units.
_SAME = """
[learner.options]
precision = "double"
"""
_PROJECT = """# What `rewarden verify` reads when it is given no arguments.
specs = ["driving.rwd"]

[rewards]
R = "patched"
D = "reward-demos"
Base = "reward"

[verify]
budget = {budget}
"""
# symbol, what from, its file, learner, options
LEARNED = (
    ("R", "preferences", "preferences.parquet", "preferences", _SAME),
    ("D", "demonstrations", "demos.parquet", "autoencoders", _SMALL),
)
OPTIONS = VerifyOptions(budget=BUDGET)


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where the demo works and how it talks."""

    out: Path
    report: Progress
    quiet: bool

    @contextmanager
    def step(self, count: int, title: str) -> Iterator[None]:
        """Announce a step, and how long it took."""
        self.say(f"{paint(f'[{count}/6]', 'faint')} {paint(title, 'strong')}")
        started = time.monotonic()
        yield
        self.say(paint(f"      {time.monotonic() - started:.1f} s", "faint") + "\n")

    def say(self, text: str) -> None:
        if not self.quiet:
            emit(line.rstrip() for line in text.split("\n"))

    def detail(self, text: str) -> None:
        self.say("\n".join("      " + line for line in text.split("\n")))


def run(out: Path, *, quiet: bool = False) -> int:
    """The whole story; the exit status. UsageError G05 where `out` holds anything but a former demo."""
    _make_room(out)
    started = time.monotonic()
    with progress(quiet) as report:
        stage = _Stage(out, report, quiet)
        with stage.step(1, "Learn two rewards from recorded driving: no policy, no environment"):
            rewards = _learn(stage)
        with stage.step(2, "Read the spec: what the reward must never do"):
            spec = api.load_spec(out / "driving.rwd")
            must = sum(rule.severity == "must" for rule in spec.rules)
            stage.detail(f"{out / 'driving.rwd'}: {len(spec.rules)} rules, {must} of them must")
        with stage.step(3, "Verify the learned rewards"):
            before = api.verify(spec, OPTIONS, rewards=rewards, progress=per_rule(report))
            write_result(before, out / "before.json")
            stage.detail("\n".join(result_lines(before)))
        with stage.step(4, "Patch what fails, where it fails, and verify again"):
            patched = _patch(stage, before)
        with stage.step(5, "Certify, and check the certificate without torch and z3"):
            facts = _certify(stage, patched)
        with stage.step(6, "Write the report"):
            _report(stage, patched, before, facts)
    status = exits.worst([_after(patched).exit_status, exits.PROVED if facts.accepted else exits.REJECTED])
    seconds = time.monotonic() - started
    emit(_closing(out, before, _after(patched), facts, seconds))
    return status


# ── the steps ──────────────────────────────────────────────────────────────────────────────────
def learned(folder: Path, report: Progress = silent) -> dict[str, Artifact]:
    """Lay the packaged spec, data and configs out in `folder`, and learn both rewards there, with R as its own base."""
    packaged = files("rewarden.demo_data")
    for name in DATA:
        write_bytes(folder / "data" / name, packaged.joinpath(name).read_bytes())
    write_bytes(folder / "driving.rwd", packaged.joinpath("driving.rwd").read_bytes())
    write_text(folder / "rewarden.toml", _PROJECT.format(budget=BUDGET))
    rewards = {}
    for symbol, name, file, learner, options in LEARNED:
        config = folder / f"{name}.toml"
        write_text(config, _LEARN.format(name=name, file=file, learner=learner, seed=SEED, options=options))
        rewards[symbol] = learn_from(config, progress=report)
    return {**rewards, "Base": rewards["R"]}  # before any edit, the base of R is R


def _learn(stage: _Stage) -> dict[str, Artifact]:
    rewards = learned(stage.out, stage.report)
    for (symbol, name, *_), folder in zip(LEARNED, ("reward", "reward-demos"), strict=True):
        artifact = rewards[symbol]
        api.save_reward(artifact, stage.out / folder)
        stage.detail(f"{symbol} from {name}: {folder}/  {short(artifact.digest)}")
        assert artifact.learner is not None
        stage.detail("\n".join(f"    {key}: {text}" for key, text in artifact.learner.record.items()))
    return rewards


def _patch(stage: _Stage, before: api.Verification) -> PatchResult:
    """Patch the `must` rules that are violated, with the learned reward as `Base`, which locality speaks of."""
    failing = [r.rule for r in before.rules if r.severity == "must" and r.verdict is Verdict.VIOLATED]
    rewards = before.bound
    result = api.patch(
        before.of,
        rules=failing,
        before=before,
        verify_options=OPTIONS,
        rewards=rewards,
        progress=per_rule(stage.report),
    )
    for edit in result.edits:
        for fact in edit.patches:
            stage.detail(
                f"{fact.kind} for {edit.rule}: {edit.reward} held at {number(float(fact.level))}; it could reach "
                f"{number(float(fact.extremum))}; slope {number(float(fact.slope))} a ring width"
            )
    for rule, reason in result.unmended.items():
        stage.detail(f"{rule} cannot be mended by a patch: {reason}")
    for rule in result.broken:
        stage.detail(f"the patch breaks {rule}, which was proved before")
    if result.artifact is None:
        stage.detail("nothing was patched: no must rule is violated")
        artifact = before.bound["R"]
        after = api.verify(before.of, OPTIONS, rewards=rewards, progress=per_rule(stage.report))
    else:
        artifact, after = result.artifact, _after(result)
    api.save_reward(artifact, stage.out / "patched")
    write_result(after, stage.out / "after.json")
    stage.detail("\n".join(result_lines(after, witnesses=False)))
    return PatchResult("R", artifact, result.edits, before, after, result.unmended, result.broken)


def _certify(stage: _Stage, patched: PatchResult) -> CertificateFacts:
    """Issue, check in a process of its own, and show what becomes of a tampered copy."""
    after = _after(patched)
    folder = stage.out / "certificate"
    issued = api.certify(after, folder)
    checked = _check_elsewhere(folder, stage.out)
    accepted = checked.returncode == exits.PROVED
    stage.detail(checked.stdout.rstrip())
    if checked.stderr.strip():
        stage.detail(checked.stderr.rstrip())
    refused = _tampered(stage, folder)
    proved = sum(r.verdict is Verdict.PROVED for r in after.rules)
    return CertificateFacts(
        accepted=accepted,
        summary=f"{proved} of {len(after.rules)} rules proved; checked in a process that imported neither torch nor z3",
        fingerprint=issued.fingerprint,
        covers=(
            "the claim of every rule listed as proved, over the reals, recomputed from its proof in exact integers",
            "that these claims are what driving.rwd says, compiled again and compared byte for byte",
            "that the artifacts are the ones that the claims name, by digest",
        ),
        omits=(
            "who signed: the key is a one-time key of this demo; compare fingerprints where it matters",
            "the deployed binary32 arithmetic of the network, beyond what each patch states of itself",
            "whether the assumptions and ranges of the spec hold in the world",
            "any policy or machine that optimises the reward",
        ),
        refused=refused,
    )


_CHECK = """\
import sys
from rewarden.cli import run
status = run(sys.argv[1:])
loaded = sorted({"torch", "z3"} & set(sys.modules))
print("imported in this process:", ", ".join(loaded) if loaded else "neither torch nor z3")
sys.exit(5 if loaded else status)
"""


def _check_elsewhere(certificate: Path, out: Path, tier: str = "exact") -> subprocess.CompletedProcess[str]:
    """`rewarden check-certificate` in a fresh process, which reports what it imported."""
    command = [
        sys.executable,
        "-c",
        _CHECK,
        "check-certificate",
        "--quiet",
        str(certificate),
        "--spec",
        str(out / "driving.rwd"),
    ]
    for name, folder in (("R", "patched"), ("D", "reward-demos"), ("Base", "reward")):
        command += ["--reward", f"{name}={out / folder}"]
    command += ["--workers", str(os.cpu_count() or 1), "--tier", tier]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _tampered(stage: _Stage, certificate: Path) -> tuple[str, ...]:
    """Flip one byte of one proof in a copy: the checker must say no. Returns what it said."""
    proofs = sorted((certificate / "proofs").glob("*.json"), key=lambda path: path.stat().st_size)
    if not proofs:
        return ()
    victim = proofs[len(proofs) // 2]
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "certificate"
        shutil.copytree(certificate, copy)
        data = bytearray(victim.read_bytes())
        place = _digit_within(bytes(data))
        data[place] ^= 1
        (copy / "proofs" / victim.name).write_bytes(bytes(data))
        checked = _check_elsewhere(copy, stage.out, "float64")  # quicker, and what no bound settles is refused by all
    if checked.returncode != exits.REJECTED:
        raise RuntimeError(f"a certificate with a flipped byte was not rejected (status {checked.returncode})")
    said = next((line.strip() for line in checked.stdout.splitlines() if victim.stem in line), "rejected")
    stage.detail(f"one byte of proofs/{victim.name} flipped in a copy: {paint('rejected', 'rejected')}")
    return (f"A copy with byte {place} of proofs/{victim.name} flipped: rejected. {said}",)


def _digit_within(data: bytes) -> int:
    """The middle one of the digits that follow a digit: flipped, the proof is still well formed, but another one."""
    digits = [k for k in range(1, len(data)) if data[k - 1 : k + 1].isdigit()]
    return digits[len(digits) // 2] if digits else len(data) // 2


def _after(result: PatchResult) -> api.Verification:
    assert isinstance(result.after, api.Verification), "api.patch verifies with api.verify"
    return result.after


def _report(stage: _Stage, patched: PatchResult, before: api.Verification, facts: CertificateFacts) -> None:
    from rewarden.editor.effect import effects
    from rewarden.report import render

    after = _after(patched)
    story = Story(
        title="Motorway driving: two learned rewards, verified and mended",
        spec=after.of,
        result=after,
        rewards=after.bound,
        before=before,
        rewards_before=before.bound,
        edits=patched.edits,
        effects=effects(after.of, before.bound, patched) if patched.edits else {},
        drifts=_drifts(after, before.bound["R"]),
        certificate=facts,
    )
    write_text(stage.out / "report.html", render(story))
    stage.detail(str(stage.out / "report.html"))


def _drifts(after: api.Verification, learned: Artifact) -> Mapping[str, Drift]:
    spec = after.of
    return {name: drift(learned, after.bound["R"], spec.table(name).values) for name in spec.data}


# ── around the story ───────────────────────────────────────────────────────────────────────────
def _make_room(out: Path) -> None:
    """An empty folder, or a former demo's, whose pieces are removed; UsageError G05 for anything else."""
    if out.is_dir() and (out / MARK).is_file():
        for name in PIECES:
            piece = out / name
            if piece.is_dir() and not piece.is_symlink():
                shutil.rmtree(piece)
            else:
                piece.unlink(missing_ok=True)
    elif out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(
            "G05", f"{out} exists and is no former demo", help="name another folder: rewarden demo --out DIR"
        )
    write_text(out / MARK, "The folder of a `rewarden demo`: the next one with this --out replaces what it left.\n")


def _closing(
    out: Path, before: api.Verification, after: api.Verification, facts: CertificateFacts, seconds: float
) -> list[str]:
    word = "accepted" if facts.accepted else "rejected"
    lines = [
        paint("Summary", "strong"),
        f"  before       {summary(before.rules)}",
        f"  after        {summary(after.rules)}",
        f"  certificate  {paint(word, word)}: {facts.summary}",
        f"  report       {(out / 'report.html').resolve()}",
        f"  took         {seconds:.0f} s",
    ]
    open_must = [r.rule for r in after.rules if r.severity == "must" and r.verdict is not Verdict.PROVED]
    if open_must:
        lines.append(f"  not as it should be: {', '.join(open_must)} is not proved")
    return lines
