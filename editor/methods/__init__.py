"""Methods of mending a reward, each with what it guarantees. All are accepted only once the rules are verified again.

Read in this order: `task` (what a method is given and gives back), `region` (a min/max patch on a rule's own region),
`violated` (the same, where the rule was not proved), `threshold` (two patches for a rule that relates two separate
regions), `last_layer` (the least change of the output weights), `tuning` (all weights, trained with the rules as
penalties), `choose` (which for which rule).
"""
