"""Which paths a data set may hold, and which patterns cover them.

Decides the rules alone, never touches a file. Invariant: a path that passes names one file below
whatever folder or prefix it is put under, on every store and file system that keeps case.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

RESERVED: Final = ".huiju"
"""Folder at the root of a data set that holds manifests and markers, never data."""
LONGEST: Final = 900
"""Bytes of a path: an object's key may have 1,024, prefix included."""
LONGEST_NAME: Final = 255
"""Bytes of one name, as file systems allow."""


class PathRefused(ValueError):
    """A path that no data set may hold; the message names it and has the cure."""


def check(path: str) -> str:
    """The path itself; raises PathRefused."""
    fault = _fault(path)
    if fault:
        raise PathRefused(f"{path[:120]!r}: {fault}")
    return path


def _fault(path: str) -> str:
    if path.isascii():
        if not path.isprintable():
            return "has control characters; rename it"
        size = len(path)
    else:
        if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in path):
            return "has control characters or is not UTF-8; rename it"
        if not unicodedata.is_normalized("NFC", path):
            return "is not in Unicode's normal form C; rename it to what `uconv -x nfc` makes of it"
        size = len(path.encode())
    if size > LONGEST:
        return f"is {size} bytes long, {LONGEST} are allowed; shorten it"
    if "\\" in path:
        return "has a backslash; rename it"
    for name in path.split("/"):
        if name in ("", ".", ".."):
            return "must be names between single slashes, without `.` and `..`"
        if len(name) * 4 > LONGEST_NAME and len(name.encode()) > LONGEST_NAME:
            return f"has a name longer than {LONGEST_NAME} bytes; shorten it"
    if path.startswith(f"{RESERVED}/") or path == RESERVED:
        return f"{RESERVED} is Huiju's own folder; rename it"
    return ""


def key(path: str) -> bytes:
    """What paths are ordered by: their UTF-8 bytes, as object stores list them."""
    return path.encode()


class Collisions:
    """Finds names that differ in case alone, from paths in their order.

    Such a set cannot be copied to a file system that ignores case. Holds the names of the folders
    on the way to the last path and no others: memory grows with the largest folder.
    """

    def __init__(self, keep: int = 8) -> None:
        self.count = 0
        self.examples: list[str] = []
        self._keep = keep
        self._names: list[str] = []
        self._seen: list[set[int]] = [set()]

    def add(self, path: str) -> None:
        """Take the next path."""
        names = path.split("/")
        same = 0
        for ours, theirs in zip(self._names, names, strict=False):
            if ours != theirs:
                break
            same += 1
        del self._seen[same + 1 :]
        for depth in range(same, len(names)):
            # A number for each name: a folder of a million files would not fit otherwise.
            folded = hash(names[depth].casefold())
            if folded in self._seen[depth]:
                self.count += 1
                if len(self.examples) < self._keep:
                    self.examples.append("/".join(names[: depth + 1]))
            self._seen[depth].add(folded)
            self._seen.append(set())
        self._names = names


@lru_cache(maxsize=256)
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    alternatives = (".*".join(re.escape(part) for part in each.split("*")) for each in patterns)
    return re.compile("|".join(f"(?:{each})" for each in alternatives), re.DOTALL)


def selects(include: Sequence[str], exclude: Sequence[str], path: str) -> bool:
    """Whether the path is covered by `include` (empty: all) and not by `exclude`.

    `*` stands for any characters, slashes among them.
    """
    if include and _compiled(tuple(include)).fullmatch(path) is None:
        return False
    return not exclude or _compiled(tuple(exclude)).fullmatch(path) is None


def ordered(paths: Iterable[str]) -> list[str]:
    """The paths in the order of a manifest."""
    return sorted(paths, key=key)
