"""What people ask the hub about one job: why it waits, where it could run, what it prints.

Answers from the scheduler's own state and from the centers; changes nothing. Invariant: an answer
is given for a job that the caller named by namespace and name; who may ask is decided before.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import msgspec
from pydantic import ValidationError

from huiju.api.job import CrossRegionJobSpec
from huiju.api.reasons import Reason
from huiju.hub import withdrawal
from huiju.hub.clock import stamp
from huiju.hub.datasets.search import search as find_datasets
from huiju.hub.datasets.telling import data_fields
from huiju.hub.hub import Hub
from huiju.hub.intake import job_of
from huiju.hub.logs import Worker, worker_logs
from huiju.hub.objects import JobObject
from huiju.hub.status import finished
from huiju.kube.errors import BadRequest, Invalid, NotFound, Transient
from huiju.scheduling.cordon import Displaced
from huiju.scheduling.model import Candidate, Explanation, Refusal, Trace

Fields = dict[str, Any]


class View:
    """Implements the questions of the view API on a running hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def why(self, namespace: str, name: str) -> Fields | None:
        """Where the job stands and what each center says to it."""
        job = self._hub.jobs.get(f"{namespace}/{name}")
        if job is None:
            return None
        answer: Fields = {
            "job": job.key,
            "queue": job.spec.queue,
            "phase": job.status.phase or "Queued",
            "reason": job.status.reason or Reason.QUEUED,
            "message": job.status.message,
            "centers": [],
        }
        if job.status.placement is not None:
            answer["placement"] = {
                "center": job.status.placement.center,
                "epoch": job.status.placement.epoch,
                "model": job.status.placement.model,
            }
        stops = withdrawal.told(job.status)
        if stops is not None:
            answer["stops"] = stops
        if job.spec.data:
            hub = self._hub
            answer["data"] = data_fields(hub.needs, hub.links, hub.sites, job, time.time())
        if job.status.placement is None and not finished(job.status):
            explained = self._hub.core.explain(job.metadata.uid, time.time())
            if explained is not None:
                answer |= explanation_fields(explained)
        return answer

    async def logs(
        self, namespace: str, name: str, *, worker: int, follow: bool, tail: int | None
    ) -> AsyncIterator[bytes]:
        """What a worker of the job prints, from its center; `tail`: only so many last lines first.

        Raises:
            NotFound: no such job, no placement yet, or the worker's pod is gone.
            BadRequest: no such worker, or its container has not started.
            Transient: the center cannot be asked now.
        """
        details = {"group": "huiju.dev", "kind": "crossregionjobs", "name": name}
        job = self._hub.jobs.get(f"{namespace}/{name}")
        if job is None:
            raise NotFound(
                404, "NotFound", f'crossregionjobs.huiju.dev "{name}" not found', details
            )
        placement = job.status.placement
        if placement is None:
            raise NotFound(
                404,
                "NotFound",
                f"job {name} has not been placed yet, so it has printed nothing;"
                f" kubectl huiju why {name} tells what it waits for",
                details,
            )
        if worker >= job.spec.workers:
            raise BadRequest(
                400, "BadRequest", f"job {name} has workers 0 to {job.spec.workers - 1}", {}
            )
        site = self._hub.sites.get(placement.center)
        if site is None:
            raise Transient(f"the hub knows no center {placement.center}")
        which = Worker(placement.namespace, job.metadata.uid, placement.epoch, worker)
        chunks = worker_logs(site.client, which, follow=follow, tail=tail)
        async with aclosing(cast(Any, chunks)):
            async for chunk in chunks:
                yield chunk

    async def whatif(self, namespace: str, manifest: Fields) -> Fields:
        """Where and when a job of this manifest would run, were it submitted now.

        Raises:
            Invalid: the manifest is no job that the API server would take.
        """
        spec = _checked(manifest)
        body = {
            "metadata": {
                "name": (manifest.get("metadata") or {}).get("name") or "whatif",
                "namespace": namespace,
                "uid": "whatif",
                "creationTimestamp": stamp(time.time()),
            },
            "spec": spec,
        }
        job = msgspec.json.decode(msgspec.json.encode(body), type=JobObject)
        asked = job_of(job, self._hub.needs.of(job), self._hub.experience.of(job))
        explained = self._hub.core.whatif(asked, time.time())
        return {"job": job.key, "queue": job.spec.queue, **explanation_fields(explained)}

    async def datasets(self, namespace: str, search: str, labels: dict[str, str]) -> list[Fields]:
        """The data sets that a namespace may ask for; of others nothing is told."""
        hub, now = self._hub, time.time()
        return find_datasets(hub.catalog, hub.models.of, namespace, search, labels, now)

    async def cordon(self, center: str) -> Fields:
        """What cordoning a center would do to the jobs that are known now.

        Raises:
            NotFound: there is no such center.
        """
        effect = self._hub.core.whatif_cordon(center, time.time())
        if effect is None:
            details = {"group": "huiju.dev", "kind": "computecenters", "name": center}
            message = f'computecenters.huiju.dev "{center}" not found'
            raise NotFound(404, "NotFound", message, details)
        return {
            "center": effect.center,
            "closed": effect.closed,
            "running": [_displaced(each) for each in effect.running],
            "waiting": [_displaced(each) for each in effect.waiting],
            "omitted": effect.omitted,
        }


def _checked(manifest: Fields) -> Fields:
    """The spec as written, once the model takes it; the model says what is wrong otherwise."""
    try:
        CrossRegionJobSpec.model_validate(manifest.get("spec") or {})
    except ValidationError as error:
        problems = "; ".join(
            f"spec.{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise Invalid(422, "Invalid", problems, {}) from None
    return cast(Fields, manifest["spec"])


def explanation_fields(explained: Explanation) -> Fields:
    """An explanation as the view API answers it."""
    answer: Fields = {
        "position": explained.position,
        "ahead": explained.ahead,
        "reason": explained.reason,
        "message": explained.message,
        "centers": _centers(explained.trace),
        "basis": explained.basis,
    }
    if explained.predicted_start is not None:
        answer["predictedStart"] = stamp(explained.predicted_start)
    if explained.predicted_center:
        answer["predictedCenter"] = explained.predicted_center
    if explained.runtime is not None:
        answer["expectedRuntime"] = round(explained.runtime, 1)
    answer["expectedRuntimeBasis"] = explained.runtime_basis
    if explained.expected is not None:
        answer["expected"] = _scored(explained.expected)
    return answer


def _displaced(each: Displaced) -> Fields:
    answer: Fields = {
        "job": each.job.name,
        "equal": each.equal,
        "center": each.center,
        "basis": each.basis,
    }
    if each.before is not None:
        answer["before"] = stamp(each.before)
    if each.at is not None:
        answer["at"] = stamp(each.at)
    return answer


def _centers(trace: Trace) -> list[Fields]:
    rows: list[Fields] = [_scored(each) | {"verdict": "Fits"} for each in trace.candidates]
    rows.extend(_refused(r) for r in trace.refusals)
    return rows


def _scored(each: Candidate) -> Fields:
    """What a start in a center costs, now or later."""
    return {
        "center": each.center,
        "alternative": each.alternative,
        "score": round(each.score, 1),
        "terms": [{"name": t.name, "seconds": round(t.seconds, 1)} for t in each.terms],
    }


def _refused(refusal: Refusal) -> Fields:
    row: Fields = {
        "center": refusal.center,
        "verdict": "Refused",
        "reason": refusal.reason,
        "message": refusal.message,
    }
    if refusal.alternative is not None:
        row["alternative"] = refusal.alternative
    return row
