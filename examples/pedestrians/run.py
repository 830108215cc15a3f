"""Learn a reward from how people really walk, judge it elsewhere, ask what it pays for, mend that, certify it.

    python run.py [FOLDER]     FOLDER holds seq_eth/obsmat.txt and seq_hotel/obsmat.txt

Leaves all it makes in `out/`; the figures are in `out/summary.json`.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from walks import moments, write

import rewarden as rw
from rewarden.judging.judgement import Asked, Judgement, judge
from rewarden.learning import learn_from
from rewarden.report.inspection import render
from rewarden.spec_lang.errors import EditError
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import VerificationResult

HERE = Path(__file__).resolve().parent
OUT = HERE / "out"
DATA = HERE.parents[1].parent / "shared" / "data" / "pedestrians"
PLACES = ("eth", "hotel")
ABSENT = """There are no tracks at {folder}.
They are the ETH walking pedestrians (Pellegrini et al. 2009): get seq_eth/obsmat.txt and seq_hotel/obsmat.txt, for
instance from https://github.com/crowdbotp/OpenTraj (datasets/ETH).
Then run: python examples/pedestrians/run.py FOLDER"""
OPTIONS = VerifyOptions(budget=60_000)


def main(folder: Path) -> int:
    files = {name: folder / f"seq_{name}" / "obsmat.txt" for name in PLACES}
    if not all(file.is_file() for file in files.values()):
        print(ABSENT.format(folder=folder))
        return 0
    start = time.perf_counter()
    shutil.rmtree(OUT, ignore_errors=True)
    (OUT / "data").mkdir(parents=True)
    counts = {}
    for name, file in files.items():
        found = moments(file)
        counts[name] = len(found["gap"])
        write(found, OUT / "data" / f"{name}.parquet")
    print(f"moments with somebody within 10 m: {counts}")

    learned = learn_from(HERE / "learn.toml")
    rw.save_reward(learned, OUT / "reward")
    here = judge(learned, Asked(data=OUT / "data" / "eth.parquet", effects=True))
    there = judge(learned, Asked(data=OUT / "data" / "hotel.parquet"))
    (OUT / "inspection.html").write_text(render(here, "pedestrians"), encoding="utf-8")
    for place, told in (("held out, ETH", here), ("hotel, another place", there)):
        for test in told.tests:
            print(f"{place}: {test.name}: {test.margins.accuracy.text()}")
            for contest in test.contests:
                print(f"    {contest.sentence()}")

    spec = rw.load_spec(HERE / "pedestrians.rwd")
    before = rw.verify(spec, OPTIONS, R=learned)
    show("before", before)
    mended, after = learned, before
    try:
        result = rw.patch(spec, verify_options=OPTIONS, before=before, R=learned)
        mended = result.artifact
        rw.save_reward(mended, OUT / "mended")
        after = rw.verify(spec, OPTIONS, R=mended)
    except EditError as error:
        print(error.render())
    show("after", after)
    certificate = rw.certify(after, OUT / "certificate")
    checked = rw.check_certificate(certificate.path, reward=mended, spec=spec)
    print(f"certificate {'accepted' if checked.accepted else 'rejected'}")
    against = judge(learned, Asked(data=OUT / "data" / "eth.parquet", against=mended))
    for distance in against.distances:
        print(f"learned and mended: {distance.text()}")

    summary = {
        "moments": counts,
        "real_is_worth_more_than_made_up": {"eth": tests(here), "hotel": tests(there)},
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


def tests(told: Judgement) -> dict[str, object]:
    """Per kind of made-up moment: how often the real one is worth more, and what a trivial rule manages."""
    return {
        test.name: {
            "right": round(test.margins.accuracy.value, 4),
            "interval": [round(end, 4) for end in test.margins.accuracy.exact],
            "trivial_rules": {c.rule: [round(c.rule_accuracy.value, 4), c.verdict] for c in test.contests},
        }
        for test in told.tests
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
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA))
