"""Which transitions people are told of as Kubernetes Events, and in what words.

Decides reason, type and wording; the recorder decides whether there is room. Invariant: an event
is about a change that has been written, never about an intention.
"""

from __future__ import annotations

from typing import Any

from huiju.api.meta import GROUP, VERSION
from huiju.api.reasons import Reason
from huiju.hub.objects import JobObject
from huiju.telemetry.events import EventRecorder, Subject

API_VERSION = f"{GROUP}/{VERSION}"
Fields = dict[str, Any]

QUIET = frozenset({Reason.PLACED, Reason.DISPATCHED, Reason.RUNNING, Reason.SUCCEEDED})
CALM = QUIET | {Reason.QUEUED, Reason.SUSPENDED, Reason.CANCELLED, Reason.ACCEPTED}
WAITS = frozenset(
    {
        Reason.NO_CENTER,
        Reason.BEHIND_OTHERS,
        Reason.QUEUE_CEILING,
        Reason.QUEUE_OVER_SHARE,
        Reason.QUEUE_STOPPED,
        Reason.BACKING_OFF,
    }
)


class Announcer:
    """Turns written transitions into events."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder

    def transition(self, job: JobObject, before: str) -> None:
        """A job's reason changed from `before` to what its status now says."""
        reason = job.status.reason
        if not reason or reason == before:
            return
        meta = job.metadata
        subject = Subject(API_VERSION, "CrossRegionJob", meta.name, meta.uid, meta.namespace)
        self._recorder.record(
            subject,
            reason,
            job.status.message or reason,
            action="Schedule" if reason in WAITS or reason == Reason.PLACED else "Follow",
            warning=reason not in CALM and reason not in WAITS,
        )

    def center(self, name: str, uid: str, before: Fields, after: Fields) -> None:
        """A ComputeCenter's status was written: tell where it became ready or ceased to be, and
        which nodes are set aside now."""
        subject = Subject(API_VERSION, "ComputeCenter", name, uid)
        was, now = _ready(before), _ready(after)
        if now is not None and not (was and was.get("status") == now["status"]):
            self._recorder.record(
                subject,
                str(now["reason"]),
                str(now.get("message") or now["reason"]),
                action="Connect",
                warning=now["status"] != "True",
            )
        known = _set_aside(before)
        for node, until in _set_aside(after).items():
            if node not in known:
                self._recorder.record(
                    subject,
                    str(Reason.HARDWARE_FAULT),
                    f"Node {node} is set aside until {until}: its hardware failed under several"
                    " jobs.",
                    action="SetAside",
                    warning=True,
                )


def _ready(status: Fields) -> Fields | None:
    conditions = status.get("conditions") or []
    return next((c for c in conditions if c.get("type") == "Ready"), None)


def _set_aside(status: Fields) -> dict[str, str]:
    faulty = status.get("faultyNodes") or []
    return {n["node"]: n["setAsideUntil"] for n in faulty if n.get("setAsideUntil")}
