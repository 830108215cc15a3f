"""`python -m rewarden.verifier.wide`: compiles the engine's passes, so that its first use does not have to."""

from __future__ import annotations

import torch

from rewarden.verifier.wide.bounds import all_rows, default_lines, known_by_intervals, lower_rows
from rewarden.verifier.wide.formats import WIDE
from rewarden.verifier.wide.network import Network, Node, _map
from rewarden.verifier.wide.sharpen import sharpened


def main() -> None:
    """A network of three layers in each of the two formats uses all that there is."""
    for width in (2, WIDE):
        nodes = tuple(_layer(width, source, source > 0) for source in range(3))
        network, box = Network(width, nodes, (0, 1, 2)), torch.ones(1, width, dtype=torch.float64)
        known = sharpened(network, known_by_intervals(network, -box, box))
        found = lower_rows(network, known, default_lines(known), all_rows(known, _layer(width, 3, skips=False)))
        assert bool(torch.isfinite(found.bound).all())


def _layer(width: int, source: int, skips: bool) -> Node:
    weight = torch.ones(width, width, dtype=torch.float64)
    weight[:, ::2] = -1.0
    none = torch.zeros(width, dtype=torch.float64)
    return Node(tuple(_map(s, weight, None) for s in ({0, source} if skips else {source})), none, none)


if __name__ == "__main__":
    main()
