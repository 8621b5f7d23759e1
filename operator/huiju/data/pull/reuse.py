"""Files that are there already, in a finished copy of another version of the same data set.

Copies of one share lie beside each other in a store, and of no other share, so what is found here
tells nobody what others have. Decides which files are taken over: those that both manifests list
under one path with one digest. Invariants: a file is taken over only after its digest was found
right once more; it is linked, not copied, so it takes no room; memory does not grow with manifests.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from huiju.data import manifest, paths
from huiju.data.manifest import Entry, ManifestRefused, Reader
from huiju.data.pull.target import FolderTarget

MOST: int = 4
"""Copies that are looked at, the newest first."""


def others(target: FolderTarget) -> list[tuple[Path, Reader]]:
    """Finished copies beside the target, and what they list."""
    found = []
    for place in target.beside():
        marker = target.finished(place)
        if marker is None:
            continue
        digest = str(marker.get("digest"))
        listed = place / manifest.name_of(digest)
        try:
            manifest.expect(listed, digest)
            found.append((place, Reader(listed)))
        except (ManifestRefused, OSError):
            continue  # it is not what its marker says: nothing is taken from there
        if len(found) == MOST:
            break
    return found


def common(wanted: Reader, other: Reader) -> Iterator[tuple[int, int, Entry]]:
    """Files that both list: number, number of the first part, and entry, as `wanted` counts them.

    Both are ordered by path, so one look at each is enough.
    """
    theirs = iter(other)
    beside = next(theirs, None)
    part = 0
    for number, entry in enumerate(wanted):
        key = paths.key(entry.path)
        while beside is not None and paths.key(beside.path) < key:
            beside = next(theirs, None)
        if beside is None:
            return
        same = beside.path == entry.path and beside.size == entry.size
        if same and entry.size and beside.sha256 == entry.sha256:
            yield number, part, entry
        part += max(1, len(entry.parts))
