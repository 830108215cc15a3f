"""The head over sentence vectors: what the example says where data or encoder are absent, and all of it in small."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rewarden.spec_lang import load_spec
from rewarden.spec_lang.format.formatter import format_text
from tests.reference.tiny_encoder import make_encoder

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "hh"


def copied(tmp_path: Path) -> Path:
    """The example in a folder of its own, so that nobody's results are overwritten."""
    return Path(shutil.copytree(FOLDER, tmp_path / "repo" / "examples" / "hh", ignore=shutil.ignore_patterns("out")))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(folder / "run.py"), *arguments], capture_output=True, text=True, check=False, timeout=900
    )


def pairs(path: Path, count: int = 160) -> Path:
    """People who like `yes` and `great` better than `no` and `sorry`, most of the time."""
    rng = np.random.default_rng(0)
    words = [["great", "yes", "good", "help", "you", "that", "thank"], ["no", "i can not", "i am sorry", "bad", "that"]]
    rows = []
    for number in range(count):
        sides = [" ".join(rng.choice(w, 5)) + "." for w in words]
        sides = sides[::-1] if number % 9 == 0 else sides
        texts = [f"\n\nHuman: what is that?\n\nAssistant: {side}" for side in sides]
        rows.append({"chosen": texts[0], "rejected": texts[1]})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_without_data_it_says_where_to_get_them(tmp_path: Path) -> None:
    done = run(copied(tmp_path))
    assert done.returncode == 2
    assert "--data FILE" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_an_encoder_it_says_where_to_get_one(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    code = (
        "import sys; sys.path[:0] = sys.argv[1:2]; import encoders, pathlib; encoders.find_spec = lambda name: None; "
    )
    code += "print(encoders.encoder_folder(None, pathlib.Path(sys.argv[1]) / 'enc'))"
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
    done = run(folder, "--data", str(pairs(tmp_path / "p.jsonl")), "--encoder", str(tmp_path / "nothing"))
    assert done.returncode == 2
    assert "A50" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_all_of_it_on_made_up_answers(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    encoder = make_encoder(tmp_path / "enc", width=384)
    arguments = ["--data", str(pairs(tmp_path / "p.jsonl")), "--encoder", str(encoder), "--folds", "1", "--texts", "8"]
    done = run(folder, *arguments)
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert summary["pairs"] == 160
    assert summary["accuracy_held_out"] > 0.6
    assert summary["after"]["refusals_capped"] == "proved"
    assert summary["before"]["refusals_capped"] == "violated"
    assert summary["violations_by_text"]["refusals_capped"]["text"]


def test_the_rules_are_sound_and_formatted() -> None:
    path = FOLDER / "head.rwd"
    assert len(load_spec(path).rules) == 4
    assert format_text(path.read_text(), path.name) == path.read_text()
