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
    "G16": "The saved state is about another spec, other rewards or rules, other options or another version.",
    "G17": "The saved state is damaged, or no state at all.",
    "G15": "No rule is selected, so that there is nothing to decide.",
    "X10": "A coefficient of the program is beyond the range of binary64, in which the search bounds it.",
    "X11": "The artifact holds an operation for which the verifier has no layers.",
    "X12": "The artifact holds an operation of which it is not known how far binary32 is off: ask for real semantics.",
    "X13": "A data constant of the rule may overflow in binary32: nothing is known of it under float32 semantics.",
    "X14": "A loop or a long trace whose steps cannot be told one by one, as the message says why.",
    "G80": "The VNN-LIB query cannot be read, or is not one: the message has the line and the column.",
    "G81": "The networks do not fit the VNN-LIB query: their number, their names, or their inputs and outputs.",
    "G82": "An input of the VNN-LIB query is not bounded, or beyond binary32. What is searched is a finite box.",
    "G83": "The VNN-LIB query asks about floating-point arithmetic. Declare its tensors `real` to ask about reals.",
    "G84": "The solution, the query and the rule do not belong together. Export the rule again, or name other files.",
    "X31": "A number of the rule is too large or takes too many digits to be written into a VNN-LIB query.",
    "X32": "The rule falls into too many cases, each of which would be a VNN-LIB query of its own.",
    "X33": "The rule calls no reward, or counts rows, so that no VNN-LIB query about a network can say it.",
    "X34": "The VNN-LIB query has something that is not supported: products of unknowns, hidden nodes, default inputs.",
    "X35": "The disjunctions of the VNN-LIB query multiply out to too many cases.",
    "X36": "The VNN-LIB query reads too many outputs of its networks.",
    "G44": "A part of a domain is named feature by feature: gap=0..10, lane=left, has_lead=true.",
}
