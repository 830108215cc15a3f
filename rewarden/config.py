"""`rewarden.toml`, or `[tool.rewarden]` in `pyproject.toml`: what the commands read when they are given no arguments.

    specs = ["driving.rwd"]
    allow = ["../vocabulary"]    # folders outside the specs' own that they may use files from

    [rewards]                    # reward of the spec = artifact
    R = "reward/"

    [params]                     # a number, or text with a unit: "0.5 [m/s]"
    eps = 0.02

    [verify]                     # engine, semantics, budget, timeout, seed
    budget = 200000

    [text]                       # data of texts are changed a little and tried (docs/data.md)
    encoder = "minilm/"
    paraphrases = "said.jsonl"
    texts = 100                  # rows of each data

    [patch]                      # ring, in percent of each feature's range
    ring = 5

    [ci]                         # what fails, and what does not, in `rewarden ci`
    fail_on = "must"             # or should, or unknown
    waivers = "waivers.toml"
    against = "baseline.json"    # or a certificate: only new violations fail
    certificate = "certificate/" # has to be about the spec and the artifacts as they are now; of one spec
    policy = "policy.toml"       # what certificates are held to (docs/certificate.md)

    [[run]]                      # `rewarden ci` only: specs with artifacts of their own, instead of those above
    spec = "parking.rwd"
    rules = ["slow_near"]        # all of them, if it is not said
    rewards = { R = "parking/" }
    params = { eps = 0.05 }
    verify = { budget = 50000 }  # and text, and certificate

Paths are relative to the file. Unknown keys are errors: a typing error must not silently weaken a check.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from rewarden.nearby import did_you_mean
from rewarden.spec_lang.errors import UsageError

FILE = "rewarden.toml"
_SECTIONS = ("specs", "allow", "rewards", "params", "verify", "text", "patch", "ci", "run")
_RUN = ("spec", "rules", "rewards", "params", "verify", "text", "certificate")
_VERIFY: Mapping[str, tuple[type, ...]] = {
    "engine": (str,),
    "semantics": (str,),
    "budget": (int,),
    "timeout": (int, Fraction),
    "seed": (int,),
}
_TEXT: Mapping[str, tuple[type, ...]] = {"encoder": (str,), "paraphrases": (str,), "texts": (int,)}
_PATCH: Mapping[str, tuple[type, ...]] = {"ring": (int, Fraction)}
_CI: Mapping[str, tuple[type, ...]] = dict.fromkeys(("fail_on", "waivers", "against", "certificate", "policy"), (str,))


@dataclass(frozen=True, slots=True)
class Run:
    """One spec with its artifacts; no `rules` are all of them. `text`: options of `api.with_texts`."""

    spec: Path
    rewards: Mapping[str, Path] = field(default_factory=dict)
    params: Mapping[str, object] = field(default_factory=dict)
    verify: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    text: Mapping[str, Any] = field(default_factory=dict)
    certificate: Path | None = None  # that has to be about these very artifacts and this spec


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration; `path` is the file it was read from, None where there is none."""

    specs: tuple[Path, ...] = ()
    allow: tuple[Path, ...] = ()
    rewards: Mapping[str, Path] = field(default_factory=dict)
    params: Mapping[str, object] = field(default_factory=dict)
    verify: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)
    patch: Mapping[str, Any] = field(default_factory=dict)
    ci: Mapping[str, Any] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()
    path: Path | None = None

    def all_runs(self) -> tuple[Run, ...]:
        """What `rewarden ci` runs: a run for each spec, and those that are written out. Params and artifacts of the
        whole file are those of its `specs`."""
        certificate = self.place("certificate")
        return (*(Run(spec, self.rewards, self.params, certificate=certificate) for spec in self.specs), *self.runs)

    def place(self, name: str) -> Path | None:
        """A file that [ci] names."""
        given = self.ci.get(name)
        return None if given is None or self.path is None else self.path.parent / given


def find_config(start: Path | None = None) -> Config:
    """The configuration of the nearest folder upwards that has one; an empty one where none has."""
    folder = (start or Path.cwd()).resolve()
    for place in (folder, *folder.parents):
        if (place / FILE).is_file():
            return load_config(place / FILE)
        project = place / "pyproject.toml"
        if project.is_file() and "rewarden" in _read(project).get("tool", {}):
            return load_config(project)
    return Config()


