"""Every code that this room's errors bring in, each with one paragraph; `rewarden.spec_lang.codes` says how.

E: an edit that cannot be made.
"""

from __future__ import annotations

EXPLANATIONS: dict[str, str] = {
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
    "E13": "The rule has not the form that the method of mending needs. Take another --method.",
    "E14": "Tuning did not come to weights of which the rules are proved.",
    "E15": "No method of mending has that name.",
    "E16": "A correction reads rewards that have no patches on top. Correct before you patch, or bake the patches.",
    "E17": "A slope that a rule asks for cannot be certified, or is there already.",
    "E21": "The ledger of forgotten rows cannot be read. Restore it: it keeps them out of later trainings.",
    "E22": "No row that is to be forgotten is among the data, or no row would be left.",
    "E25": "Half of the rows are too few to learn shadows from, with which an audit attacks membership.",
    "E24": "Rows that are given as strangers to an audit were learned from, or are of another shape than the data.",
    "E30": "An edit is named that is not there, or whose parent is not at hand. Name the folder of older artifacts.",
    "E31": "The edit changed the network itself. Only patches can be moved onto another reward.",
    "E32": "The two artifacts have no common ancestor at hand, or it is one of them. There is nothing to merge.",
    "E34": "The patch demands the opposite of an earlier one at some record. No reward can do both.",
    "E35": "A ceiling and a floor above it have regions that touch: no slope is steep enough between them.",
    "E38": "The edit would bring rows back that a reward was made to forget.",
    "E33": "Two patches near data meet in too many boxes to tell whether they disagree.",
    "E23": "Rows of this kind, or a reward of this kind, cannot be forgotten approximately. Learn in shards.",
}
