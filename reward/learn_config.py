"""The config of `rewarden learn`: a TOML file that says from which data, of which features, by which learner.

    [data]
    demonstrations = "data/demos.parquet"      # learner "autoencoders"
    # preferences = "data/preferences.parquet" # learner "preferences"

    [features]
    spec = "driving.rwd"                       # the spec that declares the record type
    type = "Step"                              # needless where it declares one only
    param = "s"                                # the reward's parameter; "s" if left out

    [learner]
    name = "autoencoders"
    seed = 7                                   # 0 if left out

    [learner.options]                          # AutoencoderOptions or PreferenceOptions, by field
    experts = 4

Paths are relative to the config. A key that is not known is an error, never ignored: a misspelt option that silently
keeps its default is a result that nobody can reproduce. Reading the spec is the caller's: this room is given the type.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path

from rewarden.reward.artifact import Artifact
from rewarden.reward.learner import AutoencoderOptions, Penalty, PreferenceOptions, Progress, silent
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import RecordType

Options = AutoencoderOptions | PreferenceOptions
DATA_OF = {"autoencoders": "demonstrations", "preferences": "preferences"}
OPTIONS_OF: Mapping[str, type[AutoencoderOptions] | type[PreferenceOptions]] = {
    "autoencoders": AutoencoderOptions,
    "preferences": PreferenceOptions,
}
MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LearnConfig:
    """A checked config; paths are absolute or relative to the working directory."""

    data: Path
    spec: Path
    type_name: str | None
    param: str
    learner: str
    seed: int
    options: Options


def load_learn_config(path: str | Path) -> LearnConfig:
    """Raises UsageError: G10 (unreadable), G11 (unknown key), G12 (a value that makes no sense), G13 (missing key)."""
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise UsageError(
            "G10", f"{path}: cannot be read: {error.strerror or error}", help="name a learn config"
        ) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError("G10", f"{path} is not TOML: {error}", help="see the example in the documentation") from None
    return parse_learn_config(content, path.parent)


def parse_learn_config(content: Mapping[str, object], base: Path) -> LearnConfig:
    """The config of parsed TOML; its paths are relative to `base`."""
    _known(content, "the config", ("data", "features", "learner"))
    data, features, learner = (_section(content, name) for name in ("data", "features", "learner"))
    _known(data, "[data]", tuple(DATA_OF.values()))
    _known(features, "[features]", ("spec", "type", "param"))
    _known(learner, "[learner]", ("name", "seed", "options"))
    name = _text(learner, "[learner]", "name")
    if name not in OPTIONS_OF:
        raise _unknown(name, f"no learner is called {name!r}", tuple(OPTIONS_OF))
    wanted = DATA_OF[name]
    if wanted not in data:
        raise UsageError(
            "G13", f"the learner {name!r} needs {wanted} in [data]", help=f'write {wanted} = "FILE" under [data]'
        )
    if len(data) > 1:
        other = next(key for key in data if key != wanted)
        raise UsageError("G12", f"the learner {name!r} does not learn from {other}", help=f"drop {other} from [data]")
    return LearnConfig(
        data=base / _text(data, "[data]", wanted),
        spec=base / _text(features, "[features]", "spec"),
        type_name=_text(features, "[features]", "type") if "type" in features else None,
        param=_text(features, "[features]", "param") if "param" in features else "s",
        learner=name,
        seed=_seed(learner.get("seed", 0)),
        options=_options(name, learner.get("options", {})),
    )


def learn(
    config: LearnConfig,
    record_type: RecordType,
    *,
    seed: int | None = None,
    progress: Progress = silent,
    penalty: Penalty | None = None,
) -> Artifact:
    """Read the data and learn. `seed` overrides the config's. Raises DataError (D codes)."""
    from rewarden.reward.autoencoders import Autoencoders  # torch is loaded here, not when a config is read
    from rewarden.reward.preferences import Preferences
    from rewarden.reward.segments import read_comparisons, read_demonstrations

    chosen = config.seed if seed is None else _seed(seed)
    match config.options:
        case AutoencoderOptions() as options:
            demos = read_demonstrations(config.data, record_type, config.param)
            return Autoencoders().fit(demos, options, seed=chosen, progress=progress, penalty=penalty)
        case PreferenceOptions() as preference_options:
            pairs = read_comparisons(config.data, record_type, config.param)
            return Preferences().fit(pairs, preference_options, seed=chosen, progress=progress, penalty=penalty)


# ── checking ───────────────────────────────────────────────────────────────────────────────────
def _section(content: Mapping[str, object], name: str) -> Mapping[str, object]:
    section = content.get(name)
    if section is None:
        raise UsageError("G13", f"the config has no [{name}]", help="a config has [data], [features] and [learner]")
    if not isinstance(section, Mapping):
        raise UsageError("G12", f"{name} is not a section", help=f"write [{name}] on a line of its own")
    return section


def _known(section: Mapping[str, object], where: str, names: tuple[str, ...]) -> None:
    for key in section:
        if key not in names:
            raise _unknown(key, f"{where} has no key {key!r}", names)


def _unknown(given: str, message: str, names: tuple[str, ...]) -> UsageError:
    close = get_close_matches(given, names, n=1)
    listed = ", ".join(names)
    return UsageError("G11", message, help=f"did you mean {close[0]}?" if close else f"there are: {listed}")


def _text(section: Mapping[str, object], where: str, key: str) -> str:
    if key not in section:
        raise UsageError("G13", f"{where} lacks {key}", help=f'write {key} = "…" under {where}')
    value = section[key]
    if not isinstance(value, str) or not value:
        raise UsageError("G12", f"{where}: {key} is {value!r}, not text", help=f'write {key} = "…"')
    return value


def _seed(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SEED:
        raise UsageError("G12", f"seed = {value!r} is not a seed", help=f"give a whole number from 0 to {MAX_SEED}")
    return value


def _options(name: str, given: object) -> Options:
    """Defaults, with what is given; the options check their own values."""
    usual = OPTIONS_OF[name]()
    if not isinstance(given, Mapping):
        raise UsageError("G12", "options is not a section", help="write [learner.options] on a line of its own")
    _known(given, "[learner.options]", tuple(field.name for field in fields(usual)))
    chosen: dict[str, object] = {}
    for key, value in given.items():
        kind = type(getattr(usual, key))
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not kind:
            sort = {int: "a whole number", float: "a number", str: "text"}[kind]
            raise UsageError("G12", f"{key} = {value!r} is not {sort}", help=f"its default is {getattr(usual, key)!r}")
        chosen[key] = value
    return replace(usual, **chosen)  # type: ignore[arg-type]
