"""Learners: rewards from data alone, without a policy and without an environment.

One learner a file, each a small class with one method, `fit(data, options, run) → Artifact`. Read in this order:

- `interface`    the protocol, the kinds of data, and what a run is given: seed, progress, penalty, checkpoints, reach
- `options`      every learner's options; no torch, so that a config is checked at once
- `loop`         the one training loop: batches, penalty, early stopping, checkpoints; `checkpoints` their two files
- `networks`     ReLU networks: signs that make them monotone, pruning, rounding, and the graph that they become
- `preferences`  Bradley-Terry and Plackett-Luce, with ties (`answers`)      from pairs, segments, rankings
- `autoencoders` the mixture of autoencoders, missing values and all         from demonstrations
- `paper`        the same as published, smooth, to compare with               from demonstrations
- `energy`       a contrastive energy model                                  from demonstrations
- `labels`       regression on scalar or ordinal judgements                  from judged records
- `update`       an anchored, bounded step on an existing artifact           from new preferences
- `corrections`  the smallest change that makes a few statements true        from an expert
- `ensemble`     several of any of these as one artifact
- `registry`     names, for configs

What a learner needs of verification (a penalty, witnesses, how far a reward can have moved) it takes as a protocol.
Torch is imported by the learners themselves, not by this package, `interface`, `options` or `registry`.
"""
