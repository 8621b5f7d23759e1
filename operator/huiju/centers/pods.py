"""From a job's pod template to the pods of one placement.

Pure; the template itself is never changed. Decides what is filled in: image, accelerators,
environment, shared memory, affinity, what travels along. Invariant: what the user wrote still
holds, or the job is refused with the field that stands against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from huiju.api.center import DataStore, RegistryMirror, Sharing
from huiju.api.reasons import Reason
from huiju.centers.affinity import add_node_affinity
from huiju.centers.attempts import (
    add_preparation,
    attempt_environment,
    attempt_of,
    check_directories,
)
from huiju.centers.bundle import KubeDict
from huiju.centers.carried import Carried, Names, refer_to_copies
from huiju.centers.guarding import add_guard, check_guardable
from huiju.centers.hostaccess import check_host_access
from huiju.centers.images import first_not_allowed, rewrite_images
from huiju.centers.jobview import JobView
from huiju.centers.launch import (
    Gang,
    Identity,
    add_environment,
    identity_environment,
    launch_environment,
)
from huiju.centers.lease import LeaseTerms
from huiju.centers.mounts import Mount, add_mounts, refuse_own_way
from huiju.centers.refusals import DispatchRefused, RenderRefused
from huiju.centers.shape import check_shape

_SHARED_MEMORY = "huiju-shm"
_SHARED_MEMORY_PATH = "/dev/shm"  # noqa: S108  the path of POSIX shared memory


@dataclass(frozen=True, slots=True)
class Target:
    """One placement of a job: where, on what, under which epoch, and on the center's terms."""

    center: str
    hub_id: str
    epoch: int
    alternative: int
    """Index into the job's accelerators."""
    resource: str
    """Extended resource that the pods ask for."""
    model_labels: dict[str, str]
    """Node labels that single out the accelerator model; empty if the resource does it alone."""
    nodes: tuple[str, ...]
    """Planned nodes; preferred, not required."""
    sharing: Sharing
    mirrors: tuple[RegistryMirror, ...]
    carried: Carried
    mounts: tuple[Mount, ...] = ()
    """Copies that the job reads; each is verified."""
    store: DataStore | None = None
    """Where the center keeps copies: nobody reaches it but by `mounts`."""
    host_paths: tuple[str, ...] | None = ()
    """Folders of the nodes that the user's pods may mount; None: the center's agent judges."""
    avoided: tuple[str, ...] = ()
    """Nodes on which the pods must not run, after hardware faults there."""
    image: str = ""
    """Huiju's own image, before the mirrors, for the guard and the first step of pods."""
    lease: LeaseTerms | None = None
    """The pods are to run under the center's lease, on these terms: the guard stops them when it
    has run out. None: without a guard."""


def pod_template(job: JobView, target: Target, workload: str, labels: dict[str, str]) -> KubeDict:
    """The pod template of a placement's workload.

    Raises:
        RenderRefused: the job cannot be run as it is written.
        DispatchRefused: the center's owner does not let one of the images in.
    """
    check_shape(job.spec.template)
    check_host_access(job.spec.template["spec"], target.center, target.host_paths)
    progress = job.spec.progress
    if job.spec.failover.policy == "Reschedule" or progress is not None:
        check_guardable(job.spec.template, job.spec.launch.port)
    check_directories(job)
    template = _copy(job.spec.template)
    spec: KubeDict = template["spec"]
    _fill_main(spec["containers"][0], job, target)
    refuse_own_way(spec, target.store, target.center)
    add_mounts(spec, target.mounts)
    attempt = attempt_of(job, target.epoch)
    add_preparation(spec, attempt, target.image, guarded=target.lease is not None)
    if target.lease is not None or progress is not None:
        add_guard(spec, target.lease, target.image, progress)
    _check_images(spec, target)
    rewrite_images(spec, target.mirrors)
    _fill_environment(spec, job, target, workload)
    _add_shared_memory(spec, job.spec.launch.shared_memory)
    _add_node_selector(spec, job.spec.placement.node_selector)
    add_node_affinity(spec, target.model_labels, target.nodes, target.avoided)
    refer_to_copies(spec, target.carried, Names(target.carried, workload))
    if target.sharing.priority_class_name:
        spec["priorityClassName"] = target.sharing.priority_class_name
    if job.spec.workers > 1:
        spec["subdomain"] = workload
    spec["restartPolicy"] = "Never"
    spec.setdefault("automountServiceAccountToken", False)
    return {"metadata": _metadata(template.get("metadata"), labels), "spec": spec}


