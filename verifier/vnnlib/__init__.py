"""VNN-LIB, the format in which verifiers of networks exchange questions: in and out.

A query names inputs that somebody hopes do not exist. A rule asks for the same: records at which its premise holds and
its conclusion does not. Read in this order.

Both ways: `forms` (exact affine forms), `propagation` (what conditions leave of a box).

In: `reader` (brackets and words), `terms` (formulas), `declarations` (a file → `query`); `cases` (its formula as boxes,
premises, goals, with tied inputs written out by `elimination`), `networks` (an ONNX file as rewards; `affine_outputs`),
`claims`, `answer`; `assignment` prints a solution.

Out: `split` (a claim as cases without discrete choices), `functionals` and `wiring` (its calls and sums as networks),
`numerals`, `comparisons`, `wording`, `writing` (a case as text), `export` (a spec's rules as files, with a manifest);
`manifest` and `replay` judge what another verifier answers.
"""
