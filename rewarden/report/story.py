"""What a report is made of: results, the rewards they are about, and what happened in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rewarden.editor.drift import Drift
from rewarden.editor.effect import Effect
from rewarden.editor.mend import EditReport
from rewarden.reward.artifact import Artifact
from rewarden.spec_lang.spec import Spec
from rewarden.verifier.verdict import VerificationResult


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What the checker said; `covers`, `omits` and `refused` are whole sentences."""

    accepted: bool
    summary: str
    fingerprint: str
    covers: tuple[str, ...] = ()
    omits: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()  # tampered copies that were rejected, and why


@dataclass(frozen=True, slots=True, eq=False)
class Story:
    """`result` is the verification that counts, of `rewards`; `before` and `rewards_before` came before the edits."""

    title: str
    spec: Spec
    result: VerificationResult
    rewards: Mapping[str, Artifact]
    before: VerificationResult | None = None
    rewards_before: Mapping[str, Artifact] = field(default_factory=dict)
    edits: tuple[EditReport, ...] = ()
    effects: Mapping[str, Effect] = field(default_factory=dict)  # by the name of the reward that was edited
    drifts: Mapping[str, Drift] = field(default_factory=dict)  # by the name of the data
    certificate: CertificateFacts | None = None
    others: Mapping[str, Artifact] = field(default_factory=dict)  # learned beside, not bound: by a caption
