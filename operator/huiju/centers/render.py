"""From a job and its placement to the objects that run it in a center.

Pure. Decides the kinds of objects and their order; `pods.py` decides the pods. Invariants: the
same job, target and carried objects give the same bundle; a workload is tried once (a failed
worker ends the attempt, and each attempt is a new epoch); a single-pod job that carries nothing
is one object.
"""

from __future__ import annotations

import math

from huiju.api.durations import parse_duration
from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle, KubeDict
from huiju.centers.carried import Names, copies
from huiju.centers.jobview import JobView, ViewCarry
from huiju.centers.names import (
    DEPENDENTS,
    FAILOVER,
    GUARDED,
    HARDWARE_CODES,
    ORIGIN,
    READY_DEADLINE,
    SCHEDULING_DEADLINE,
    UNGUARDED,
    Origin,
    carried_name,
    center_namespace,
    workload_name,
)
from huiju.centers.pods import Target, pod_template
from huiju.centers.refusals import DispatchRefused, RenderRefused
from huiju.guard.terms import CODES, GUARD
from huiju.kube.resources import CONFIG_MAPS, SECRETS, SERVICES, Resource
from huiju.scheduling.filter import kind_message

__all__ = ["DispatchRefused", "JobView", "RenderRefused", "Target", "needed_names", "render"]

PLURALS = {r.kind: r.plural for r in (CONFIG_MAPS, SECRETS, SERVICES)}


def render(job: JobView, target: Target) -> Bundle:
    """The bundle of one placement.

    Raises:
        RenderRefused: the job cannot be run as it is written, wherever it would be.
        DispatchRefused: this center does not take it; another may.
    """
    if {data.mount_path for data in job.spec.data} != {mount.path for mount in target.mounts}:
        raise DispatchRefused(
            Reason.STAGING, f"Center {target.center} has not all data sets of spec.data."
        )
    meta = job.metadata
    origin = Origin(target.hub_id, meta.namespace, meta.name, meta.uid, target.epoch)
    mappings = {m.hub: m.center for m in target.sharing.namespace_mappings}
    namespace = center_namespace(target.hub_id, meta.namespace, mappings)
    workload = workload_name(meta.name, meta.uid, target.epoch)
    names = Names(target.carried, workload)
    needed = list(copies(target.carried, names, origin, namespace))
    if job.spec.workers > 1:
        needed.append(_service(workload, namespace, origin, job.spec.launch.port))
    for one in needed:
        if one["kind"] not in target.sharing.kinds:
            raise DispatchRefused(Reason.SHARING_POLICY, kind_message(one["kind"]))
    return Bundle(
        job_uid=meta.uid,
        namespace=meta.namespace,
        name=meta.name,
        epoch=target.epoch,
        center=target.center,
        center_namespace=namespace,
        workload=workload,
        objects=(*needed, _workload(job, target, origin, namespace, workload, needed)),
        guarded=target.lease is not None,
    )


def needed_names(carry: ViewCarry, workers: int, workload: str) -> list[tuple[Resource, str]]:
    """What `render` makes for a workload beside it, by kind and name; nothing is read for that."""
    named = [(CONFIG_MAPS, name) for name in carry.config_maps]
    named += [(SECRETS, name) for name in (*carry.secrets, *carry.image_pull_secrets)]
    found = [(res, carried_name(workload, name)) for res, name in dict.fromkeys(named)]
    return found + ([(SERVICES, workload)] if workers > 1 else [])


def _metadata(name: str, namespace: str, origin: Origin) -> KubeDict:
    return {
        "name": name,
        "namespace": namespace,
        "labels": origin.labels(),
        "annotations": {ORIGIN: str(origin)},
    }


def _service(workload: str, namespace: str, origin: Origin, port: int) -> KubeDict:
    """Gives the workers names; also before they are ready, since they wait for each other."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(workload, namespace, origin),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": origin.selector(),
            "ports": [{"name": "rendezvous", "port": port}],
        },
    }


def _workload(
    job: JobView,
    target: Target,
    origin: Origin,
    namespace: str,
    workload: str,
    needed: list[KubeDict],
) -> KubeDict:
    notes = {
        SCHEDULING_DEADLINE: job.spec.scheduling_deadline,
        READY_DEADLINE: job.spec.ready_deadline,
    }
    if job.spec.retry.hardware_exit_codes:
        notes[HARDWARE_CODES] = ",".join(map(str, job.spec.retry.hardware_exit_codes))
    if needed:
        # Who removes the workload must find them again by name: Secrets cannot be listed.
        found = (f"{PLURALS[one['kind']]}/{one['metadata']['name']}" for one in needed)
        notes[DEPENDENTS] = ",".join(found)
    rules = [_DISRUPTION_ENDS_THE_ATTEMPT]
    if target.lease is not None or job.spec.progress is not None:
        rules.append(_THE_GUARD_ENDS_THE_ATTEMPT)
    workers = job.spec.workers
    spec: KubeDict = {
        "parallelism": workers,
        "completions": workers,
        "completionMode": "Indexed",  # for one worker too: it is number 0 to whoever asks for logs
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": rules},
        "template": pod_template(job, target, workload, origin.labels()),
    }
    if job.spec.max_runtime:
        spec["activeDeadlineSeconds"] = max(1, math.ceil(parse_duration(job.spec.max_runtime)))
    metadata = _metadata(workload, namespace, origin)
    metadata["annotations"] |= notes
    if job.spec.failover.policy != "Never":
        metadata["labels"] |= {FAILOVER: GUARDED if target.lease else UNGUARDED}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


# The Job then says so in its condition, which stays when the pod is long gone: how a restarted hub
# still tells a lost node from an application that failed.
_DISRUPTION_ENDS_THE_ATTEMPT: KubeDict = {
    "action": "FailJob",
    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
}
_THE_GUARD_ENDS_THE_ATTEMPT: KubeDict = {
    "action": "FailJob",
    "onExitCodes": {"containerName": GUARD, "operator": "In", "values": sorted(CODES.values())},
}
