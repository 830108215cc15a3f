"""Arrays to SVG that sits inline in a page: text as text, in the page's own colour, so that light and dark both read.

Heat maps are embedded as small PNGs inside the SVG; nothing refers to anything outside the file.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import numpy as np

from rewarden.report.slices import Line, Plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_INK = "#010203"  # stands for the page's text colour; replaced by currentColor in the SVG
_SOFT = "#8a8f98"
_WITNESS = "#e5484d"
_REGION = "#ffffff"
UNNAMED = 'role="img" aria-label="picture; its caption says of what"'  # until somebody has words for it


def draw_plane(plane: Plane, name: str) -> str:
    """One map per version on one colour scale, and the change where there are two."""
    versions = list(plane.values)
    changed = len(versions) == 2
    figure, axes = _canvas(len(versions) + changed, 2.75)
    lo = min(float(v.min()) for v in plane.values.values())
    hi = max(float(v.max()) for v in plane.values.values())
    for ax, caption in zip(axes, versions, strict=False):
        image = _map(ax, plane, plane.values[caption], ("viridis", lo, hi if hi > lo else lo + 1))
        ax.set_title(caption, color=_INK, fontsize=9.5, fontweight="bold")
    _bar(figure, image, list(axes[: len(versions)]), "reward")
    if changed:
        change = plane.values[versions[1]] - plane.values[versions[0]]
        most = float(np.abs(change).max()) or 1.0
        image = _map(axes[-1], plane, change, ("RdBu", -most, most))
        heading = "change" if change.any() else "change: none"
        axes[-1].set_title(heading, color=_INK, fontsize=9.5, fontweight="bold")
        _bar(figure, image, [axes[-1]], "difference")
    axes[0].set_ylabel(plane.y.label)
    return _svg(figure, name)


def legend(plane: Plane) -> str:
    """What the outline and the veil on the map mean, in sentences with a space before each, where there are any."""
    told = ""
    if _outlined(plane):
        told += f" White line: the premise holds on {'the' if plane.here_holds else 'the other'} side"
        told += " of the cross." if plane.here_holds else ", not on that of the cross."
    return told if plane.possible.all() else f"{told} Grey veil: records that the assumptions rule out."


def _outlined(plane: Plane) -> bool:
    return bool(plane.premise.any() and not plane.premise.all())


def draw_line(line: Line, name: str) -> str:
    """The reward along one feature, per version, with the rule's two records on it."""
    figure, (ax,) = _canvas(1, 2.6, width=6.2)
    # The later version goes below: where the two agree, the dashed earlier one stays visible on it.
    styles = [("#8a8f98", (0, (4, 2)), 1.8, 3), ("#3b82f6", "-", 2.4, 2)] if len(line.values) == 2 else []
    styles = styles or [("#3b82f6", "-", 2.4, 2)]
    for (caption, values), (colour, dash, weight, order) in zip(line.values.items(), styles, strict=False):
        ax.plot(line.x.ticks, values, color=colour, linestyle=dash, linewidth=weight, label=caption, zorder=order)
    first = next(iter(line.values.values()))
    heights = {place: float(np.interp(place, line.x.ticks, first)) for place in line.marks.values()}
    ax.plot(list(heights), list(heights.values()), "o", color=_WITNESS, markersize=6, zorder=4, clip_on=False)
    for marks, place in _together(line):
        at = (place, heights[place])
        ax.annotate(marks, at, textcoords="offset points", xytext=(6, 6), color=_INK, fontweight="bold")
    ax.set_xlabel(line.x.label)
    ax.set_ylabel("reward")
    ax.set_xlim(line.x.ticks[0], line.x.ticks[-1])
    if len(line.values) > 1:
        ax.legend(frameon=False, labelcolor=_INK, fontsize=8)
    return _svg(figure, name)


def _together(line: Line) -> list[tuple[str, float]]:
    """The marks from the left, with those that would be written over each other as one."""
    span, found = float(line.x.ticks[-1] - line.x.ticks[0]), list[tuple[str, float]]()
    for mark, place in sorted(line.marks.items(), key=lambda pair: pair[1]):
        if found and place - found[-1][1] < 0.02 * span:
            found[-1] = (f"{found[-1][0]}, {mark}", found[-1][1])
        else:
            found.append((mark, place))
    return found


def _canvas(panels: int, height: float, width: float | None = None) -> tuple[Figure, tuple[Axes, ...]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width or 3.35 * panels + 0.5, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = figure.subplots(1, panels, sharey=panels > 1, squeeze=False)[0]
    for ax in axes:
        ax.patch.set_alpha(0.0)
        ax.tick_params(colors=_INK, labelsize=8, length=3)
        ax.xaxis.label.set(color=_INK, fontsize=8.5)
        ax.yaxis.label.set(color=_INK, fontsize=8.5)
        for spine in ax.spines.values():
            spine.set(color=_SOFT, linewidth=0.6)
    return figure, tuple(axes)


def _map(ax: Axes, plane: Plane, values: np.ndarray, scale: tuple[str, float, float]) -> AxesImage:
    colours, lo, hi = scale
    x, y = plane.x.ticks, plane.y.ticks
    extent = (float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))
    image = ax.imshow(values, origin="lower", extent=extent, aspect="auto", cmap=colours, vmin=lo, vmax=hi)
    if not plane.possible.all():
        # Records that the assumptions rule out: veiled, so that nobody reads a reward off them.
        veil = np.zeros((*plane.possible.shape, 4))
        veil[~plane.possible] = (0.5, 0.5, 0.53, 0.72)
        ax.imshow(veil, origin="lower", extent=extent, aspect="auto", interpolation="nearest")
    if _outlined(plane):
        for colour, weight in (("#000000", 2.6), (_REGION, 1.3)):
            ax.contour(x, y, plane.premise.astype(float), levels=[0.5], colors=colour, linewidths=weight)
    ax.plot(
        [plane.x.here],
        [plane.y.here],
        "X",
        color=_WITNESS,
        markersize=8,
        markeredgecolor="#ffffff",
        clip_on=False,
        zorder=5,
    )
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    ax.set_xlabel(plane.x.label)
    return image


def _bar(figure: Figure, image: AxesImage, axes: list[Axes], label: str) -> None:
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=24)
    bar.ax.tick_params(colors=_INK, labelsize=7.5, length=2)
    bar.set_label(label, color=_INK, fontsize=8)
    bar.outline.set(edgecolor=_SOFT, linewidth=0.5)


def _svg(figure: Figure, name: str) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    # Fixed salt and no date: the same story gives the same bytes. Text stays text, in the page's own font.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "savefig.dpi": 160}):
        FigureCanvasSVG(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href").replace(_INK, "currentColor")
    text = re.sub(r"font:([^;\"]*?)'[^;\"]*", r"font:\1sans-serif", text)
    # Ids are shared by the whole page: each picture keeps to its own.
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    # drawn at most at a third above its natural size, so that one panel is not blown up to the width of three
    widest = round(figure.get_figwidth() * 72 * 1.34)
    opening = rf'<svg \1 {UNNAMED} preserveAspectRatio="xMinYMid meet" style="max-width:{widest}px">'
    return re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', opening, text, count=1)
