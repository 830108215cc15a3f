"""How much of a rule's region is proved, violated, outside of the premise and unsettled: exact shares, by volume.

Read in this order: `parts` (what is known of a region, and its JSON), `judge` (one batch of boxes: what holds at every
point of each), `search` (which box is judged next, and where it is cut), `loops` (rules about loops, by record).
Sampling estimates such shares; here every point of a part has been argued about, and the shares of the four parts add
up to 1 as fractions.

A box counts as *proved* where the conclusion holds at every point of it at which the premise does, as *outside* where
the premise holds nowhere inside it, as *violated* where inside it the premise holds and the conclusion fails
everywhere. Inside means: not on the faces, which have no volume. All else is unsettled.
"""
