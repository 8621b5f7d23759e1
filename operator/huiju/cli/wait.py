"""Waiting for jobs to reach their end, telling what happens on the way.

Decides when a job has ended: its Complete or Failed condition. Invariant: the exit code is 0 only
if every job completed.
"""

from __future__ import annotations

import time
from typing import Any

from huiju.cli.failures import ERROR, OK, Failure, UsageError
from huiju.cli.session import Session
from huiju.cli.table import condition, dig

Fields = dict[str, Any]


def ended(job: Fields) -> bool | None:
    """True if the job completed, False if it failed or was cancelled, None while it goes on."""
    if condition(job, "Complete").get("status") == "True":
        return True
    return False if condition(job, "Failed").get("status") == "True" else None


def refused(job: Fields) -> bool:
    """Whether the job as written cannot run: waiting for it would never end."""
    return condition(job, "Accepted").get("status") == "False"


def wait_all(session: Session, jobs: list[Fields], timeout: str | None) -> int:
    """Follow each job to its end; returns 1 if any did not complete."""
    deadline = None
    if timeout:
        from huiju.api.durations import parse_duration

        try:
            deadline = time.monotonic() + parse_duration(timeout)
        except ValueError as error:
            raise UsageError(f"--timeout: {error}") from error
    results = [_wait(session, job, deadline) for job in jobs]
    return OK if all(results) else ERROR


def _wait(session: Session, job: Fields, deadline: float | None) -> bool:
    from huiju.kube.errors import Gone, NotFound, Transient
    from huiju.kube.resources import CROSS_REGION_JOBS

    meta = job["metadata"]
    name, namespace, uid = meta["name"], meta["namespace"], meta["uid"]
    told = ""
    version = meta["resourceVersion"]
    while True:
        told = _tell(session, job, told)
        end = ended(job)
        if end is not None:
            return end
        if refused(job):
            raise Failure(f"job {namespace}/{name} cannot run as it is written: {_said(job)}")
        try:
            change = _next(session, name, namespace, version, deadline)
            if change is not None:
                kind, job = change
                version = job["metadata"]["resourceVersion"]
                if kind == "DELETED" or job["metadata"]["uid"] != uid:
                    raise Failure(f"job {namespace}/{name} was deleted before its end")
        except (Gone, Transient):
            time.sleep(1.0)
            try:
                job = session.api.get(CROSS_REGION_JOBS, name, namespace)
            except NotFound:
                raise Failure(f"job {namespace}/{name} was deleted before its end") from None
            except Transient as error:
                session.note(f"{error}; trying again")
                continue
            version = job["metadata"]["resourceVersion"]
        if deadline is not None and time.monotonic() >= deadline:
            raise Failure(f"job {namespace}/{name} has not ended in time; it goes on: {told}")


def _next(
    session: Session, name: str, namespace: str, version: str, deadline: float | None
) -> tuple[str, Fields] | None:
    """The next change of one job, or None if the watch ended first."""
    from huiju.kube.resources import CROSS_REGION_JOBS

    seconds = 300.0 if deadline is None else max(1.0, deadline - time.monotonic())
    for change in session.api.watch(
        CROSS_REGION_JOBS,
        namespace,
        version=version,
        fields=f"metadata.name={name}",
        seconds=min(seconds, 300.0),
    ):
        if change[0] != "BOOKMARK":
            return change
    return None


def _tell(session: Session, job: Fields, told: str) -> str:
    """Say on stderr where the job stands, if that is new."""
    said = _said(job)
    if said != told:
        session.note(f"{job['metadata']['namespace']}/{job['metadata']['name']}: {said}")
    return said


def _said(job: Fields) -> str:
    phase = dig(job, "status", "phase") or "Submitted"
    center = dig(job, "status", "placement", "center")
    reason, message = dig(job, "status", "reason"), dig(job, "status", "message")
    parts = [phase if reason in (None, phase) else f"{phase} ({reason})"]
    if center and phase not in ("Queued",):
        parts.append(f"in {center}")
    return " ".join(parts) + (f": {message}" if message else "")
