"""Which files a run is made from, with digests of what was read of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from rewarden.ci.unchanged import Read, all_files, as_it_is
from rewarden.reward.artifact import Artifact
from rewarden.reward.store import MANIFEST, TENSORS
from rewarden.spec_lang.analysis import analyse
from rewarden.spec_lang.canonical import digest_of
from rewarden.spec_lang.parser import decode
from rewarden.spec_lang.spec import Spec
from rewarden.spec_lang.uses import read_file

_QUOTED = re.compile(r'"([^"\n]+)"')


def read_spec(path: Path, params: Mapping[str, object], allow: tuple[Path, ...]) -> tuple[Spec, list[Read]]:
    """As `load_spec`, with the files of text that were read, the spec itself and those that it uses.

    Used files and data are read where links lead. So whatever a text names in quotes and is a file is listed under
    that name as well, as it is before it is read: a link that leads elsewhere by then is a change.
    """
    files: list[Read] = []

    def reading(place: Path) -> bytes:
        data = read_file(place)
        files.append(Read(place, sha256(data).hexdigest()))
        for name in _QUOTED.findall(data.decode("utf-8", "replace")):
            if os.path.isfile(place.parent / name):  # which takes no text for a reason to fail
                files.append(as_it_is(place.parent / name))
        return data

    source = decode(reading(path), path.name)
    found = analyse(source, params=params, base=path.parent, allow=allow, read=reading, path=path)
    return found.require_spec(), files


def before(spec: Spec, texts: Iterable[Read], rewards: Iterable[Path], text: Mapping[str, Any]) -> list[Read]:
    """What is going to be read beside the files of text, as it is now: data, artifacts, what texts are encoded with."""
    listed = {os.path.abspath(one.path) for one in texts}
    data = [(spec.base or Path()) / one.path for one in spec.data.values()]
    places = [place for place in data if os.path.abspath(place) not in listed]
    for place in rewards:
        places += [place / MANIFEST, place / TENSORS] if place.is_dir() else [place]
    for name in ("encoder", "paraphrases"):
        if name in text:
            places += all_files(text[name])
    return [as_it_is(place) for place in dict.fromkeys(places)]


def read_of(spec: Spec, artifacts: Mapping[Path, Artifact]) -> Iterator[Read]:
    """What was read of data and of artifacts in folders, by the digests that these have of it."""
    for (name, _), table in spec.tables.items():
        yield Read(spec._data_path(spec.data[name]), _hex(table.bytes_digest))
    for place, artifact in artifacts.items():
        if place.is_dir():
            yield Read(place / MANIFEST, _hex(artifact.digest))
            yield Read(place / TENSORS, _hex(digest_of(artifact.tensors_bytes)))


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
