"""Outputs of a network that are affine in its inputs, written out.

Queries are often made for readers that know bounds of inputs and comparisons of outputs only, so that conditions on
inputs come as outputs that no relu stands before. Written out as forms over the inputs they are what they were:
premises that narrow the box. An element of a node is looked up through the elements that it reads with a factor other
than 0.
"""

from __future__ import annotations

from fractions import Fraction

from rewarden.reward.artifact import Artifact
from rewarden.reward.graph import Add, AffineMap, Concat, Input, Scale, Sub
from rewarden.spec_lang.claim import Affine
from rewarden.verifier.vnnlib.forms import scaled, summed

MOST_STEPS = 1 << 20  # products of coefficients, per network
DEEPEST = 200  # nodes on a path


class AffineElements:
    """Mutable: what is known of the elements of an artifact's nodes, and the work that is left."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._known: dict[tuple[int, int], Affine | None] = {}
        self._left = MOST_STEPS

    def of(self, node: int, element: int, depth: int = 0) -> Affine | None:
        """The element as a form over the artifact's columns; None where it is none, or takes too long to say."""
        key = (node, element)
        if key not in self._known:
            self._known[key] = None if depth > DEEPEST else self._find(node, element, depth + 1)
        return self._known[key]

    def _find(self, node: int, element: int, depth: int) -> Affine | None:
        tensors = self._artifact.tensors
        one, nothing = Fraction(1), Fraction(0)
        match self._artifact.graph.nodes[node]:
            case Input():
                return Affine(nothing, ((element, one),))
            case Scale(source, scale, shift):
                factor = Fraction(float(tensors[scale][element]))
                return self._total([(source, element, factor)], Fraction(float(tensors[shift][element])), depth)
            case AffineMap(source, weight, bias):
                row = tensors[weight][element]
                parts = [(source, int(j), Fraction(float(row[j]))) for j in row.nonzero()[0]]
                return self._total(parts, Fraction(float(tensors[bias][element])), depth)
            case Add(a, b):
                return self._total([(a, element, one), (b, element, one)], nothing, depth)
            case Sub(a, b):
                return self._total([(a, element, one), (b, element, -one)], nothing, depth)
            case Concat(parts):
                for part in parts:
                    width = self._artifact.node_widths[part]
                    if element < width:
                        return self.of(part, element, depth)
                    element -= width
        return None

    def _total(self, parts: list[tuple[int, int, Fraction]], constant: Fraction, depth: int) -> Affine | None:
        forms = [Affine(constant)]
        for node, element, factor in parts:
            form = self.of(node, element, depth) if factor else Affine(Fraction(0))
            if form is None:
                return None
            self._left -= len(form.variables) + 1
            if self._left < 0:
                return None
            forms.append(scaled(form, factor))
        return summed(forms)
