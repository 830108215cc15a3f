"""The report: one self-contained HTML file that an auditor reads, prints and files.

Read in this order: `story` (what a report is made of), `slices` (cuts through a reward, as arrays), `pictures` (arrays
to SVG), `rulecards` (one rule as HTML), `page` (the whole). No network, no scripts, no fonts: text, tables and drawings
in one file, in light and dark, on screen and on paper. Matplotlib is imported only when a picture is drawn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewarden.report.page import render as render
    from rewarden.report.story import CertificateFacts as CertificateFacts
    from rewarden.report.story import Story as Story

_HOME = {"CertificateFacts": "story", "Story": "story", "render": "page"}
__all__ = ["CertificateFacts", "Story", "render"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"rewarden.report.{_HOME[name]}"), name)
    raise AttributeError(f"module 'rewarden.report' has no attribute {name!r}")
