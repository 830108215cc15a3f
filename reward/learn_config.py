"""The config of `rewarden learn`: a TOML file that says from which data, of which features, by which learner.

    [data]
    demonstrations = "data/demos.parquet"      # or preferences, rankings, labels, statements: what the learner takes
    # artifact = "reward"                      # learners "update" and "corrections": the reward to change

    [data.columns]                             # feature = column, where they are not called the same (data/mapping.py)
    gap = "obs[0]"

    [text]                                     # where the data are texts (text/embedding.py)
    encoder = "minilm"

    [features]
    spec = "driving.rwd"                       # the spec that declares the record type
    type = "Step"                              # needless where it declares one only
    param = "s"                                # the reward's parameter; "s" if left out

    [learner]
    name = "autoencoders"
    seed = 7                                   # 0 if left out

    [learner.options]                          # by field, see learners/options.py
    experts = 4

    [learner.ensemble]                         # several of them as one
    members = 5
    combine = "mean"

    [learner.shards]                           # so that rows can be forgotten (`rewarden unlearn`); no ensemble then
    shards = 16
    slices = 4

    [constraints]                              # rules of the spec that join the loss
    reward = "R"
    rules = ["slow_near_people"]
    weights = { slow_near_people = 2.0 }

Paths are relative to the config. A key that is not known is an error, never ignored: a misspelt option that silently
keeps its default is a result that nobody can reproduce. Reading the spec is the caller's: this room is given the type.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from rewarden.reward.artifact import Artifact
from rewarden.reward.learners.interface import Comparisons, Learner, Progress, Revision, Run, silent
from rewarden.reward.learners.options import ConstraintOptions, EnsembleOptions, Options, ShardOptions
from rewarden.reward.learners.registry import REGISTRY, SOURCES, Source
from rewarden.spec_lang.errors import UsageError
from rewarden.spec_lang.features import RecordType

if TYPE_CHECKING:
    from rewarden.reward.text.embedding import TextOptions
    from rewarden.spec_lang.tables import Source as Columns

MAX_SEED = 2**63 - 1
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LearnConfig:
    """A checked config; paths are absolute or relative to the working directory."""

    source: Source
    data: Path
    artifact: Path | None
    spec: Path
    type_name: str | None
    param: str
    learner: str
    seed: int
    options: Options
    ensemble: EnsembleOptions | None = None
    constraints: ConstraintOptions | None = None
    shards: ShardOptions | None = None
    columns: tuple[tuple[str, str], ...] = ()
    text: TextOptions | None = None
    cache: Path | None = None  # where vectors of texts are kept


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
    _known(content, "the config", ("data", "text", "features", "learner", "constraints"))
    data, features, learner = (_section(content, name) for name in ("data", "features", "learner"))
    _known(data, "[data]", (*SOURCES, "artifact", "columns"))
    _known(features, "[features]", ("spec", "type", "param"))
    _known(learner, "[learner]", ("name", "seed", "options", "ensemble", "shards"))
    name = _text(learner, "[learner]", "name")
    if name not in REGISTRY:
        raise _unknown(name, f"no learner is called {name!r}", tuple(REGISTRY))
    entry = REGISTRY[name]
    source = _source(name, data)
    ensemble = constraints = shards = None
    if "ensemble" in learner:
        ensemble = _fields(EnsembleOptions(), learner["ensemble"], "[learner.ensemble]")
    if "shards" in learner:
        shards = _fields(ShardOptions(), learner["shards"], "[learner.shards]")
        if ensemble is not None or entry.revises:
            raise UsageError(
                "G12", "shards are a mean of rewards already, each of data of its own", help="drop one of them"
            )
    if "constraints" in content:
        constraints = _fields(ConstraintOptions(), content["constraints"], "[constraints]")
    if name == "corrections" and ensemble:
        raise UsageError("G12", "corrections are made once, as they are stated", help="drop ensemble")
    return LearnConfig(
        source=source,
        data=base / _text(data, "[data]", source),
        artifact=base / _text(data, "[data]", "artifact") if entry.revises else None,
        spec=base / _text(features, "[features]", "spec"),
        type_name=_text(features, "[features]", "type") if "type" in features else None,
        param=_text(features, "[features]", "param") if "param" in features else "s",
        learner=name,
        seed=checked_seed(learner.get("seed", 0)),
        options=_fields(entry.options(), learner.get("options", {}), "[learner.options]"),
        ensemble=ensemble,
        constraints=constraints,
        shards=shards,
        columns=tuple(sorted(_texts(data.get("columns", {}), "[data.columns]").items())),
        text=_text_options(content, base),
    )


def learn(config: LearnConfig, record_type: RecordType, run: Run | None = None) -> Artifact:
    """Read the data and learn; `run` brings the seed (the config's, where there is no run) and what is injected.

    Raises DataError (D codes), ArtifactError (A codes), UsageError G12.
    """
    from rewarden.reward import segments  # torch and pyarrow are loaded here, not when a config is read
    from rewarden.reward.store import load_artifact

    entry, given = REGISTRY[config.learner], Run(config.seed) if run is None else run
    learner = learner_of(config)
    data, record = _streamed(config, record_type, given), dict[str, str]()
    if data is None:
        origin, record = opened(config, record_type)
        data = segments.READERS[config.source](origin, record_type, config.param)
    if entry.revises:
        assert isinstance(data, Comparisons)
        assert config.artifact is not None
        data = Revision(load_artifact(config.artifact), data)
    return _with_record(learner.fit(data, config.options, given), record)


def _streamed(config: LearnConfig, record_type: RecordType, run: Run) -> object | None:
    """The data, where they are too large for memory and can be streamed; laid out on the disk that has the output."""
    from rewarden.reward.streamed import read_streamed

    if config.columns or config.text is not None or config.shards is not None:
        return None
    folder = None if run.checkpoints is None else run.checkpoints.folder.parent
    return read_streamed(config.source, config.data, record_type, config.param, folder)


def learner_of(config: LearnConfig) -> Learner[Any, Any]:
    """The learner, wrapped as the config says."""
    learner = REGISTRY[config.learner].learner()
    if config.ensemble is not None:
        from rewarden.reward.learners.ensemble import Ensemble

        return Ensemble(learner, config.ensemble)
    if config.shards is not None:
        from rewarden.reward.learners.shards import Shards

        return Shards(learner, config.shards)
    return learner


def opened(config: LearnConfig, record_type: RecordType, progress: Progress = silent) -> tuple[Columns, dict[str, str]]:
    """The data as columns, and what the training record says of how they came about."""
    from rewarden.reward.data.opening import open_data

    origin = open_data(config.data, record_type, dict(config.columns))
    if config.text is None:
        return origin, {}
    from rewarden.reward.text.cache import Cached
    from rewarden.reward.text.embedding import embedded, views_of
    from rewarden.reward.text.encoder import TextEncoder, load_encoder

    views = views_of(record_type, dict(config.text.features))
    loaded = load_encoder(config.text.encoder, config.text.keep)
    encoder: TextEncoder = loaded if config.cache is None else Cached(loaded, config.cache, progress)
    origin = embedded(origin, record_type, views, encoder)
    parts = ", ".join(f"{name} = {view}" for name, view in sorted(views.items()))
    return origin, {**encoder.record(), "text": parts}


def _with_record(artifact: Artifact, record: Mapping[str, str]) -> Artifact:
    """The artifact, with more in its training record."""
    if not record or artifact.learner is None:
        return artifact
    return replace(artifact, learner=replace(artifact.learner, record={**artifact.learner.record, **record}))


def _text_options(content: Mapping[str, object], base: Path) -> TextOptions | None:
    from rewarden.reward.text.embedding import TextOptions

    if "text" not in content:
        return None
    section = _section(content, "text")
    _known(section, "[text]", ("encoder", "features", "keep"))
    keep = _text(section, "[text]", "keep") if "keep" in section else "end"
    if keep not in ("start", "end"):
        raise UsageError("G12", f"keep = {keep!r}: the start or the end of a long text is kept", help='keep = "end"')
    features = _texts(section.get("features", {}), "[text] features")
    return TextOptions(base / _text(section, "[text]", "encoder"), features, cast(Literal["start", "end"], keep))


def _texts(given: object, where: str) -> dict[str, str]:
    """A table of texts by name."""
    if not isinstance(given, Mapping) or not all(isinstance(value, str) and value for value in given.values()):
        raise UsageError("G12", f"{where} is no table of texts", help='write { gap = "obs[0]" }')
    return dict(given)


def _source(name: str, data: Mapping[str, object]) -> Source:
    """The one key of [data] that the learner reads."""
    entry = REGISTRY[name]
    given = [key for key in entry.sources if key in data]
    if not given:
        wanted = entry.sources[0]
        listed = " or ".join(entry.sources)
        raise UsageError(
            "G13", f"the learner {name!r} needs {listed} in [data]", help=f'write {wanted} = "FILE" under [data]'
        )
    wanted = given[0]
    for key in data:
        if key not in (wanted, "columns") and not (key == "artifact" and entry.revises):
            raise UsageError("G12", f"the learner {name!r} does not learn from {key}", help=f"drop {key} from [data]")
    return wanted


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


def checked_seed(value: object) -> int:
    """Raises UsageError G12 for what is no seed."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SEED:
        raise UsageError("G12", f"seed = {value!r} is not a seed", help=f"give a whole number from 0 to {MAX_SEED}")
    return value


_SORTS = {int: "a whole number", float: "a number", str: "text"}


def _fields(usual: T, given: object, where: str) -> T:
    """Defaults, with what is given; the options check their own values."""
    if not isinstance(given, Mapping):
        short = where.strip("[]").rpartition(".")[2]
        raise UsageError("G12", f"{short} is not a section", help=f"write {where} on a line of its own")
    _known(given, where, tuple(field.name for field in fields(usual)))  # type: ignore[arg-type]
    chosen = {key: _value(key, value, getattr(usual, key)) for key, value in given.items()}
    return replace(usual, **chosen)  # type: ignore[type-var]


def _value(key: str, value: object, usual: object) -> object:
    kind = type(usual)
    if kind is tuple:
        return _several(key, value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise UsageError("G12", f"{key} = {value!r} is not {_SORTS[kind]}", help=f"its default is {usual!r}")
    return value


def _several(key: str, value: object) -> tuple[object, ...]:
    """A table of names (monotone, weights), or a list of names (rules)."""
    if key == "rules":
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise UsageError("G12", f"rules = {value!r} is no list of names", help='write rules = ["…"]')
        return tuple(value)
    kind: tuple[type, ...] = (str,) if key == "monotone" else (int, float)
    if not isinstance(value, Mapping) or not all(
        isinstance(item, kind) and not isinstance(item, bool) for item in value.values()
    ):
        example = '{ gap = "up" }' if key == "monotone" else "{ rule = 2.0 }"
        raise UsageError("G12", f"{key} = {value!r} makes no sense", help=f"write {key} = {example}")
    return tuple((name, item if key == "monotone" else float(item)) for name, item in sorted(value.items()))
