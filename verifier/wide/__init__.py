"""Many boxes of many variables: what rules near data ask of a head over embeddings.

Cutting a box of 384 variables gets nowhere, so the cases that are told apart here are signs of neurons. Read `network`
(the claim as dense layers), `bounds` (rigorous bounds of a batch of boxes), `split` (the search over signs).
"""

from rewarden.verifier import compiled_cache

compiled_cache.ensure()
