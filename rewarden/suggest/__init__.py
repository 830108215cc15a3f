"""Suggestions: candidate rules from a learned reward and data, each with how well it holds, for an expert to edit.

Nothing here is a claim. What is learned may be wrong, and what was recorded is not all that can occur: so every rule is
a `should`, every assumption is a comment until somebody who knows the domain takes the `#` away, and every figure says
what it was counted on. Counts are exact (`figures`); "proved" is said only where the verifier proved it.

In the order in which they are used:

- `friendly`       numbers of few digits, rounded to the safe side
- `scene`          the spec, its rows, the rewards; points to look at
- `candidate`      a rule that may be suggested
- `sweep`          what a reward does when one feature is changed and nothing else
- `monotone`, `irrelevant`, `caps`, `regions`, `levels`   one kind of rule each
- `correlations`   assumptions: `implications`, `bands`, and which of them say something new
- `figures`        how often a candidate holds, exactly
- `verdicts`       what the verifier says within a small budget
- `text`, `drafting`   the commented spec, and the whole run
"""

from __future__ import annotations
