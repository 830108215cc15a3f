"""Every code that this room's errors bring in, each with one paragraph; `rewarden.spec_lang.codes` says how.

E: an edit that cannot be made.
"""

from __future__ import annotations

EXPLANATIONS: dict[str, str] = {
    "E01": "The rule ranges over the neighbourhood of data. A patch needs one region; bound that instead.",
    "E02": "The rule relates several rewards or records. A patch mends bounds on one record only.",
    "E03": "The rule bounds the reward by an expression of features. A patch has a constant level.",
    "E04": "The rule asks for the reward at a changed record. Patch the record itself.",
    "E05": "The region is a union of too many polytopes. Split the rule.",
    "E06": "The region is empty, so that there is nothing to patch.",
    "E07": "The premise reads a reward, so that its region is not a polytope of features.",
    "E08": "A condition of the premise depends on no feature that can vary.",
    "E09": "The region's edges do not fit binary32 within the ring. Widen the ring, or rescale the feature.",
    "E10": "The failing rules bound several rewards. One patch changes one reward: name the rules.",
    "E12": "The rule bounds the reward everywhere, so that there is no region to patch and no outside to leave alone.",
}
