"""A reward of texts in use: with the encoder that it was learned with, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from rewarden.reward.artifact import Artifact
from rewarden.reward.text.embedding import views_of
from rewarden.reward.text.encoder import Encoder, load_encoder
from rewarden.spec_lang.errors import DataError
from rewarden.spec_lang.tables import Source


def views_for(artifact: Artifact) -> dict[str, str]:
    """Feature → part of the text, as the reward was learned; else the only vector is the reply."""
    said = "" if artifact.learner is None else artifact.learner.record.get("text", "")
    views = dict(part.split(" = ", 1) for part in said.split(", ") if " = " in part)
    return views_of(artifact.records[0].type, views)


def as_features(source: Source, artifact: Artifact, folder: Path) -> Source:
    """Rows of texts as the features that the reward reads, encoded as it was learned. Raises what `encoder_of` and
    reading texts raise."""
    from rewarden.reward.text.cache import Cached
    from rewarden.reward.text.embedding import embedded
    from rewarden.text.cache import vectors_folder

    encoder = Cached(encoder_of(artifact, folder), vectors_folder())
    return embedded(source, artifact.records[0].type, views_for(artifact), encoder)


def encoder_of(artifact: Artifact, folder: Path) -> Encoder:
    """Raises D32 where the reward was learned with another encoder, and what loading one raises."""
    record = {} if artifact.learner is None else artifact.learner.record
    keep = "start" if record.get("encoder keeps", "").startswith("the start") else "end"
    encoder = load_encoder(folder, cast(Literal["start", "end"], keep))
    if record.get("encoder", encoder.digest) != encoder.digest:
        raise DataError(
            "D32",
            f"the reward was learned with another encoder, {record['encoder'][:19]}…",
            help=f"name that one; this is {encoder.digest[:19]}…",
        )
    return encoder
