"""Saving and loading: one name, both forms, all or nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from rewarden.reward import lineage
from rewarden.reward.artifact import Artifact, DataSource, Edit, Learner, RewardRecord
from rewarden.reward.deployed import forward
from rewarden.reward.graph import AffineMap, Graph, Input, Relu
from rewarden.reward.lineage import Step, history, line_of, steps_of
from rewarden.reward.store import MANIFEST, TENSORS, load_artifact, save_artifact, zip_bytes
from rewarden.spec_lang.canonical import digest_of
from rewarden.spec_lang.errors import ArtifactError
from rewarden.spec_lang.features import Feature, RecordType
from tests.reference.random_graphs import MIXED, random_artifact, random_rows, seeds


def small(weight: float = 1.5) -> Artifact:
    record = RecordType("Step", (Feature("speed", "real", Fraction(0), Fraction(5, 2), "m/s"),))
    tensors = {"w": np.array([[weight]], dtype=np.float32), "b": np.array([-0.25], dtype=np.float32)}
    graph = Graph((Input(), AffineMap(0, "w", "b"), Relu(1)), 2)
    learner = Learner("bradley-terry", {"epochs": "3"}, 7, {"accuracy": "0.9"})
    data = (DataSource("pairs", "sha256:" + "0" * 64, "sha256:" + "1" * 64, 12),)
    return Artifact((RewardRecord("s", record),), graph, tensors, "shift", learner=learner, data=data)


def code_of(call, *args, **kwargs) -> str:
    with pytest.raises(ArtifactError) as caught:
        call(*args, **kwargs)
    return caught.value.code


@pytest.mark.parametrize("name", ["reward", "reward.rwz", "deep/er/reward"])
def test_round_trip(tmp_path, name):
    artifact = small()
    place = save_artifact(artifact, tmp_path / name)
    loaded = load_artifact(place)
    assert loaded.digest == artifact.digest
    assert (loaded.records, loaded.graph, loaded.learner, loaded.data) == (
        artifact.records,
        artifact.graph,
        artifact.learner,
        artifact.data,
    )
    assert (loaded.identified, loaded.parent, loaded.edit) == ("shift", None, None)
    assert {k: v.tobytes() for k, v in loaded.tensors.items()} == {k: v.tobytes() for k, v in artifact.tensors.items()}
    assert sorted(p.name for p in place.parent.iterdir()) == [place.name]


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_round_trip_of_random_artifacts(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("random")
    artifact = random_artifact(rng, (MIXED, MIXED), patches=int(rng.integers(0, 3)))
    loaded = load_artifact(save_artifact(artifact, folder / "a"))
    zipped = load_artifact(save_artifact(artifact, folder / "a.rwz"))
    assert loaded.digest == zipped.digest == artifact.digest
    x = random_rows(rng, (MIXED, MIXED), 5).astype(np.float32)
    assert forward(loaded, x).tobytes() == forward(artifact, x).tobytes()


def test_the_name_is_a_function_of_the_content_alone():
    # Pinned: if it changes, every artifact out there has lost its name, and format_version must go up.
    assert small().digest == "sha256:1272cc79673f022833e2a63285296367c5723212e6f34f5455c83ed2895602ae"
    assert small(1.25).digest != small().digest
    assert zip_bytes(small()) == zip_bytes(small())
    backwards = replace(small(), tensors=dict(reversed(list(small().tensors.items()))))
    assert backwards.digest == small().digest
    assert small().digest == digest_of(small().manifest_bytes)
    assert digest_of(small().tensors_bytes) in small().manifest_bytes.decode()


def test_tensors_are_out_of_reach():
    weights = np.array([[1.5]], dtype=np.float32)
    artifact = replace(small(), tensors={**small().tensors, "w": weights})
    weights[0, 0] = 9.0
    assert artifact.tensors["w"][0, 0] == 1.5
    with pytest.raises(ValueError):
        artifact.tensors["w"][0, 0] = 2.0
    with pytest.raises(TypeError):
        artifact.tensors["w"] = weights


def test_saving_again_changes_nothing_and_another_is_refused(tmp_path):
    for name in ("r", "r.rwz"):
        place = save_artifact(small(), tmp_path / name)
        before = os.stat(place).st_ino
        save_artifact(small(), place)
        assert os.stat(place).st_ino == before
        assert code_of(save_artifact, small(2.0), place) == "A21"
        assert load_artifact(place).digest == small().digest
        save_artifact(small(2.0), place, overwrite=True)
        assert load_artifact(place).digest == small(2.0).digest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r", "r.rwz"]


def test_other_things_in_the_way_are_never_replaced(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("years of work")
    assert code_of(save_artifact, small(), tmp_path / "notes", overwrite=True) == "A22"
    place = save_artifact(small(), tmp_path / "r")
    (place / "thesis.txt").write_text("years of work")
    assert code_of(save_artifact, small(2.0), place, overwrite=True) == "A22"
    (tmp_path / "plain.rwz").write_text("not a zip")
    assert code_of(save_artifact, small(), tmp_path / "plain.rwz", overwrite=True) == "A22"
    (tmp_path / "file").write_text("a file where a folder should go")
    assert code_of(save_artifact, small(), tmp_path / "file" / "r") == "A23"
    assert (place / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    (tmp_path / "r").mkdir()
    assert load_artifact(save_artifact(small(), tmp_path / "r")).digest == small().digest


@pytest.mark.parametrize("name", ["r", "r.rwz"])
@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("failure", [OSError("no space left"), KeyboardInterrupt()])
def test_a_save_that_fails_before_its_rename_leaves_nothing(tmp_path, monkeypatch, name, exists, failure):
    if exists:
        save_artifact(small(), tmp_path / name)

    def fail(*args):
        raise failure

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", fail)
        patched.setattr(Path, "replace", fail)
        with pytest.raises((ArtifactError, KeyboardInterrupt)):
            save_artifact(small(2.0), tmp_path / name, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ([name] if exists else [])
    if exists:
        assert load_artifact(tmp_path / name).digest == small().digest


def test_a_killed_replacement_puts_the_old_one_back(tmp_path, monkeypatch):
    place = save_artifact(small(), tmp_path / "r")
    rename, calls = Path.rename, []

    def second_fails(self, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(KeyboardInterrupt):
        save_artifact(small(2.0), place, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["r"]
    assert load_artifact(place).digest == small().digest


DIES = """
import os, signal, sys
from pathlib import Path
from rewarden.reward.store import load_artifact, save_artifact
artifact = load_artifact(sys.argv[1])
Path.rename = Path.replace = lambda self, target: os.kill(os.getpid(), signal.SIGKILL)
save_artifact(artifact, sys.argv[2])
"""


def test_a_process_killed_before_its_rename_leaves_no_artifact(tmp_path):
    source = save_artifact(small(), tmp_path / "source.rwz")
    place = tmp_path / "out" / "r"
    assert subprocess.run([sys.executable, "-c", DIES, source, place]).returncode == -signal.SIGKILL
    assert code_of(load_artifact, place) == "A01"
    child = small().child(Edit("weights", "slow", {}), tensors={"w": np.array([[2]], dtype=np.float32)})
    assert line_of(child, [place.parent])[1].artifact is None  # the temporary sibling is not mistaken for an artifact
    assert load_artifact(save_artifact(small(), place)).digest == small().digest


def test_a_zip_holds_just_the_two_files(tmp_path):
    place = save_artifact(small(), tmp_path / "r.rwz")
    with zipfile.ZipFile(place) as archive:
        assert archive.namelist() == [MANIFEST, TENSORS]
        archive.extractall(tmp_path / "r")
    assert load_artifact(tmp_path / "r").digest == small().digest


def test_an_artifact_without_tensors(tmp_path):
    artifact = replace(small(), graph=Graph((Input(), Relu(0)), 1), tensors={})
    assert load_artifact(save_artifact(artifact, tmp_path / "r")).digest == artifact.digest


def test_history_goes_from_child_to_parent(tmp_path):
    first = small()
    second = first.child(
        Edit("weights", "slow", {"locality": "none"}), tensors={"w": np.array([[2]], dtype=np.float32)}
    )
    third = second.child(Edit("weights", "slower", {}), tensors={"w": np.array([[3]], dtype=np.float32)})
    for name, artifact in (("a", first), ("c.rwz", third)):
        save_artifact(artifact, tmp_path / name)
    (tmp_path / "broken.rwz").write_text("?")
    assert [e.digest for e in history(third, [first, second])] == [third.digest, second.digest, first.digest]
    assert [e.artifact for e in line_of(third, [tmp_path])][1:] == [None]
    save_artifact(second, tmp_path / "b")
    assert [e.digest for e in line_of(third, [tmp_path])] == [third.digest, second.digest, first.digest]
    assert history(first)[0].artifact is first


def test_of_a_folder_only_the_line_is_loaded(tmp_path, monkeypatch):
    line = [small()]
    for k in range(4):
        line.append(line[-1].child(Edit("weights", f"r{k}", {}), tensors={"w": np.array([[k + 5]], dtype=np.float32)}))
    for k, artifact in enumerate(line):
        save_artifact(artifact, tmp_path / f"r{k}")
    save_artifact(small(9.0), tmp_path / "another")
    save_artifact(line[1], tmp_path / "a damaged copy")
    (tmp_path / "a damaged copy" / TENSORS).write_bytes(b"")
    loaded = []
    monkeypatch.setattr(lineage, "load_artifact", lambda path: loaded.append(path.name) or load_artifact(path))
    found = line_of(line[4], [tmp_path, tmp_path / "nowhere"])
    assert [entry.digest for entry in found] == [artifact.digest for artifact in reversed(line)]
    assert all(entry.artifact is not None for entry in found)
    assert loaded == ["r3", "r2", "a damaged copy", "r1", "r0"]
    loaded.clear()
    steps = list(steps_of(line[4], [tmp_path]))
    assert steps == [Step.of(artifact) for artifact in reversed(line)]
    assert loaded == []
    (tmp_path / "r1" / MANIFEST).write_bytes(b"{}")
    (tmp_path / "a damaged copy" / MANIFEST).unlink()
    assert [step.known for step in steps_of(line[4], [tmp_path])] == [True, True, True, False]
    save_artifact(line[1], tmp_path / "once more")
    assert len(line_of(line[4], [tmp_path], 2)) == 2
    assert loaded == ["r3"]
