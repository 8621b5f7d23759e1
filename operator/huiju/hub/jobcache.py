"""The hub's view of all jobs: the informer's store, corrected by the hub's own latest writes.

Decides which of two copies of a job is newer, so that the hub reads its own writes before its watch
brings them. Invariant: `get` never returns a copy older than the last write the hub made.
"""

from __future__ import annotations

from collections.abc import Iterator

from huiju.hub.objects import JobObject
from huiju.kube.informer import Informer


def version(job: JobObject) -> int:
    """The resource version as a number: comparable within one kind since Kubernetes 1.35."""
    text = job.metadata.resource_version
    return int(text) if text.isdecimal() and len(text) <= 20 else 0


def _same(one: JobObject, other: JobObject) -> bool:
    mine, theirs = one.metadata, other.metadata
    return (mine.uid, mine.resource_version) == (theirs.uid, theirs.resource_version)


class JobCache:
    """Jobs by `namespace/name`, and the key of each UID."""

    def __init__(self, informer: Informer[JobObject]) -> None:
        self._informer = informer
        self._written: dict[str, JobObject] = {}
        self._keys: dict[str, str] = {}

    @property
    def synced(self) -> bool:
        """Whether the first listing is complete."""
        return self._informer.synced.is_set()

    def get(self, key: str) -> JobObject | None:
        """The newest known copy, or None if there is no such job."""
        seen = self._informer.store.get(key)
        if seen is None:
            return None
        mine = self._written.get(key)
        if mine is None or mine.metadata.uid != seen.metadata.uid:
            return seen
        return mine if version(mine) > version(seen) else seen

    def by_uid(self, uid: str) -> JobObject | None:
        """The job with this UID, if the hub still has it."""
        key = self._keys.get(uid)
        found = self.get(key) if key is not None else None
        return found if found is not None and found.metadata.uid == uid else None

    def wrote(self, job: JobObject) -> None:
        """The hub's write made this copy."""
        self._written[job.key] = job

    def saw(self, old: JobObject | None, new: JobObject | None) -> bool:
        """The watch brought a change: forget what it overtakes.

        False if it is no news but the echo of the hub's own write: whoever wrote looks again.
        """
        current = new or old
        if current is None:
            return False
        key = current.key
        mine = self._written.get(key)
        echo = mine is not None and new is not None and _same(mine, new)
        if mine is not None and (new is None or version(new) >= version(mine)):
            del self._written[key]
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            self._keys.pop(old.metadata.uid, None)
        if new is not None:
            self._keys[new.metadata.uid] = key
        return not echo

    def __iter__(self) -> Iterator[JobObject]:
        for key in list(self._informer.store):
            job = self.get(key)
            if job is not None:
                yield job

    def __len__(self) -> int:
        return len(self._informer.store)