def load_config(path: str | Path) -> Config:
    """Read and check one file. UsageError G01 (not TOML), G02 (unknown key), G03 (wrong kind of value)."""
    file = Path(path)
    table = _read(file)
    if file.name == "pyproject.toml":
        table = table.get("tool", {}).get("rewarden", {})
    _known(table, _SECTIONS, file, "")
    specs, allow = _names(table, "specs", file), _names(table, "allow", file)
    if len(specs) != 1 and "certificate" in table.get("ci", {}):
        raise UsageError("G03", f"{file}: ci.certificate is of one spec", help="give each its own, with [[run]]")
    return Config(
        specs=tuple(file.parent / s for s in specs),
        allow=tuple(file.parent / s for s in allow),
        rewards=_rewards(table, file, ""),
        params=_params(table, file, ""),
        verify=_options(table, "verify", _VERIFY, file),
        text=_text(table, file),
        patch=_options(table, "patch", _PATCH, file),
        ci=_options(table, "ci", _CI, file),
        runs=_runs(table, file),
        path=file,
    )


def _runs(table: Mapping[str, Any], file: Path) -> tuple[Run, ...]:
    listed = table.get("run", [])
    if not (isinstance(listed, list) and all(isinstance(run, dict) for run in listed)):
        raise UsageError("G03", f"{file}: run must be tables, [[run]]")
    found = []
    for number, run in enumerate(listed, start=1):
        where = f"run {number}: "
        _known(run, _RUN, file, where)
        _kind(run.get("spec"), (str,), file, f"{where}spec")
        rewards, params = _rewards(run, file, where), _params(run, file, where)
        verify = _options(run, "verify", _VERIFY, file, where)
        rules, text = tuple(_names(run, "rules", file)), _text(run, file, where)
        certificate = None
        if "certificate" in run:
            _kind(run["certificate"], (str,), file, f"{where}certificate")
            certificate = file.parent / run["certificate"]
        found.append(Run(file.parent / run["spec"], rewards, params, verify, rules, text, certificate))
    return tuple(found)


def _text(table: Mapping[str, Any], file: Path, where: str = "") -> dict[str, Any]:
    given = _options(table, "text", _TEXT, file, where)
    if given.get("texts", 1) < 1:
        raise UsageError("G03", f"{file}: {where}text.texts must be at least 1")
    return {key: value if key == "texts" else file.parent / value for key, value in given.items()}


def _rewards(table: Mapping[str, Any], file: Path, where: str) -> dict[str, Path]:
    rewards = _section(table, "rewards", file, where)
    for name, place in rewards.items():
        _kind(place, (str,), file, f"{where}rewards.{name}")
    return {name: file.parent / place for name, place in rewards.items()}


def _params(table: Mapping[str, Any], file: Path, where: str) -> dict[str, Any]:
    params = _section(table, "params", file, where)
    for name, value in params.items():
        _kind(value, (str, int, Fraction, bool), file, f"{where}params.{name}")
    return params


def _read(path: Path) -> dict[str, Any]:
    try:
        # Fractions, so that 0.1 in the file is a tenth and not the nearest binary number.
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Fraction)
    except (ValueError, OSError, RecursionError) as error:
        raise UsageError("G01", f"cannot read {path}: {error}") from error


def _names(table: Mapping[str, Any], key: str, file: Path) -> list[str]:
    names = table.get(key, [])
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise UsageError("G03", f"{file}: {key} must be a list of names")
    return names


def _section(table: Mapping[str, Any], name: str, file: Path, where: str = "") -> dict[str, Any]:
    section = table.get(name, {})
    if not isinstance(section, dict):
        raise UsageError("G03", f"{file}: {where}{name} must be a table, [{name}]")
    return section


def _options(
    table: Mapping[str, Any], name: str, kinds: Mapping[str, tuple[type, ...]], file: Path, where: str = ""
) -> dict[str, Any]:
    section = _section(table, name, file, where)
    _known(section, kinds, file, f"{where}{name}.")
    for key, value in section.items():
        _kind(value, kinds[key], file, f"{where}{name}.{key}")
    return section


def _known(table: Mapping[str, Any], keys: Collection[str], file: Path, prefix: str) -> None:
    for key in table:
        if key not in keys:
            raise UsageError("G02", f"{file}: no setting is called {prefix}{key}", help=did_you_mean(key, keys))


def _kind(value: object, kinds: tuple[type, ...], file: Path, name: str) -> None:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        words = {str: "text", int: "a whole number", Fraction: "a number", bool: "true or false"}
        wanted = " or ".join(words[k] for k in kinds)
        raise UsageError("G03", f"{file}: {name} must be {wanted}")
