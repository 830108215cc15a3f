"""The config's newer sections: ensembles, monotone features, constraints, artifacts to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewarden.reward.learn_config import parse_learn_config
from rewarden.reward.learners.options import ConstraintOptions, EnsembleOptions, PreferenceOptions
from rewarden.spec_lang.errors import UsageError


def content(name: str, data: dict[str, object], **learner: object) -> dict[str, object]:
    return {"data": data, "features": {"spec": "s.rwd"}, "learner": {"name": name, **learner}}


def test_ensembles_monotone_features_and_constraints_are_read(tmp_path: Path) -> None:
    given = content(
        "preferences",
        {"rankings": "r.csv"},
        ensemble={"members": 5, "combine": "min"},
        options={"monotone": {"gap": "up", "speed": "down"}, "hidden": 8},
    )
    given["constraints"] = {"reward": "R", "rules": ["a"], "weights": {"a": 2}, "witnesses": 0}
    config = parse_learn_config(given, tmp_path)
    assert config.source == "rankings"
    assert config.data == tmp_path / "r.csv"
    assert config.ensemble == EnsembleOptions(5, "min")
    assert config.options == PreferenceOptions(hidden=8, monotone=(("gap", "up"), ("speed", "down")))
    assert config.constraints == ConstraintOptions("R", ("a",), (("a", 2.0),), witnesses=0)


def test_what_changes_an_artifact_names_it(tmp_path: Path) -> None:
    config = parse_learn_config(content("update", {"artifact": "r", "preferences": "p.csv"}), tmp_path)
    assert config.artifact == tmp_path / "r"
    assert parse_learn_config(content("labels", {"labels": "l.csv"}), tmp_path).artifact is None


@pytest.mark.parametrize(
    "given, code, words",
    [
        (content("update", {"preferences": "p.csv"}), "G13", "lacks artifact"),
        (content("labels", {"labels": "l.csv", "artifact": "r"}), "G12", "does not learn from artifact"),
        (content("update", {"artifact": "r", "preferences": "p", "rankings": "q"}), "G12", "learn from rankings"),
        (content("corrections", {"artifact": "r", "statements": "s"}, ensemble={"members": 3}), "G12", "made once"),
        (content("labels", {"labels": "l"}, options={"monotone": ["gap"]}), "G12", "makes no sense"),
        (content("labels", {"labels": "l"}, options={"monotone": {"gap": 1}}), "G12", "makes no sense"),
        (content("labels", {"labels": "l"}, options={"kind": "cardinal"}), "G12", "no kind of label"),
        (content("labels", {"labels": "l"}, ensemble={"member": 3}), "G11", "no key 'member'"),
        (content("labels", {"labels": "l"}, ensemble={"members": "many"}), "G12", "whole number"),
        (content("labels", {"labels": "l"}) | {"constraints": {"rules": "a"}}, "G12", "no list of names"),
        (content("labels", {"labels": "l"}) | {"constraints": {"weights": {"a": True}}}, "G12", "makes no sense"),
        (content("labels", {"labels": "l"}) | {"constraints": 3}, "G12", "not a section"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, given: dict[str, object], code: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_learn_config(given, tmp_path)
    assert caught.value.code == code
    assert words in caught.value.message
