"""What an edit of several parts promises: not all that each of them says of itself is so of all together.

Beyond the rim of one part another acts, so locality is about all of them; and what an earlier part has fixed a later
one may move, which nothing but verification of the whole excludes. (Of patches `mend` knows better: those of one kind
leave each other's levels alone.) Where each part ends (`beyond.BEYOND`), what its level is anchored to and its own
continuity are as they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rewarden.editor.history.stored import all_stored
from rewarden.reward.artifact import Artifact

LATER = "; parts made after it may move that: whether the rule holds, verification of the whole says"

RIMS = ", but in the rims of earlier patches, which rise more steeply now"


def with_rims(said: Mapping[str, str], child: Artifact, parent: Artifact) -> dict[str, str]:
    """What a correction beneath the parent's patches says, where these had to be made steeper for it."""
    changed = any(not new.same(old) for new, old in zip(all_stored(child), all_stored(parent), strict=False))
    return {key: text + RIMS if changed and _what(key) == "locality" else text for key, text in said.items()}


def of_several(said: Mapping[str, str], rules: Sequence[str]) -> dict[str, str]:
    """`said`: what all parts say, in the order in which they were made, by keys such as `fix` and `rule.fix`; `rules`
    are those that they were made for. One part alone is as it was."""
    fixes = [key for key in said if _what(key) == "fix"]
    where = [text for key, text in said.items() if _what(key) == "locality"]
    if len(fixes) < 2 and len(where) < 2:
        return dict(said)
    found = {key: text for key, text in said.items() if _what(key) != "locality"}
    found |= {key: said[key].removesuffix(LATER) + LATER for key in fixes[:-1]}
    listed = ", ".join(dict.fromkeys(rules))
    found["locality"] = (
        f"none: of the parts for {listed} some move the reward everywhere"
        if any(text.startswith("none") for text in where)
        else f"beyond the rings of all of these rules ({listed}) the reward is that of the parent, bit for bit"
        + RIMS * any(text.endswith(RIMS) for text in where)
    )
    return found


def _what(key: str) -> str:
    """Of `fix`, `rule.fix` and `patch: rule.fix` the last word."""
    return key.replace(": ", ".").rpartition(".")[2]
