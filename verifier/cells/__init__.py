"""Cells: branch and bound over boxes, phases of neurons and the violation itself, compiled; for few inputs.

A cell is a box of inputs with some neurons held to one side of 0. It is dead once no point of it can violate.
`network` lays a program out in arrays, `bounds` bounds it over a cell, `simplex` weighs rows against each other,
`search` walks the cells and `engine` speaks for it to the rest of the verifier.
"""

from rewarden.verifier import compiled_cache

compiled_cache.ensure()
