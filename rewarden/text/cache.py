"""Where vectors of texts are kept."""

from __future__ import annotations

import os
from pathlib import Path


def vectors_folder() -> Path:
    """Below XDG_CACHE_HOME, or ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home and Path(home).is_absolute() else Path.home() / ".cache") / "rewarden" / "text"
