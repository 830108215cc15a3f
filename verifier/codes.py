"""Every code that this room's errors bring in, each with one paragraph; `rewarden.spec_lang.codes` says how.

B a claim and its artifacts; E bounds for an edit; G options and selections; X programs.
"""

from __future__ import annotations

EXPLANATIONS: dict[str, str] = {
    "B30": "The rule speaks of a reward to which no artifact is bound.",
    "B31": "The artifact reads another number of columns than the claim passes to it.",
    "B32": "The claim is about another artifact, by digest, than the one that is bound to the name.",
    "B33": "An artifact is bound to a reward that the spec does not declare.",
    "E11": "No finite bound of the reward near the region could be certified, so no patch can be sized.",
    "G14": "An option of the verification has a value that makes no sense.",
    "G15": "No rule is selected, so that there is nothing to decide.",
    "X10": "A coefficient of the program is beyond the range of binary64, in which the search bounds it.",
    "X11": "The artifact holds an operation for which the verifier has no layers.",
}
