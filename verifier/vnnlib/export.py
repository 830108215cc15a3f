"""Rules and their rewards as files that other verifiers read, and a manifest that leads their answers back.

For each case of a rule (split.py) one query in VNN-LIB 1.0 and one in 2.0, and as many ONNX networks as it takes, each
written once. All queries of a rule unsatisfiable: no record violates it, and it is proved, unless it is vacuous.
Some query satisfiable: a candidate, since the queries are weaker than the rule by what their headers say; `replay.py`
judges it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from rewarden.reward.artifact import Artifact
from rewarden.reward.onnx_export import State, to_onnx
from rewarden.spec_lang.claim import Claim
from rewarden.spec_lang.claim_json import claim_digest
from rewarden.spec_lang.errors import Unsupported
from rewarden.spec_lang.obligation import Obligation
from rewarden.verifier.bind import bind_obligation
from rewarden.verifier.vnnlib.split import Case, Gate, split
from rewarden.verifier.vnnlib.wiring import Joint, joint_network, joint_of
from rewarden.verifier.vnnlib.wording import affine_text, call_text, functional_text
from rewarden.verifier.vnnlib.writing import (
    JOINT,
    Application,
    apart_version,
    first_version,
    joint_version,
    stands_apart,
)

if TYPE_CHECKING:
    from rewarden.spec_lang import Spec

Put = Callable[[str, bytes], None]  # writes a file, by its path below the export's folder
States = tuple[State, ...]  # of the patches of one reward
FORMAT = "rewarden-vnnlib"


@dataclass(frozen=True, slots=True)
class ClaimExport:
    """What became of one claim; `entry` is its part of the manifest."""

    name: str
    queries: int
    empty: int
    settled: int
    closed: int
    rounded: int
    entry: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Export:
    """`refused` maps a rule that no query can say to the reason."""

    claims: tuple[ClaimExport, ...]
    refused: Mapping[str, str]
    networks: tuple[str, ...]
    manifest: Mapping[str, Any]


def export(spec: Spec, rewards: Mapping[str, Artifact], rules: Sequence[str] | None, put: Put) -> Export:
    """Write the queries of `rules` (all of them, by default) with `put`. Raises what `bind` raises, but for rules that
    are Unsupported: those are refused, each with its reason."""
    networks = Networks(put)
    exported: list[ClaimExport] = []
    refused: dict[str, str] = {}
    for rule in spec.rules:
        if rules is not None and rule.name not in rules:
            continue
        try:
            parts = [(part.case, _claim(spec, part, rewards)) for part in spec.obligations_of(rule.name)]
            exported += [export_claim(claim, rewards, networks, put, case) for case, claim in parts]
        except Unsupported as error:
            refused[rule.name] = error.message
    manifest = {
        "format": FORMAT,
        "format_version": 1,
        "spec": spec.digest,
        "rewards": {name: artifact.digest for name, artifact in sorted(rewards.items())},
        "networks": {name: digest for digest, name in sorted(networks.names.items(), key=lambda item: item[1])},
        "rules": [found.entry for found in exported],
        "refused": refused,
    }
    return Export(tuple(exported), refused, tuple(sorted(networks.names.values())), manifest)


def _claim(spec: Spec, obligation: Obligation, rewards: Mapping[str, Artifact]) -> Claim:
    if obligation.share is not None:
        raise Unsupported("X33", "a share of rows is counted, and no query about single records says that")
    return bind_obligation(spec, obligation, rewards)


@dataclass(slots=True)
class Networks:
    """Mutable: the ONNX files written so far, by digest. Equal networks are one file."""

    put: Put
    names: dict[str, str] = field(default_factory=dict)
    _stems: Counter[str] = field(default_factory=Counter)  # in lower case: so are some file systems

    def name(self, content: bytes, stem: str) -> str:
        digest = f"sha256:{sha256(content).hexdigest()}"
        if digest not in self.names:
            self._stems[stem.lower()] += 1
            number = self._stems[stem.lower()]
            self.names[digest] = f"{stem}.onnx" if number == 1 else f"{stem}-{number}.onnx"
            self.put(self.names[digest], content)
        return self.names[digest]


def export_claim(
    claim: Claim, artifacts: Mapping[str, Artifact], networks: Networks, put: Put, part: str = ""
) -> ClaimExport:
    """Write one claim's queries. Unsupported (X30 to X33) where there are too many, or none could say it."""
    if not claim.calls:
        raise Unsupported("X33", f"{claim.rule} calls no reward, so that there is no network to ask about")
    parts = split(claim, artifacts)
    folder = "-".join([claim.rule, *part.split()])
    sheet = _Sheet(joint_of(claim, parts.cases), artifacts, networks, put, folder, parts.gates)
    cases = [sheet.write(number, len(parts.cases), case) for number, case in enumerate(parts.cases, 1)]
    entry = {
        "rule": claim.rule,
        "part": part,
        "severity": claim.severity,
        "claim": claim_digest(claim),
        "variables": [{"name": v.name, "unit": v.unit, "discrete": v.discrete} for v in claim.variables],
        "extras": [affine_text(claim, row) for row in sheet.joint.extras],
        "calls": [call_text(claim, call) for call in claim.calls],
        "functionals": [functional_text(sheet.joint, functional) for functional in sheet.joint.functionals],
        "instances": claim.instances,
        "empty_cases": parts.empty,
        "settled_cases": parts.settled,
        "cases": cases,
    }
    return ClaimExport(
        name=f"{claim.rule}, {part}" if part else claim.rule,
        queries=len(cases),
        empty=parts.empty,
        settled=parts.settled,
        closed=sum(case["closed"] for case in cases),
        rounded=sum(case["rounded"] for case in cases),
        entry=entry,
    )


