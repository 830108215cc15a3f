"""What a run of CI has found once and need not find again: kept under a name that covers all that decides it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from rewarden.spec_lang.canonical import canonical_json, digest_of

if TYPE_CHECKING:
    from rewarden.verdict_cache import VerdictCache

_T = TypeVar("_T")


def kept_or_found(
    cache: VerdictCache,
    said: dict[str, Any],
    find: Callable[[], _T],
    write: Callable[[_T], Any],
    read: Callable[[Any], _T],
) -> _T:
    """What is kept of what is `said`, read again, or what is found now, and kept. `said` names its own format.

    What `write` gives is JSON; None is not kept. What cannot be read is told of, and found anew.
    """
    key = digest_of(canonical_json(said))
    told: Any = cache.get(key)
    if told is not None:
        try:
            content = told["content"]
            if (told["format"], told["key"]) != (said["format"], key) or told["digest"] != _digest(content):
                raise ValueError("it is about something else")
            return read(content)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            cache.damaged(key, f"{type(error).__name__}: {error}")
    found = find()
    content = write(found)
    if content is not None:
        cache.put(key, {"format": said["format"], "key": key, "content": content, "digest": _digest(content)})
    return found


def _digest(content: object) -> str:
    return digest_of(canonical_json(content))
