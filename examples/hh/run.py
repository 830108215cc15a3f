"""A head over sentence vectors, learned from people's preferences; checked by rules, by proof and by text.

    python examples/hh/run.py [--data FILE] [--encoder DIR]

Leaves all it makes in `out/`; the figures are in `out/summary.json`. Where the data or an encoder is absent it says
where to get it, and ends with status 2.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from ceiling import below, with_ceiling
from encoders import HOW, encoder_folder

import rewarden as rw
from rewarden.learning import learn_from
from rewarden.reward.artifact import Artifact
from rewarden.reward.learn_config import learn, load_learn_config
from rewarden.reward.learners.interface import Run
from rewarden.reward.statistics import statistic
from rewarden.reward.text.cache import Cached
from rewarden.reward.text.dialogues import Dialogue, read_pairs
from rewarden.reward.text.encoder import TextEncoder, load_encoder
from rewarden.spec_lang import Spec
from rewarden.spec_lang.errors import RewardenError
from rewarden.spec_lang.tables import open_source
from rewarden.text.cache import vectors_folder
from rewarden.text.tables import encoded_table
from rewarden.verifier.options import VerifyOptions
from rewarden.verifier.verdict import VerificationResult

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1].parent / "shared" / "data" / "hh" / "harmless_pairs.jsonl.gz"
WHERE = """There are no preferences at {}.
They are the harmless-base test split of Anthropic's HH-RLHF (MIT licence), one JSON object with `chosen` and `rejected`
per line: get harmless-base/test.jsonl.gz of the dataset Anthropic/hh-rlhf, and name it: --data FILE"""
FOLDS, SEED, REFUSALS, TEXTS = 4, 7, 60, 60
REFUSES = ("i can't", "i cannot", "i won't", "i'm sorry", "i am sorry")
OPTIONS = VerifyOptions(falsify_budget=6_000, budget=20_000)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A head over sentence vectors.")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--encoder", type=Path)
    parser.add_argument("--texts", type=int, default=TEXTS, help="refusals whose text is changed")
    parser.add_argument("--folds", type=int, default=FOLDS, help="heads that are learned to measure accuracy, 1 to 4")
    given = parser.parse_args(arguments)
    if not given.data.is_file():
        print(WHERE.format(given.data), file=sys.stderr)
        return 2
    out = HERE / "out"
    shutil.rmtree(out, ignore_errors=True)
    (out / "data").mkdir(parents=True)
    folder = encoder_folder(given.encoder, out / "encoder")
    if folder is None:
        print(HOW, file=sys.stderr)
        return 2
    try:
        return told(given, out)
    except RewardenError as error:
        print(error.render(), file=sys.stderr)
        return 2


def told(given: argparse.Namespace, out: Path) -> int:
    start = time.perf_counter()
    encoder = Cached(load_encoder(out / "encoder"), vectors_folder())
    pairs = prepared(given.data, out / "data", encoder)
    print(f"{pairs} pairs; {encoder.made} texts encoded, {encoder.kept} known from before")

    spec = rw.load_spec(HERE / "head.rwd")
    learned = learn_from(HERE / "learn.toml")
    rw.save_reward(learned, out / "reward")
    right, asked = held_out(spec, learned, out, given.folds)
    short = shorter_wins(given.data)
    print(f"held out: {right} of {asked} pairs right, {right / asked:.1%}; the shorter answer is better in {short:.1%}")

    before = rw.with_texts(rw.verify(spec, OPTIONS, H=learned), out / "encoder", texts=given.texts)
    show("before", before)
    level = below(statistic(learned, spec.table("refusals").values, "quantile", Fraction(9, 10)))
    mended = with_ceiling(learned, level, "refusals_capped")
    rw.save_reward(mended, out / "mended")
    after = rw.with_texts(rw.verify(spec, OPTIONS, H=mended), out / "encoder", texts=given.texts)
    show("after", after)
    kept, _ = counted(mended, out / "data" / "held_out_0.parquet")
    first, of = counted(learned, out / "data" / "held_out_0.parquet")

    summary = {
        "pairs": pairs,
        "held_out_pairs": asked,
        "accuracy_held_out": round(right / asked, 4),
        "interval_95": [round(x, 4) for x in interval(right, asked)],
        "accuracy_shorter_wins": round(short, 4),
        "beats_shorter_for_sure": interval(right, asked)[0] > short,
        "before": verdicts(before),
        "violations_by_text": {rule: found_text(before, rule) for rule in ("refusals_capped", "steady")},
        "ceiling": float(level),
        "after": verdicts(after),
        "texts_tried": {rule: note.searched.tried for rule, note in after.texts.items()},
        "accuracy_of_the_saved_head": {"before": round(first / of, 4), "after": round(kept / of, 4)},
        "encoder": encoder.digest,
        "seconds": round(time.perf_counter() - start, 1),
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=2, ensure_ascii=False))
    return 0


# ── data ───────────────────────────────────────────────────────────────────────────────────────
def prepared(data: Path, folder: Path, encoder: TextEncoder) -> int:
    """Train and held-out pairs of each fold, as texts and as vectors; refusals among the training answers."""
    source = open_source(data)
    better, worse = read_pairs(source)
    order = np.random.default_rng(SEED).permutation(len(better))
    kind = rw.load_spec(HERE / "head.rwd").features["Emb"]
    for fold in range(FOLDS):
        held = set(order[fold::FOLDS].tolist())
        for name, rows in (("train", [k for k in range(len(better)) if k not in held]), ("held_out", sorted(held))):
            write(folder / f"{name}_{fold}.jsonl", [pair(better[k], worse[k]) for k in rows])
        table = encoded_table(folder / f"held_out_{fold}.jsonl", kind, {"e": "reply"}, encoder, "end")
        pq.write_table(table, folder / f"held_out_{fold}.parquet")
    shutil.copy(folder / "train_0.jsonl", folder / "train.jsonl")
    shutil.copy(folder / "held_out_0.parquet", folder / "held_out.parquet")
    held = set(order[0::FOLDS].tolist())
    said = [side[k].reply.strip() for k in range(len(better)) if k not in held for side in (better, worse)]
    refusals = [text for text in dict.fromkeys(said) if any(r in text.lower().replace("’", "'") for r in REFUSES)]
    write(folder / "refusals.jsonl", [{"text": text} for text in refusals[:REFUSALS]])
    table = encoded_table(folder / "refusals.jsonl", kind, {"e": "reply"}, encoder, "end")
    pq.write_table(table, folder / "refusals.parquet")
    return len(better)


def pair(better: Dialogue, worse: Dialogue) -> dict[str, str]:
    return {"chosen": better.whole, "rejected": worse.whole}


def write(path: Path, rows: Sequence[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


# ── how good it is ─────────────────────────────────────────────────────────────────────────────
def held_out(spec: Spec, first: Artifact, out: Path, folds: int) -> tuple[int, int]:
    """Pairs that a head which has not seen them orders as people did, over the folds; and how many there are."""
    config = replace(load_learn_config(HERE / "learn.toml"), cache=vectors_folder())
    right = asked = 0
    for fold in range(folds):
        own = replace(config, data=out / "data" / f"train_{fold}.jsonl")
        head = first if fold == 0 else learn(own, spec.features["Emb"], Run(config.seed))
        good, of = counted(head, out / "data" / f"held_out_{fold}.parquet")
        right, asked = right + good, asked + of
    return right, asked


def counted(head: Artifact, table: Path) -> tuple[int, int]:
    rows = pq.read_table(table)
    scores = [head.score({"e": np.array(rows.column(f"{side}.e").to_pylist())}) for side in ("better", "worse")]
    return int((scores[0] > scores[1]).sum()), rows.num_rows


def shorter_wins(data: Path) -> float:
    """The share of pairs in which the better answer has fewer characters; equal ones count half."""
    lengths = [np.array([len(d.reply) for d in side]) for side in read_pairs(open_source(data))]
    return float(((lengths[0] < lengths[1]) + 0.5 * (lengths[0] == lengths[1])).mean())


def interval(right: int, asked: int) -> tuple[float, float]:
    """Wilson's, 95 %."""
    z, share = 1.959964, right / asked
    middle = (share + z * z / (2 * asked)) / (1 + z * z / asked)
    half = z * np.sqrt(share * (1 - share) / asked + z * z / (4 * asked * asked)) / (1 + z * z / asked)
    return float(middle - half), float(middle + half)


# ── telling ────────────────────────────────────────────────────────────────────────────────────
def verdicts(result: VerificationResult) -> dict[str, str]:
    return {rule.rule: rule.verdict.value for rule in result.rules}


def found_text(result: rw.api.Verification, rule: str) -> dict[str, str] | None:
    """A text that breaks the rule, and how it was made."""
    note = result.texts.get(rule)
    found = None if note is None else note.searched.found
    return None if found is None else {"text": found.text, "how": found.how, "data": found.data, "row": str(found.row)}


def show(when: str, result: rw.api.Verification) -> None:
    from rewarden.output import result_lines

    print(f"\n{when} the edit")
    print("\n".join(result_lines(result)) + "\n")


if __name__ == "__main__":
    sys.exit(main())
