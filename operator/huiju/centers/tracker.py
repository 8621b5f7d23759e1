"""What one center holds for this hub, by job and epoch, and what is to be seen of each.

Decides when an observation changed; `observe.py` decides what it says. Invariants: an end is
remembered with its cause though the pods that told it are gone; a workload is called gone only
after it was seen and then seen deleted; what a write returned is never undone by an older event.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from huiju.centers.causes import Cause
from huiju.centers.faults import Ailing, codes_of, well
from huiju.centers.names import (
    HARDWARE_CODES,
    LABEL_EPOCH,
    LABEL_JOB_UID,
    MOST_EPOCH,
    ORIGIN,
    parse_epoch,
)
from huiju.centers.objects import Pod, Workload
from huiju.centers.observe import Observation, State, first_cause, observe, unsettled
from huiju.kube.informer import older

log = logging.getLogger(__name__)

_LATE: Final = 120.0
"""Seconds by which the stream of workloads may be behind that of pods: it is cut sooner if it is
silent. Pods whose workload does not show by then have none."""
Identity = tuple[str, int]
"""UID of a job and epoch."""


@dataclass(slots=True)
class Entry:
    """One epoch of a job in the center."""

    job_uid: str
    epoch: int
    workload: Workload | None = None
    pods: dict[str, Pod] = field(default_factory=dict)
    remembered: Cause | None = None
    trouble: str = ""
    """Why the center makes no pods, in its own words."""
    asks: int = 0
    """How often the center was asked for that."""
    ask_at: float = 0.0
    """Not asked again before this time."""
    removed: bool = False
    """The workload was there and was deleted."""
    since: float = 0.0
    """When anything was first seen of it."""
    seen: Observation | None = None


def identity_of(workload: Workload, hub_id: str) -> Identity | None:
    """Whose a workload is, by its origin; None if this hub did not make it."""
    parts = workload.note(ORIGIN).split("/")
    if len(parts) != 5 or parts[0] != hub_id:
        return None
    epoch = parse_epoch(parts[4])
    return None if epoch is None else (parts[3], epoch)


def identity_of_pod(pod: Pod) -> Identity | None:
    """Whose a pod is, by its labels, which its workload gave it."""
    labels = pod.metadata.labels or {}
    uid, epoch = labels.get(LABEL_JOB_UID), parse_epoch(labels.get(LABEL_EPOCH, ""))
    return None if not uid or epoch is None else (uid, epoch)


def _older(one: Workload, other: Workload) -> bool:
    """True if `one` is an earlier state of the very object that `other` is."""
    ours, theirs = one.metadata.resource_version, other.metadata.resource_version
    return one.metadata.uid == other.metadata.uid and older(ours, theirs)


def _context(entry: Entry) -> dict[str, object]:
    return {"job": entry.job_uid, "epoch": entry.epoch}


class Tracker:
    """Follows workloads and pods; single-threaded. Tells nothing until `start` is called."""

    def __init__(
        self,
        hub_id: str,
        on_observed: Callable[[Observation], None],
        clock: Callable[[], float] = time.time,
        ailing: Ailing = well,
    ) -> None:
        self._hub_id = hub_id
        self._on_observed = on_observed
        self._clock = clock
        self._ailing = ailing
        self._started = False
        self._entries: dict[str, dict[int, Entry]] = {}
        self._unsettled: dict[Identity, None] = {}

    # --- what is asked -------------------------------------------------------------------------

    def entry(self, uid: str, epoch: int) -> Entry | None:
        """What is known of one epoch of a job."""
        return self._entries.get(uid, {}).get(epoch)

    def __iter__(self) -> Iterator[Entry]:
        for epochs in list(self._entries.values()):
            yield from list(epochs.values())

    def observations_of(self, uid: str) -> tuple[Observation, ...]:
        """What is to be seen now of all epochs of a job; empty before everything was read."""
        entries = self._entries.get(uid)
        if entries is None or not self._started:
            return ()
        return tuple(self._observe_anyhow(entry) for entry in list(entries.values()))

    def held_epoch(self, uid: str, most: int = MOST_EPOCH) -> int:
        """The highest epoch of a job that the center holds, of those up to `most`; 0 for none."""
        return max((epoch for epoch in self._entries.get(uid, ()) if epoch <= most), default=0)

    def unsettled(self) -> list[Entry]:
        """Entries that may show something else though nothing in the center changes."""
        found = (self.entry(*identity) for identity in list(self._unsettled))
        return [entry for entry in found if entry is not None]

    # --- what is told --------------------------------------------------------------------------

    def start(self) -> None:
        """Everything was read once: tell what there is, and every change from now on."""
        self._started = True
        for entry in self:
            self.look(entry)

    def workload_changed(self, old: Workload | None, new: Workload | None) -> None:
        """The center's workload changed; None stands for not there."""
        if new is not None:
            self.note(new)
            return
        identity = identity_of(old, self._hub_id) if old is not None else None
        entry = self.entry(*identity) if identity is not None else None
        if entry is not None and old is not None:
            self.note_removed(entry, old.metadata.uid)

    def note(self, workload: Workload) -> None:
        """Take a workload as an event or a write's answer shows it."""
        identity = identity_of(workload, self._hub_id)
        if identity is None:
            return
        entry = self._made(identity)
        if entry.workload is not None and _older(workload, entry.workload):
            return
        entry.workload = workload
        entry.removed = False
        self.look(entry)

    def note_removed(self, entry: Entry, uid: str) -> None:
        """The workload of this UID is no longer there."""
        if entry.workload is not None and entry.workload.metadata.uid == uid:
            entry.workload = None
            entry.removed = True
            self.look(entry)

    def pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """A pod in the center changed; None stands for not there."""
        pod = new or old
        identity = identity_of_pod(pod) if pod is not None else None
        if pod is None or identity is None:
            return
        entry = self._made(identity)
        if new is not None:
            entry.pods[new.metadata.uid] = new
        else:
            entry.pods.pop(pod.metadata.uid, None)
            note = entry.workload.note(HARDWARE_CODES) if entry.workload is not None else ""
            entry.remembered = first_cause((pod,), entry.remembered, codes_of(note))
        self.look(entry)

    def look(self, entry: Entry) -> None:
        """Observe an entry anew and tell if that changed; forget it once nothing is left.

        An entry whose objects make no sense is logged, and waits for the next event.
        """
        if not self._started:
            return
        try:
            self._look(entry)
        except Exception:
            self._unsettled.pop((entry.job_uid, entry.epoch), None)
            log.exception("workload not understood", extra=_context(entry))

    # --- inside --------------------------------------------------------------------------------

    def _look(self, entry: Entry) -> None:
        seen = self._kept(entry, self._observe(entry))
        identity = (entry.job_uid, entry.epoch)
        if seen.state is State.GONE or not (entry.workload or entry.pods):
            self._forget(identity)
        elif unsettled(seen):
            self._unsettled[identity] = None
        else:
            self._unsettled.pop(identity, None)
        if seen != entry.seen:
            entry.seen = seen
            self._on_observed(seen)

    @staticmethod
    def _kept(entry: Entry, seen: Observation) -> Observation:
        """A machine that was at fault for an end is so also when its trouble is long forgotten."""
        before = entry.seen
        known = before is not None and before.state is seen.state and bool(before.fault_node)
        return before if known and before is not None and seen.state is State.FAILED else seen

    def _made(self, identity: Identity) -> Entry:
        uid, epoch = identity
        made = Entry(uid, epoch, since=self._clock())
        return self._entries.setdefault(uid, {}).setdefault(epoch, made)

    def _forget(self, identity: Identity) -> None:
        uid, epoch = identity
        self._unsettled.pop(identity, None)
        epochs = self._entries.get(uid, {})
        epochs.pop(epoch, None)
        if not epochs:
            self._entries.pop(uid, None)

    def _observe_anyhow(self, entry: Entry) -> Observation:
        try:
            return self._kept(entry, self._observe(entry))
        except Exception:
            log.exception("workload not understood", extra=_context(entry))
            return entry.seen or Observation(entry.job_uid, entry.epoch, State.PENDING, 0, 0)

    def _observe(self, entry: Entry) -> Observation:
        pods = tuple(entry.pods.values())
        early = self._clock() - entry.since < _LATE
        if entry.workload is None and not entry.removed and pods and early:
            # Its workload's event is still on its way: the pods' stream was the faster one.
            return Observation(entry.job_uid, entry.epoch, State.PENDING, 0, 0)
        return observe(
            entry.job_uid,
            entry.epoch,
            entry.workload,
            pods,
            self._clock(),
            remembered=entry.remembered,
            trouble=entry.trouble,
            ailing=self._ailing,
        )
