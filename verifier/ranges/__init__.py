"""What a reward can be, and how steep, over parts of its domain: certified, at both ends, beside what is really taken.

Read in this order:

- `domain`       records as boxes, parts of the declared ranges, and how boxes are cut
- `search`       certified maxima over many boxes at once
- `plain`        a patched reward as a plain network, where that may be said
- `continuity`   whether a patch jumps at its rim
- `ends`         the least and the greatest reward, or difference of rewards, over regions
- `slopes`       the chain rule backwards, in intervals
- `sensitivity`  how much the reward changes with one feature
"""
