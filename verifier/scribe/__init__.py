"""Proofs of what engines have proved without writing one, found again in the certificate kernel's own terms.

Read `mirror` (what the kernel computes of a leaf, in floats and by the batch), `leaves` (weights, slopes and steps that
settle a branch), `swift` and `compiled` (the same for programs that cells know, much faster), `writer` (the tree).
Nothing here decides a verdict: an engine has proved the claim, the kernel will check the proof, and where none is found
within its budget the verdict says so.
"""

from rewarden.verifier import compiled_cache

compiled_cache.ensure()