def _copy(template: KubeDict) -> KubeDict:
    # Several times as fast as copy.deepcopy, and a template is JSON anyway.
    copied: KubeDict = msgspec.json.decode(msgspec.json.encode(template))
    return copied


def _metadata(given: KubeDict | None, labels: dict[str, str]) -> KubeDict:
    """Labels and annotations of the user's, and ours over them; no other metadata is of use."""
    given = given or {}
    made: KubeDict = {"labels": {**(given.get("labels") or {}), **labels}}
    if given.get("annotations"):
        made["annotations"] = given["annotations"]
    return made


def _fill_main(container: KubeDict, job: JobView, target: Target) -> None:
    chosen = job.spec.accelerators[target.alternative]
    if chosen.image:
        container["image"] = chosen.image
    if not container.get("image"):
        raise RenderRefused(
            Reason.INVALID_SPEC,
            f"spec.accelerators[{target.alternative}].image: neither it nor the template's first"
            " container names an image; set one of the two",
        )
    resources = container["resources"] = container.get("resources") or {}
    units = str(chosen.per_worker)
    for part in ("requests", "limits"):
        amounts = resources[part] = resources.get(part) or {}
        own = amounts.get(target.resource)
        if own is not None and str(own) != units:
            raise RenderRefused(
                Reason.INVALID_TEMPLATE,
                f"spec.template.spec.containers[0].resources.{part}: {target.resource} is {own},"
                f" but perWorker asks for {units}; take it out of the template",
            )
        amounts[target.resource] = units


def _check_images(spec: KubeDict, target: Target) -> None:
    image = first_not_allowed(spec, target.sharing.image_prefixes)
    if image is not None:
        allowed = ", ".join(target.sharing.image_prefixes)
        raise DispatchRefused(
            Reason.SHARING_POLICY,
            f"The owner of center {target.center} does not allow image {image!r}; its"
            f" sharing.imagePrefixes allows {allowed}.",
        )


def _fill_environment(spec: KubeDict, job: JobView, target: Target, workload: str) -> None:
    chosen, launch = job.spec.accelerators[target.alternative], job.spec.launch
    identity = identity_environment(
        Identity(
            job=job.metadata.name,
            namespace=job.metadata.namespace,
            uid=job.metadata.uid,
            center=target.center,
            epoch=target.epoch,
            model=chosen.model,
        )
    ) + attempt_environment(attempt_of(job, target.epoch))
    gang = Gang(
        framework=launch.framework,
        workers=job.spec.workers,
        per_worker=chosen.per_worker,
        processes=launch.processes_per_worker,
        port=launch.port,
        model=chosen.model,
        workload=workload,
    )
    more = launch_environment(gang)
    for container in spec["containers"]:
        add_environment(container, identity, more)
    for container in spec.get("initContainers") or ():
        add_environment(container, identity)


def _add_shared_memory(spec: KubeDict, limit: str) -> None:
    """Give every container a /dev/shm that training can use; the default is 64 MiB."""
    without = [one for one in spec["containers"] if not _mounts_shared_memory(one)]
    if not without:
        return
    volume = {"name": _SHARED_MEMORY, "emptyDir": {"medium": "Memory", "sizeLimit": limit}}
    spec["volumes"] = [*(spec.get("volumes") or ()), volume]
    mount = {"name": _SHARED_MEMORY, "mountPath": _SHARED_MEMORY_PATH}
    for container in without:
        container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]


def _mounts_shared_memory(container: KubeDict) -> bool:
    mounts = container.get("volumeMounts") or ()
    return any(str(one.get("mountPath")).rstrip("/") == _SHARED_MEMORY_PATH for one in mounts)


def _add_node_selector(spec: KubeDict, wanted: dict[str, str]) -> None:
    if not wanted:
        return
    own = spec.get("nodeSelector") or {}
    for key, value in wanted.items():
        if own.get(key, value) != value:
            raise RenderRefused(
                Reason.INVALID_SPEC,
                f"spec.placement.nodeSelector: {key} is {value!r} here and {own[key]!r} in the"
                " template; no node has both: take one out",
            )
    spec["nodeSelector"] = {**own, **wanted}
