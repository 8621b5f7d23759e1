"""What is kept of an attempt before: which parts are there, and which files may be written into.

A file is gone on with where nobody else can write into it: the attempt before is gone, of this boot
of the machine, and no finished copy has the same file. Otherwise its parts are put into a new one.
Decides that part by part and file by file. Invariant: after `keep` nothing in staging can be
written to by another, whenever it wakes up.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from huiju.data.manifest import Entry, Reader, pieces
from huiju.data.pull.partlog import PartLog, boot_name
from huiju.data.pull.target import FolderTarget


def keep(target: FolderTarget, reader: Reader, log: PartLog, *, repair: bool) -> None:
    """Make the log say what is there; `repair` reads all, for a finished copy; raises OSError."""
    boot = boot_name()
    log.open(boot)
    read = repair or not log.trusted
    # A log of another boot tells of a machine whose locks are not seen from here.
    sure = not read and not target.doubtful
    kept, lost = array("Q"), False
    for entry, first in _files(reader):
        found = _found(target, reader, entry, first, log, read=read, repair=repair)
        parts = range(first, first + max(1, len(entry.parts)))
        if len(found) == len(parts) and all(part in log for part in parts):
            kept.extend(found)  # whoever wrote it has nothing left to write into it
        elif found and sure and target.go_on(entry.path):
            kept.extend(found)
        elif found:
            every = list(pieces(entry, reader.part))
            if target.renew(entry, (every[part - first] for part in found)):
                kept.extend(found)
            else:
                lost = True
            if len(found) == len(parts):
                target.whole(entry.path)
    if sure and not lost:
        log.go_on(boot)
        return
    log.replace(boot, kept)
    target.settle()


def _files(reader: Reader) -> Iterator[tuple[Entry, int]]:
    """Each file with the number of its first part."""
    first = 0
    for entry in reader:
        yield entry, first
        first += max(1, len(entry.parts))


def _found(
    target: FolderTarget,
    reader: Reader,
    entry: Entry,
    first: int,
    log: PartLog,
    *,
    read: bool,
    repair: bool,
) -> list[int]:
    """Numbers of the file's parts that are there."""
    return [
        part
        for part, piece in enumerate(pieces(entry, reader.part), first)
        if (repair or part in log) and (not read or target.holds(entry, piece, target.staging))
    ]
