"""Learn a reward from preferences between recorded segments of driving, judge it, ask what it pays for, mend, certify.

    python run.py

The data are the project's own (`make_data.py` makes them again). Leaves all it makes in `out/`; the figures are in
`out/summary.json`.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from importlib.resources import files
from pathlib import Path

import rewarden as rw
from rewarden.judging.judgement import Judgement
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import VerificationResult

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
TABLES = ("demos.parquet", "preferences.parquet", "incidents.parquet")
OPTIONS = VerifyOptions(budget=20_000)


def main() -> int:
    start = time.perf_counter()
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "data").mkdir(parents=True)
    for name in TABLES:
        (OUT / "data" / name).write_bytes(files("rewarden.demo_data").joinpath(name).read_bytes())

    learned = rw.learn(HERE / "learn.toml")
    rw.save_reward(learned, OUT / "reward")
    page = OUT / "inspection.html"
    told = rw.inspect(
        learned, OUT / "data" / "preferences.parquet", noise=[0.0, 0.2], html=page, title="driving", budget=60
    )
    for test in told.tests:
        print(f"{test.name}: {test.margins.accuracy.text()}")
        for contest in test.contests:
            print(f"    {contest.sentence()}")

    spec = rw.load_spec(HERE / "driving.rwd")
    before = rw.verify(spec, OPTIONS, R=learned)
    show("before", before)
    mended = rw.patch(spec, verify_options=OPTIONS, before=before, R=learned).artifact
    rw.save_reward(mended, OUT / "mended")
    after = rw.verify(spec, OPTIONS, R=mended)
    show("after", after)
    certificate = rw.certify(after, OUT / "certificate")
    checked = rw.check_certificate(certificate.path, reward=mended, spec=spec)
    print(f"certificate {'accepted' if checked.accepted else 'rejected'}")
    against = rw.inspect(learned, OUT / "data" / "preferences.parquet", against=mended)
    for distance in against.distances:
        print(f"learned and mended: {distance.text()}")

    summary = {
        "held_out": held_out(told),
        "accuracy_with_a_fifth_of_labels_turned_round": round(told.noise[-1].accuracy.value, 4),
        "verdicts_before": verdicts(before),
        "verdicts_after": verdicts(after),
        "must_proved_before": proved(before),
        "must_proved_after": proved(after),
        "patches": len(mended.patches),
        "certificate": "accepted" if checked.accepted else "rejected",
        "distance_learned_to_mended": {d.name: round(d.value, 4) for d in against.distances},
        "seconds": round(time.perf_counter() - start, 1),
    }
    (OUT / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=2))
    return 0


def held_out(told: Judgement) -> dict[str, object]:
    """How often the reward is right on pairs that it has not seen, what a trivial rule manages, and calibration."""
    (test,) = told.tests
    assert test.plain is not None
    return {
        "pairs": test.margins.accuracy.count,
        "right": round(test.margins.accuracy.value, 4),
        "interval": [round(end, 4) for end in test.margins.accuracy.exact],
        "trivial_rules": {c.rule: [round(c.rule_accuracy.value, 4), c.verdict] for c in test.contests},
        "calibration_error": round(test.plain.ece, 4),
    }


def verdicts(result: VerificationResult) -> dict[str, str]:
    return {rule.rule: str(rule.verdict) for rule in result.rules}


def proved(result: VerificationResult) -> str:
    must = [rule for rule in result.rules if rule.severity == "must"]
    return f"{sum(str(rule.verdict) == 'proved' for rule in must)} of {len(must)}"


def show(when: str, result: VerificationResult) -> None:
    print(f"{when}: {proved(result)} must rules proved")
    for rule in result.rules:
        print(f"    {rule.verdict!s:9} {rule.severity:6} {rule.rule}")
        if rule.witness is not None and str(rule.verdict) == "violated":
            print("              " + ", ".join(f"{k}: {v}" for k, v in rule.witness.values().items()))


if __name__ == "__main__":
    sys.exit(main())
