"""A job's whole spec from the cache, where its template's body is still at hand.

Decides nothing. Invariant: what comes from here equals what a read of the same generation would
give; where that is not sure there is None, and the job is read again.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from huiju.centers.jobview import (
    JobView,
    ViewAlternative,
    ViewCarry,
    ViewCheckpoint,
    ViewData,
    ViewFailover,
    ViewLaunch,
    ViewMeta,
    ViewOutput,
    ViewPlacement,
    ViewProgress,
    ViewProgressHttp,
    ViewRetry,
    ViewSpec,
)
from huiju.hub.objects import JobObject
from huiju.hub.templates import BODIES

T = TypeVar("T")


def view_of(job: JobObject) -> JobView | None:
    """The job as rendering reads it, without a call; None if its template's body is not held."""
    meta, spec = job.metadata, job.spec
    body = BODIES.get(spec.pods.digest)
    if body is None or spec.pods.error:
        return None
    return JobView(
        ViewMeta(meta.name, meta.uid, meta.namespace, meta.resource_version, meta.generation),
        ViewSpec(
            tuple(ViewAlternative(a.model, a.per_worker, a.image) for a in spec.accelerators),
            msgspec.json.decode(body),
            spec.workers,
            spec.max_runtime,
            _said(spec.launch, ViewLaunch) or ViewLaunch(),
            _said(spec.data, tuple[ViewData, ...]) or (),
            carry_of(job),
            ViewPlacement(dict(spec.placement.node_selector)),
            spec.scheduling_deadline,
            spec.ready_deadline,
            ViewFailover(spec.failover.policy),
            _checkpoint(job),
            ViewOutput(spec.output.directory) if spec.output else None,
            _progress(job),
            ViewRetry(spec.retry.hardware_exit_codes),
        ),
    )


def _progress(job: JobObject) -> ViewProgress | None:
    told = job.spec.progress
    if told is None:
        return None
    http = ViewProgressHttp(told.http.port, told.http.path) if told.http else None
    return ViewProgress(told.deadline, told.start_deadline, told.file, http)


def _checkpoint(job: JobObject) -> ViewCheckpoint | None:
    saved = job.spec.checkpoint
    return ViewCheckpoint(saved.directory, saved.marker) if saved else None


def carry_of(job: JobObject) -> ViewCarry:
    """What travels with the job."""
    return _said(job.spec.carry, ViewCarry) or ViewCarry()


def _said(text: object, wanted: type[T]) -> T | None:
    """A part of the spec that the cache keeps as JSON text."""
    return msgspec.json.decode(str(text), type=wanted) if text else None
