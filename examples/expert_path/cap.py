"""One edit for the whole far region: the reward is held down by a cap that is low wherever the path is far.

    R'(s) = min( R(s), level + slope · max(0, D(s) measured inwards from RIM) )
    D(s)  = min over pieces k of  max( max_j n_kj · (s − m_k),  |d_k · (s − m_k)| − half_k + RADIUS )

D is a distance from the path made of affine maps, min and max: the path as a chain of prisms, each with `FACES` faces
around one piece of it. {D <= RADIUS} holds every state within 0.30 m of the path, {D >= RIM} every cube of the rules.
Between the two the cap falls from above the reward's maximum to its level. Where the cap is above the reward, min gives
the reward back, bit for bit. That the rules hold afterwards is for the verifier to prove.
"""

from __future__ import annotations

import numpy as np
from cover import SPAN, curve
from numpy.typing import NDArray

from rewarden.reward.artifact import Artifact, Edit
from rewarden.reward.assembly import Assembled, Assembly
from rewarden.reward.graph import Minimum
from rewarden.reward.learners.splice import Splice

PIECES, FACES = 16, 16  # powers of two
RADIUS, RIM = 0.3012, 0.3062
LEVEL, MOST = 0.004, 1.0  # the reward is a score in 0 .. 1
OVERLAP = 0.035  # by which a prism reaches into its neighbours, beyond the bend between them


def distance_network(build: Assembly) -> int:
    """D, on the input of three columns. Maxima and minima are taken of halves, for all pieces at once: that is what
    bound propagation is quick at."""
    ends = curve(np.linspace(*SPAN, PIECES + 1))
    middles = curve(np.linspace(*SPAN, 2 * PIECES + 1)[1::2])
    chords = ends[1:] - ends[:-1]
    lengths = np.linalg.norm(chords, axis=1)
    along = chords / lengths[:, None]
    centres = (ends[1:] + ends[:-1]) / 4 + middles / 2  # between chord and path
    faces = np.stack([_around(direction) for direction in along], axis=1)  # [face, piece, 3]
    sides = build.affine(build.INPUT, *_rows(faces.reshape(-1, 3), -(faces * centres).sum(axis=2).reshape(-1)))
    while build.width(sides) > PIECES:
        sides = build.maximum(*_halves(build, sides))
    beyond = build.absolute(build.affine(build.INPUT, *_rows(along, -(along * centres).sum(axis=1))))
    least = build.maximum(sides, build.offset(beyond, (RADIUS - lengths / 2 - OVERLAP).astype(np.float32)))
    while build.width(least) > 1:
        least = build.minimum(*_halves(build, least))
    return least


def _rows(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return weight.astype(np.float32), bias.astype(np.float32)


def _halves(build: Assembly, node: int) -> tuple[int, int]:
    width = build.width(node)
    return build.columns(node, 0, width // 2), build.columns(node, width // 2, width)


def _around(along: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors at right angles to a direction, evenly spaced."""
    first = np.cross(along, [0.0, 0.0, 1.0])
    first /= np.linalg.norm(first)
    second = np.cross(along, first)
    angles = np.linspace(0, 2 * np.pi, FACES, endpoint=False)[:, None]
    return np.asarray(np.cos(angles) * first + np.sin(angles) * second)


def cap() -> Assembled:
    build = Assembly(3)
    slope = np.float32((MOST + 0.01 - LEVEL) / (RIM - RADIUS))
    inwards = build.affine(
        distance_network(build), np.array([[-slope]], np.float32), np.array([slope * np.float32(RIM)], np.float32)
    )
    return build.finish(build.offset(build.relu(inwards), np.array([LEVEL], np.float32)))


def capped(reward: Artifact, rules: str) -> Artifact:
    """The edited reward, a child of the one given."""
    splice = Splice()
    before = splice.graft(reward.graph, reward.tensors, "")
    alone = cap()
    output = splice.push(Minimum(before, splice.graft(alone.graph, alone.tensors, "cap.")))
    edit = Edit("cap", rules, {"outside": "min with a cap: the reward wherever the cap is above it, bit for bit"})
    assembled = splice.finish(output)
    return reward.child(edit, graph=assembled.graph, tensors=assembled.tensors)
