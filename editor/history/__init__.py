"""An artifact's edits as a history: what lies between two artifacts, taking edits back, joining and merging them.

Read in this order: `stored` (a patch as a value: its exact rows, where it acts, how it is put on another reward),
`chain` (a line of edits), `revert`, `squash`, `merge`, `bake`. All of them make new artifacts; none is ever changed.
"""
