"""Judging a reward with what data and proofs can say: `rewarden inspect`.

Read in this order:

- `effects`     partial dependence, with certified bounds (`rewarden.verifier.ranges`)
- `experts`     what each autoencoder of a mixture stands for
- `neighbours`  the data nearest to a record
- `judgement`   all of it about one artifact, with what data alone can say (`rewarden.reward.judging`)
- `words`       that as text; `rewarden.report.inspection` draws it

Bounds need torch, which is loaded when somebody asks for them.
"""
