"""The editor: artifact × failed obligation → new artifact, with a statement of what the edit guarantees.

Read in this order: `region` (the polytopes where a rule's premise holds), `ring` (their rows as binary32 numbers, with
the rounding that the theorem needs), `patch` (a ceiling or floor on such a region), `mend` (patch until the rules are
proved, or say why not), `methods` (the other ways to mend, and which is taken), `drift` (what an edit moved, on data),
`history` (taking edits back, joining and merging them), `unlearn` (forgetting rows). May import `spec_lang`, `reward`
and `verifier`; knows nothing of files, screens or signatures.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewarden.editor.drift import Drift as Drift
    from rewarden.editor.drift import drift as drift
    from rewarden.editor.mend import EditReport as EditReport
    from rewarden.editor.mend import PatchResult as PatchResult
    from rewarden.editor.patch import PatchOptions as PatchOptions

_HOME = {
    "Drift": "drift",
    "EditReport": "mend",
    "PatchOptions": "patch",
    "PatchResult": "mend",
    "drift": "drift",
}
__all__ = ["Drift", "EditReport", "PatchOptions", "PatchResult", "drift"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"rewarden.editor.{_HOME[name]}"), name)
    raise AttributeError(f"module 'rewarden.editor' has no attribute {name!r}")
