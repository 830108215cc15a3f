"""Figures of a judgement as SVG, in the style of `pictures`: text as text, in the page's own colour."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rewarden.judging.effects import Effect
from rewarden.report.pictures import _INK, _SOFT, _canvas, _svg
from rewarden.reward.judging.calibration import Calibration
from rewarden.reward.judging.noise import NoisePoint

BLUE, BAND = "#3b82f6", "#3b82f6"
Array = NDArray[np.float64]


def draw_effect(effect: Effect, span: tuple[float, float], name: str) -> str:
    """The certified band of every slice, what is really taken within it, and the mean over data."""
    figure, (ax,) = _canvas(1, 2.35, width=4.6)
    edges = [(s.lo, s.hi) for s in effect.slices]
    if not effect.numeric:
        edges = [(k - 0.38, k + 0.38) for k in range(len(effect.slices))]
    elif all(lo == hi for lo, hi in edges):
        edges = [(lo - 0.4, hi + 0.4) for lo, hi in edges]
    rows = max((s.rows for s in effect.slices), default=0)
    for (lo, hi), one in zip(edges, effect.slices, strict=True):
        low, high = max(one.range.least, span[0]), min(one.range.most, span[1])
        ax.fill_between([lo, hi], [low, low], [high, high], color=BAND, alpha=0.16, linewidth=0)
        for end in (low, high):
            ax.plot([lo, hi], [end, end], color=BLUE, linewidth=1.4, solid_capstyle="butt")
        for taken in (one.range.least_taken, one.range.most_taken):
            if taken is not None:
                ax.plot([lo, hi], [taken, taken], color=_INK, linewidth=0.8, linestyle=(0, (2, 2)))
        if rows:
            ax.fill_between([lo, hi], 0, 0.1 * one.rows / rows, color=_SOFT, alpha=0.55, linewidth=0,
                            transform=ax.get_xaxis_transform())  # fmt: skip
    middles = [(lo + hi) / 2 for lo, hi in edges]
    means = [(x, s.mean) for x, s in zip(middles, effect.slices, strict=True) if s.mean is not None]
    if means:
        style = "o-" if effect.numeric else "o"
        ax.plot([x for x, _ in means], [y for _, y in means], style, color=_INK, linewidth=1.6, markersize=3.6)
    unit = f" [{effect.unit}]" if effect.unit else ""
    ax.set_xlabel(f"{effect.feature.replace('_', ' ')}{unit}")
    ax.set_ylabel("reward")
    if not effect.numeric:
        ax.set_xticks(range(len(effect.slices)), [s.label for s in effect.slices])
    else:
        ax.set_xlim(edges[0][0], edges[-1][1])
    wide = span[1] - span[0]
    ax.set_ylim(span[0] - 0.14 * wide, span[1] + 0.04 * wide)
    return _svg(figure, name)


def draw_reliability(found: Calibration, name: str) -> str:
    """How many were right, against how sure the reward was."""
    figure, (ax,) = _canvas(1, 2.9, width=3.6)
    ax.plot([0.5, 1.0], [0.5, 1.0], color=_SOFT, linewidth=1.0, linestyle=(0, (4, 3)))
    for one in found.bins:
        lo, hi = one.right.exact
        ax.plot([one.confidence, one.confidence], [lo, hi], color=BLUE, linewidth=1.2)
    ax.plot([b.confidence for b in found.bins], [b.right.value for b in found.bins], "o-", color=BLUE, markersize=4,
            linewidth=1.0)  # fmt: skip
    ax.set_xlim(0.48, 1.02)
    ax.set_ylim(min(0.4, min((b.right.exact[0] for b in found.bins), default=0.4)) - 0.02, 1.02)
    ax.set_xlabel("probability that the margin gives")
    ax.set_ylabel("share right")
    return _svg(figure, name)


def draw_histogram(values: Array, label: str, name: str, zero: bool = True) -> str:
    """Where values lie; those below 0 in the colour of what is wrong, if 0 parts right from wrong."""
    figure, (ax,) = _canvas(1, 2.9, width=3.6)
    edges = _edges(values, zero)
    counts, _ = np.histogram(values, edges)
    for (lo, hi), count in zip(pairwise(edges), counts, strict=True):
        wrong = zero and hi <= 0
        ax.bar(lo, count, hi - lo, align="edge", color="#e5484d" if wrong else BLUE, linewidth=0, alpha=0.8)
    if zero:
        ax.axvline(0.0, color=_INK, linewidth=0.9)
    ax.set_xlabel(label)
    ax.set_ylabel("how many")
    return _svg(figure, name)


def _edges(values: Array, zero: bool) -> list[float]:
    lo, hi = float(values.min()), float(values.max())
    if zero:
        lo, hi = min(lo, 0.0), max(hi, 0.0)
    if hi <= lo:
        return [lo - 0.5, lo + 0.5]
    step = (hi - lo) / 28
    if not zero:
        return [float(e) for e in np.linspace(lo, hi, 29)]
    down, up = int(np.ceil(-lo / step)), int(np.ceil(hi / step))
    return [k * step for k in range(-down, up + 1)]


def draw_noise(points: Sequence[NoisePoint], name: str) -> str:
    """Accuracy against the share of answers turned round."""
    figure, (ax,) = _canvas(1, 2.7, width=4.6)
    shares = [100 * p.level for p in points]
    for x, point in zip(shares, points, strict=True):
        lo, hi = point.accuracy.exact
        ax.plot([x, x], [100 * lo, 100 * hi], color=BLUE, linewidth=1.2)
    ax.plot(shares, [100 * p.accuracy.value for p in points], "o-", color=BLUE, markersize=4, linewidth=1.4)
    ax.axhline(50.0, color=_SOFT, linewidth=1.0, linestyle=(0, (4, 3)))
    ax.set_xlabel("labels turned round [%]")
    ax.set_ylabel("held-out accuracy [%]")
    return _svg(figure, name)
