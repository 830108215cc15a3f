"""A reward function as TRL's trainers call it: prompts and completions in, a list of numbers out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rewarden.reward.artifact import Artifact
from rewarden.reward.encode import Policy
from rewarden.reward.text.cache import Cached
from rewarden.reward.text.dialogues import answers
from rewarden.reward.text.embedding import features_of
from rewarden.spec_lang.errors import UsageError
from rewarden.text.cache import vectors_folder
from rewarden.text.use import encoder_of, views_for


def trl_reward(
    artifact: Artifact, encoder: str | os.PathLike[str], *, out_of_domain: Policy = "refuse"
) -> Callable[..., list[float]]:
    """`reward_funcs=[trl_reward(artifact, "minilm")]`. Completions are texts, or messages; so are prompts.

    The encoder is the one that the reward was learned with (D32). Raises UsageError G90 for a reward of several records
    or of features that are not made of text; a completion that is no text raises D31 with its number.
    """
    if len(artifact.records) != 1:
        raise UsageError("G90", "a reward of several records is no reward of texts")
    kind, views = artifact.records[0].type, views_for(artifact)
    if missing := [feature.name for feature in kind.features if feature.name not in views]:
        raise UsageError("G90", f"{missing[0]} is not made of text", help="TRL gives prompts and completions only")
    encoding = Cached(encoder_of(artifact, Path(encoder)), vectors_folder())

    def reward(
        prompts: Sequence[Any] | None = None,
        completions: Sequence[Any] = (),
        **columns: object,
    ) -> list[float]:
        """Further columns of the dataset are not read."""
        dialogues = answers(prompts, completions)
        if not dialogues:
            return []
        scores = artifact.score(features_of(dialogues, kind, views, encoding), out_of_domain)
        return [float(value) for value in np.ma.getdata(scores)]

    reward.__name__ = f"rewarden_{artifact.digest.removeprefix('sha256:')[:12]}"
    return reward
