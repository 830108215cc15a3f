"""How good a learned reward is, as far as data can tell. Nothing here needs a proof; what does is `rewarden.judging`.

Read in this order:

- `intervals`     shares with exact intervals
- `pairs`         answers, margins, accuracy
- `calibration`   do margins mean what they say
- `baselines`     trivial rules that a reward must beat
- `held_out`      which rows a reward has never seen
- `made_up`       demonstrations and labels as answers
- `noise`         accuracy against the share of wrong answers
- `transitions`, `distances`   EPIC and DARD
"""
