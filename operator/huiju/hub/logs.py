"""What a worker of a job prints, read from the pod in its center.

Decides which pod and container are meant; changes nothing. Invariant: only pods that carry the
job's UID and epoch are read, so that nobody sees what another job prints.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, cast

from huiju.centers.names import LABEL_EPOCH, LABEL_JOB_UID
from huiju.kube.client import Client
from huiju.kube.errors import NotFound
from huiju.kube.resources import PODS

INDEX: Final = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker of one epoch of a job, where it runs."""

    namespace: str
    """Namespace in the center."""
    job_uid: str
    epoch: int
    index: int

    @property
    def selector(self) -> str:
        """The labels that only this worker's pods carry."""
        labels = {LABEL_JOB_UID: self.job_uid, LABEL_EPOCH: str(self.epoch), INDEX: self.index}
        return ",".join(f"{key}={value}" for key, value in labels.items())


async def worker_logs(
    client: Client, worker: Worker, *, follow: bool, tail: int | None
) -> AsyncIterator[bytes]:
    """The log of the worker's main container, as it comes while `follow`.

    Raises:
        NotFound: the pod is not there: not yet, or no more.
        BadRequest: the container has not started; the center's own words say why.
        Transient: the center does not answer, or the stream was cut.
    """
    pod = await _newest_pod(client, worker)
    params = {"container": str(pod["spec"]["containers"][0]["name"])}
    if follow:
        params["follow"] = "true"
    if tail is not None:
        params["tailLines"] = str(tail)
    path = PODS.path(worker.namespace, pod["metadata"]["name"], "log")
    chunks = client.stream(path, params)
    async with aclosing(cast(Any, chunks)):
        async for chunk in chunks:
            yield chunk


async def _newest_pod(client: Client, worker: Worker) -> dict[str, Any]:
    pods = (await client.list_all(PODS, worker.namespace, labels=worker.selector)).items
    if not pods:
        raise NotFound(
            404,
            "NotFound",
            f"center {client.name} has no pod of worker {worker.index} of this attempt"
            f" (epoch {worker.epoch}): it has not started, or was removed after the job's end",
            {"kind": "pods", "name": f"worker {worker.index}"},
        )
    return max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
