"""What hub and agent of a pull center write to each other, as both read it.

Decides names in the mailbox and the words of a report. Invariant: a report says no more and no
less than the observation that it was made of; what a center wrote and makes no sense is no
observation.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from huiju.api.mailbox import MAILBOX_PREFIX
from huiju.api.meta import GROUP
from huiju.api.reasons import Reason
from huiju.centers.causes import Failure, when
from huiju.centers.objects import Meta
from huiju.centers.observe import Observation, State

Fields = dict[str, Any]
LEASE: Final = "huiju-agent"
"""Name of the Lease in the mailbox by which the agent tells that it is alive."""
CENTER_UID: Final = f"{GROUP}/center-uid"
CENTER_VERSION: Final = f"{GROUP}/kubernetes-version"
PUBLISHED: Final = f"{GROUP}/published"
"""Annotation of the Lease: `true` once all that the center holds lies in the mailbox."""
RUN: Final = "Run"
STOP: Final = "Stop"
REMOVE: Final = "Remove"
_LONGEST_NODE: Final = 253
_REASONS: Final = frozenset(reason.value for reason in Reason)
_STATES: Final = frozenset(state.value for state in State)
_FAILURES: Final = {failure.name.lower(): failure for failure in Failure}


def mailbox_of(center: str) -> str:
    """The namespace on the hub that is the center's mailbox."""
    return f"{MAILBOX_PREFIX}{center}"


class Carried(msgspec.Struct, gc=False):
    """A Secret or ConfigMap that lies in the mailbox as itself."""

    kind: str
    mailbox: str
    name: str


class Attempt(msgspec.Struct, rename="camel", gc=False):
    """One epoch, and what the hub wants of it; without its objects, which are read when needed."""

    epoch: int
    desired: str = RUN
    reason: str = ""
    message: str = ""
    namespace: str = ""
    workload: str = ""
    placement: str = ""
    carried: tuple[Carried, ...] = ()


class FullAttempt(Attempt):
    """One epoch with its objects."""

    objects: tuple[Fields, ...] = ()


class Report(msgspec.Struct, rename="camel", gc=False, omit_defaults=True):
    """What a center shows of one epoch."""

    epoch: int
    state: str
    ready: int = 0
    bound: int = 0
    reason: str = ""
    message: str = ""
    failure: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    since: str | None = None
    placement: str = ""
    fault_node: str = ""
    fault_claimed: bool = False


class WorkJob(msgspec.Struct, gc=False):
    """Whose work it is."""

    namespace: str
    name: str


class WorkSpec(msgspec.Struct, gc=False):
    """The hub's part."""

    job: WorkJob
    attempts: tuple[Attempt, ...] = ()


class WorkCondition(msgspec.Struct, rename="camel", gc=False):
    """The Synced condition as far as it is compared."""

    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""


class WorkStatus(msgspec.Struct, rename="camel", gc=False):
    """The agent's part."""

    observed_generation: int = 0
    conditions: tuple[WorkCondition, ...] = ()
    attempts: tuple[Report, ...] = ()


class Work(msgspec.Struct, gc=False):
    """A CenterWork without the objects of its bundles."""

    metadata: Meta
    spec: WorkSpec
    status: WorkStatus = msgspec.field(default_factory=WorkStatus)

    def attempt(self, epoch: int) -> Attempt | None:
        """What the hub wants of one epoch."""
        return next((a for a in self.spec.attempts if a.epoch == epoch), None)

    def report(self, epoch: int) -> Report | None:
        """What the agent said of one epoch."""
        return next((r for r in self.status.attempts if r.epoch == epoch), None)


class FullSpec(msgspec.Struct, gc=False):
    """The hub's part with all objects."""

    job: WorkJob
    attempts: tuple[FullAttempt, ...] = ()


class FullWork(msgspec.Struct, gc=False):
    """A CenterWork with the objects of its bundles."""

    metadata: Meta
    spec: FullSpec


# --- reports --------------------------------------------------------------------------------------


def report_of(seen: Observation) -> Report:
    """The report of an observation."""
    return Report(
        epoch=seen.epoch,
        state=seen.state.value,
        ready=seen.ready,
        bound=seen.bound,
        reason=str(seen.reason or ""),
        message=seen.message[:1024],
        failure=seen.failure.name.lower() if seen.failure is not None else "",
        started_at=stamp(seen.started_at),
        finished_at=stamp(seen.finished_at),
        since=stamp(seen.since or None),
        placement=seen.placement,
        fault_node=seen.fault_node,
        fault_claimed=seen.fault_claimed,
    )


def observation_of(uid: str, report: Report) -> Observation | None:
    """The observation that a report was made of; None if it makes no sense."""
    if report.state not in _STATES:
        return None
    return Observation(
        job_uid=uid,
        epoch=report.epoch,
        state=State(report.state),
        ready=report.ready,
        bound=report.bound,
        reason=Reason(report.reason) if report.reason in _REASONS else None,
        message=report.message,
        failure=_FAILURES.get(report.failure),
        started_at=_time(report.started_at),
        finished_at=_time(report.finished_at),
        since=_time(report.since) or 0.0,
        placement=report.placement,
        fault_node=report.fault_node[:_LONGEST_NODE],
        fault_claimed=report.fault_claimed,
    )


def _time(text: str | None) -> float | None:
    """A time that a center wrote, None where it is none."""
    try:
        return when(text)
    except ValueError:
        return None


def stamp(seconds: float | None) -> str | None:
    """RFC 3339 with microseconds, so that nothing is lost on the way."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
