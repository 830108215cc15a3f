"""`python -m rewarden.verifier.cells`: compiles the engine, and what writes its proofs, so that their first use does
not have to."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from rewarden.spec_lang.claim import Affine, AffineAtom, Claim, ClaimVariable
from rewarden.verifier.cells.engine import decide
from rewarden.verifier.program import Program
from rewarden.verifier.scribe.swift import Swift


def main() -> None:
    """Whatever is asked, all of it is compiled: here, whether x + 1 >= 0 for x from 0 to 1."""
    goal = AffineAtom(Affine(Fraction(1), ((0, Fraction(1)),), ()), strict=False)
    box = ((Fraction(0), Fraction(1)),)
    claim = Claim("warm", "must", (ClaimVariable("x", None, False),), (), (), (), (), ((goal,),), (box,))
    program = Program(claim, (), ())
    outcome = decide(program, 1, lambda point: False, lambda share, boxes: None, lambda: False)
    assert outcome is not None
    assert outcome.status == "proved"
    swift = Swift.of(program)
    assert swift is not None
    assert swift.attempt(np.array([[(0.0, 1.0)]]), [()], [[(0, ())]], [1])[0].leaf is not None


if __name__ == "__main__":
    main()
