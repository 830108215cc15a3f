"""Spaces to drafts: with classes that only look like Gymnasium's, and with Gymnasium where it is installed."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewarden.cli import run
from rewarden.draft.spaces import from_space, is_space
from rewarden.spec_lang import load_spec
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import Feature
from rewarden.starter import write_starter


class Space:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Box(Space):
    pass


class Discrete(Space):
    pass


class MultiBinary(Space):
    pass


class MultiDiscrete(Space):
    pass


class Dict(Space):
    pass


class Tuple(Space):
    pass


class Text(Space):
    pass


def box(low: object, high: object, dtype: type = np.float32) -> Box:
    low, high = np.asarray(low, dtype), np.asarray(high, dtype)
    return Box(low=low, high=high, dtype=np.dtype(dtype), shape=low.shape)


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    """A module of the user's, `my_spaces`."""
    made = types.ModuleType("my_spaces")
    sys.modules["my_spaces"] = made
    yield made
    del sys.modules["my_spaces"]


def drafted(folder: Path, module: types.ModuleType, space: object) -> tuple[tuple[Feature, ...], str]:
    module.__dict__["space"] = space
    write_starter(folder, "my_spaces:space")
    return load_spec(folder / "space.rwd").features["Step"].features, (folder / "space.rwd").read_text()


def test_a_box_with_equal_ranges_is_a_vector(tmp_path: Path, module: types.ModuleType) -> None:
    (feature,), text = drafted(tmp_path, module, box(np.full((2, 3), -1), np.full((2, 3), 2.5)))
    assert (feature.size, feature.lo, feature.hi) == (6, -1, 2.5)
    assert "shape [2, 3]" in text


def test_a_box_with_other_ranges_is_a_feature_each(tmp_path: Path, module: types.ModuleType) -> None:
    features, text = drafted(tmp_path, module, box([-4.8, -np.inf, 0, -0.41887903], [4.8, np.inf, np.inf, 0.41887903]))
    ranges = [(float(f.lo), float(f.hi)) for f in features]
    assert ranges == [(-4.8, 4.8), (-10, 10), (0, 10), (-0.42, 0.42)]
    assert text.count("REVIEW: unbounded in the space") == 2


def test_the_largest_binary32_number_is_no_bound(tmp_path: Path, module: types.ModuleType) -> None:
    largest = np.finfo(np.float32).max
    _, text = drafted(tmp_path, module, box([-largest, 0], [largest, 1]))
    assert text.count("REVIEW: unbounded in the space") == 1


def test_every_kind_of_space(tmp_path: Path, module: types.ModuleType) -> None:
    space = Dict(
        spaces={
            "position": box([0, 0], [5, 9]),
            "near": Discrete(n=3, start=2),
            "lamps": MultiBinary(n=4),
            "dials": MultiDiscrete(nvec=np.array([3, 5])),
            "both": Tuple(spaces=(Discrete(n=2), box([0], [255], np.uint8))),
            "words": Text(),
        }
    )
    features, text = drafted(tmp_path, module, space)
    found = {f.name: (f.kind, f.size, f.lo, f.hi) for f in features}
    assert found == {
        "obs_position_0": ("real", 1, 0, 5),
        "obs_position_1": ("real", 1, 0, 9),
        "obs_near": ("int", 1, 2, 4),
        "obs_lamps": ("int", 4, 0, 1),
        "obs_dials_0": ("int", 1, 0, 2),
        "obs_dials_1": ("int", 1, 0, 4),
        "obs_both_0": ("int", 1, 0, 1),
        "obs_both_1": ("int", 1, 0, 255),
    }
    assert "left out: obs_words: a Text" in text


def test_an_environment_gives_observation_and_action(tmp_path: Path, module: types.ModuleType) -> None:
    environment = Space(observation_space=box([0], [1]), action_space=Discrete(n=2))
    features, _ = drafted(tmp_path, module, environment)
    assert [f.name for f in features] == ["obs", "action"]


def test_keys_that_clash_after_renaming_stay_apart(tmp_path: Path, module: types.ModuleType) -> None:
    space = Dict(spaces={"a b": box([0], [1]), "a-b": box([0], [2])})
    features, _ = drafted(tmp_path, module, space)
    assert [f.name for f in features] == ["obs_a_b", "obs_a_b_2"]


@pytest.mark.parametrize(
    "space, code", [(Text(), "G87"), (3, "G87"), (Dict(spaces={}), "G87"), (box(np.zeros(0), np.zeros(0)), "G87")]
)
def test_what_holds_no_feature(tmp_path: Path, module: types.ModuleType, space: object, code: str) -> None:
    with pytest.raises(UsageError, match=code):
        drafted(tmp_path, module, space)
    assert not any(tmp_path.iterdir())


def test_many_elements_with_ranges_of_their_own_are_left_to_an_encoder(
    tmp_path: Path, module: types.ModuleType
) -> None:
    space = Dict(spaces={"image": box(np.zeros(100), np.arange(1, 101)), "x": box([0], [1])})
    features, text = drafted(tmp_path, module, space)
    assert [f.name for f in features] == ["obs_x"]
    assert "left out: obs_image: 100 numbers" in text


@pytest.mark.parametrize("text", ["no_such_module:space", "json:no_such_name", "gym:NoSuchThing-v0"])
def test_places_that_do_not_exist(text: str) -> None:
    with pytest.raises(UsageError, match="G85"):
        from_space(text)


def test_a_module_in_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_spaces.py").write_text("class Discrete:\n    n = 4\n\nspace = Discrete()\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert run(["init", "--from", "my_own_spaces:space", "-o", "made"]) == 0
    assert sys.path == before
    monkeypatch.delitem(sys.modules, "my_own_spaces")


def test_a_module_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_broken_spaces.py").write_text("raise RuntimeError('no display')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no display"):
        from_space("my_broken_spaces:space")


def test_files_are_no_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_space("gym:CartPole-v1")
    assert is_space("gym:ns/Thing-v0")
    assert not is_space("rows.csv")
    assert not is_space("C:\\data\\rows.csv")


def test_without_gymnasium_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(UsageError, match="G86"):
        from_space("gym:CartPole-v1")


def test_gymnasium_is_not_imported_unless_asked(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom rewarden.starter import write_starter\n"
        f"write_starter(Path({str(tmp_path)!r}), None)\nprint('gymnasium' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "name, width",
    [("CartPole-v1", 5), ("MountainCarContinuous-v0", 3), ("Pendulum-v1", 4), ("Blackjack-v1", 4), ("Acrobot-v1", 7)],
)
def test_real_environments(tmp_path: Path, name: str, width: int) -> None:
    write_starter(tmp_path, f"gym:{name}")
    (place,) = tmp_path.glob("*.rwd")
    assert load_spec(place).features["Step"].width == width
