"""From what a user typed (or wrote in `rewarden.toml`) to a spec, its rewards and its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewarden.config import Config, find_config
from rewarden.nearby import did_you_mean
from rewarden.spec_lang.errors import UsageError

if TYPE_CHECKING:
    from rewarden.editor.patch import PatchOptions
    from rewarden.reward.artifact import Artifact
    from rewarden.spec_lang.spec import Spec
    from rewarden.verifier.options import VerifyOptions


@dataclass(frozen=True, slots=True)
class Bound:
    """A spec with the artifacts of its rewards; `places` says where each came from, `rules` which were asked for."""

    spec: Spec
    spec_path: Path
    rewards: Mapping[str, Artifact]
    places: Mapping[str, Path]
    rules: tuple[str, ...] | None
    config: Config


@dataclass(frozen=True, slots=True)
class Asked:
    """The words of a command line, unresolved."""

    spec: Path | None = None
    rewards: Sequence[str] = ()
    params: Sequence[str] = ()
    rules: Sequence[str] = ()
    allow: Sequence[Path] = ()


def bind(asked: Asked) -> Bound:
    """Load what was asked for. UsageError G71 to G79 for what does not fit together."""
    from rewarden.reward.store import load_artifact

    config = find_config()
    spec, path = load_asked_spec(asked, config)
    places = _places(spec, asked.rewards, config if asked.spec is None else _only_if_same(config, path))
    rewards = {name: load_artifact(place) for name, place in places.items()}
    return Bound(spec, path, rewards, places, _chosen(spec, asked.rules), config)


def load_asked_spec(asked: Asked, config: Config | None = None) -> tuple[Spec, Path]:
    """The spec named on the command line, else the one of the configuration, with its params set."""
    from rewarden.spec_lang import load_spec

    config = find_config() if config is None else config
    path = asked.spec if asked.spec is not None else _one_spec(config)
    own = _only_if_same(config, path)
    params = {**own.params, **params_of(asked.params)}
    return load_spec(path, params=params, allow=(*own.allow, *asked.allow)), path


def params_of(texts: Sequence[str]) -> dict[str, object]:
    """`NAME=VALUE` by name; the spec decides what a value means."""
    params: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError("G70", f"--param {text}: expected NAME=VALUE", help="for example --param eps=0.02")
        params[name.strip()] = value.strip()
    return params


def places_of(texts: Sequence[str]) -> dict[str, Path]:
    """`[NAME=]ARTIFACT` by name; one alone may go without, and stands under "". UsageError G73 to G75."""
    places: dict[str, Path] = {}
    for text in texts:
        name, equals, place = text.rpartition("=")
        if name in places or ("" in places):
            raise UsageError("G73", f"--reward {text}: each reward once, by name", help="--reward NAME=ARTIFACT")
        places[name if equals else ""] = Path(place)
    if not places:
        raise UsageError("G75", "no reward is named", help="--reward [NAME=]ARTIFACT")
    for found in places.values():
        if not found.exists():
            raise UsageError("G74", f"{found}: there is no artifact of this name")
    return places


def all_specs(paths: Sequence[Path]) -> tuple[Path, ...]:
    """The specs named, else all of the configuration."""
    found = tuple(paths) or find_config().specs
    if not found:
        raise UsageError("G71", "no spec is named, here or in rewarden.toml", help="rewarden check driving.rwd")
    return found


def verify_options(config: Config, given: Mapping[str, Any]) -> VerifyOptions:
    """The options of the command line over those of the configuration over the defaults."""
    from rewarden.verifier.options import VerifyOptions

    merged = {**config.verify, **{k: v for k, v in given.items() if v is not None}}
    if "timeout" in merged:
        merged["time_limit"] = float(merged.pop("timeout"))
    return VerifyOptions(**merged)


def patch_options(config: Config, ring: str | None) -> PatchOptions:
    """`ring` in percent, as typed ("5", "2.5 %"). UsageError G77 where it is not a share."""
    from rewarden.editor.patch import PatchOptions

    text = ring if ring is not None else config.patch.get("ring")
    if text is None:
        return PatchOptions()
    try:
        share = Fraction(str(text).strip().removesuffix("%").strip()) / 100
    except (ValueError, ZeroDivisionError):
        raise UsageError("G77", f"a ring of {text!r} is not a percentage", help="for example --ring 5") from None
    if not 0 < share <= 1:
        raise UsageError("G77", f"a ring of {text} % makes no sense", help="give more than 0, and at most 100")
    return PatchOptions(ring=share)


def _one_spec(config: Config) -> Path:
    match config.specs:
        case (path,):
            return path
        case ():
            raise UsageError(
                "G71", "no spec is named, here or in rewarden.toml", help="name one, or start with `rewarden init`"
            )
        case _:
            names = ", ".join(str(p) for p in config.specs)
            raise UsageError("G71", f"{config.path} lists several specs", help=f"name one of {names}")


def _only_if_same(config: Config, spec: Path) -> Config:
    """The configuration's rewards and params are about its own specs, not about any spec that is named."""
    return config if any(_same(spec, own) for own in config.specs) else Config(verify=config.verify, patch=config.patch)


def _same(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve()


def _places(spec: Spec, texts: Sequence[str], config: Config) -> dict[str, Path]:
    named: dict[str, Path] = {}
    unnamed: list[Path] = []
    for text in texts:
        name, equals, place = text.partition("=")
        if not equals:
            unnamed.append(Path(text))
        elif name in named:
            raise UsageError("G73", f"--reward {name} is given twice")
        else:
            named[name] = Path(place)
    places = {name: Path(place) for name, place in (named if texts else config.rewards).items()}
    for name in places:
        if name not in spec.rewards:
            raise UsageError("G72", f"{spec.name} declares no reward {name}", help=did_you_mean(name, spec.rewards))
    for folder in [path for path in unnamed if _holds_rewards(path, spec)]:  # several rewards of one network
        unnamed.remove(folder)
        found = {name: folder / name for name in spec.rewards if (folder / name / "manifest.json").is_file()}
        places |= {name: place for name, place in found.items() if name not in places}
    free = [name for name in spec.rewards if name not in places]
    if len(unnamed) > len(free):
        raise UsageError("G79", f"{spec.name} declares {len(spec.rewards)} rewards; more artifacts than that are given")
    places |= dict(zip(free, unnamed, strict=False))
    if not places:
        raise UsageError("G75", "no reward is named, here or in rewarden.toml", help="--reward ARTIFACT")
    return {name: places[name] for name in spec.rewards if name in places}


def _holds_rewards(path: Path, spec: Spec) -> bool:
    """Whether a folder is no artifact, but holds some that are called as rewards of the spec."""
    if (path / "manifest.json").exists():
        return False
    return any((path / name / "manifest.json").is_file() for name in spec.rewards)


def _chosen(spec: Spec, rules: Sequence[str]) -> tuple[str, ...] | None:
    if not rules:
        return None
    known = [rule.name for rule in spec.rules]
    for name in rules:
        if name not in known:
            raise UsageError("G21", f"{spec.name} has no rule {name}", help=did_you_mean(name, known))
    return tuple(name for name in known if name in rules)