@dataclass(slots=True)
class _Sheet:
    """Mutable: one claim on its way out, and the files of networks that it has made."""

    joint: Joint
    artifacts: Mapping[str, Artifact]
    networks: Networks
    put: Put
    folder: str
    gates: Sequence[Gate]
    _files: dict[tuple[str, States], str] = field(default_factory=dict)

    @property
    def claim(self) -> Claim:
        return self.joint.claim

    def write(self, number: int, count: int, case: Case) -> dict[str, Any]:
        """Both versions of one case's query, and its part of the manifest."""
        states = self._states_of(case)
        network = self._joint_file(states)
        title = f"rule {self.claim.rule}, case {number} of {count}: is there a counterexample? "
        means = "unsat: no record of this case violates the rule; sat: a candidate that has to be replayed"
        first = first_version(self.joint, case, [f"{title}About {network}", means])
        if stands_apart(self.claim, case):
            files, applications = self._applications(states)
        else:
            files, applications = {JOINT: network}, []
        heading = [f"{title}About {', '.join(f'{name} = {file}' for name, file in files.items())}", means]
        if applications:
            second = apart_version(self.claim, case, applications, heading)
        else:
            second = joint_version(self.joint, case, heading)
        stem = f"{self.folder}/{number:04d}"
        self.put(f"{stem}.vnnlib", first.text.encode("ascii"))
        self.put(f"{stem}.v2.vnnlib", second.text.encode("ascii"))
        return {
            "query": f"{stem}.vnnlib",
            "network": network,
            "query_2": f"{stem}.v2.vnnlib",
            "networks_2": files,
            "instance": case.instance,
            "discrete": {v.name: int(case.box[i][0]) for i, v in enumerate(self.claim.variables) if v.discrete},
            "patches": [
                {"call": gate.call, "patch": gate.patch, "state": state}
                for gate, state in zip(self.gates, case.states, strict=True)
            ],
            "closed": first.closed,
            "rounded": max(first.rounded, second.rounded),
        }

    def _states_of(self, case: Case) -> tuple[States, ...]:
        """Per call: the states of its patches."""
        found: list[list[State]] = [[] for _ in self.claim.calls]
        for gate, state in zip(self.gates, case.states, strict=True):
            found[gate.call].append(state)
        return tuple(map(tuple, found))

    def _joint_file(self, states: tuple[States, ...]) -> str:
        key = ("", tuple(state for call in states for state in call))
        if key not in self._files:
            stem = "_".join(call.reward for call in self.claim.calls[:4])
            self._files[key] = self.networks.name(joint_network(self.joint, self.artifacts, states), stem)
        return self._files[key]

    def _reward_file(self, reward: str, states: States) -> str:
        key = (reward, states)
        if key not in self._files:
            self._files[key] = self.networks.name(to_onnx(self.artifacts[reward], states), reward)
        return self._files[key]

    def _applications(self, states: Sequence[States]) -> tuple[dict[str, str], list[Application]]:
        """Network → file, and each call's network in a 2.0 query."""
        files: dict[str, str] = {}
        applications: list[Application] = []
        for number, (call, own) in enumerate(zip(self.claim.calls, states, strict=True)):
            file = self._reward_file(call.reward, own)
            same_as = next((name for name, other in files.items() if other == file), None)
            if same_as is None:
                files[f"N{number}"] = file
            applications.append(Application(f"N{number}", same_as))
        return files, applications
