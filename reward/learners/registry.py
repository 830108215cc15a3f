"""Learners by name: what each learns from, its options, and where it is. Nothing is imported until it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from rewarden.reward.learners.interface import Learner
from rewarden.reward.learners.options import (
    AutoencoderOptions,
    CorrectionOptions,
    EnergyOptions,
    HeadOptions,
    LabelOptions,
    Options,
    PaperOptions,
    PreferenceOptions,
    UpdateOptions,
)

Source = Literal["demonstrations", "preferences", "rankings", "labels", "statements"]


@dataclass(frozen=True, slots=True)
class Entry:
    """`sources` are the keys of [data] of which one is given; with `revises`, an artifact is given too."""

    module: str
    cls: str
    options: type[Options]
    sources: tuple[Source, ...]
    revises: bool = False

    def learner(self) -> Learner[Any, Any]:
        found: Learner[Any, Any] = getattr(import_module(f"rewarden.reward.learners.{self.module}"), self.cls)()
        return found


REGISTRY: Mapping[str, Entry] = {
    "autoencoders": Entry("autoencoders", "Autoencoders", AutoencoderOptions, ("demonstrations",)),
    "paper": Entry("paper", "Paper", PaperOptions, ("demonstrations",)),
    "energy": Entry("energy", "Energy", EnergyOptions, ("demonstrations",)),
    "preferences": Entry("preferences", "Preferences", PreferenceOptions, ("preferences", "rankings")),
    "head": Entry("head", "Head", HeadOptions, ("preferences",)),
    "labels": Entry("labels", "Labels", LabelOptions, ("labels",)),
    "update": Entry("update", "Update", UpdateOptions, ("preferences", "rankings"), revises=True),
    "corrections": Entry("corrections", "Corrections", CorrectionOptions, ("statements",), revises=True),
}
SOURCES: tuple[Source, ...] = ("demonstrations", "preferences", "rankings", "labels", "statements")
