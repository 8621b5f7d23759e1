"""The guard in the pods of a placement that runs under its center's lease.

Pure. Decides the sidecar, the probes through which the kubelet asks it after every main container,
and the longest grace period. Invariants: nothing of the user's starts before the guard has seen the
lease valid; the kubelet asks nobody but the guard whether a main container may live, from its first
moment on; a template whose own probes the guard cannot ask is refused, never left half guarded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from huiju.api.durations import parse_duration
from huiju.api.reasons import Reason
from huiju.centers.bundle import KubeDict
from huiju.centers.jobview import ViewProgress
from huiju.centers.lease import LeaseTerms
from huiju.centers.mountpoints import mount_of
from huiju.centers.objects import Container, PodNeeds, Resources
from huiju.centers.refusals import RenderRefused
from huiju.guard import terms

RESOURCES: Final[Mapping[str, str]] = {"cpu": "100m", "memory": "64Mi"}
"""Requests and limits alike: otherwise a pod that is Guaranteed would lose its own CPUs by it."""
LEAST_VERSION: Final = (1, 29)
"""From this version on, API servers keep sidecars by default and kubelets run them."""
SECURITY: Final[KubeDict] = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What the strictest Pod Security level asks, whatever the pod as a whole is set to."""
_KINDS: Final = {"startup": "startupProbe", "liveness": "livenessProbe"}
_PATIENCE: Final = 1_000_000
"""Failures of the start gate that restart the guard: a pod may wait for its lease for days."""
_DEFAULT_GRACE: Final = 30
_UNHURRIED: Final = 20.0
"""Seconds within which a pod under no lease is told to stop."""

# --- what of a template must have a shape ---------------------------------------------------------

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_PortNumber = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class _Header(msgspec.Struct):
    name: str
    value: str = ""


class _Place(msgspec.Struct, rename="camel"):
    port: _PortNumber | str
    host: str = ""
    path: str = "/"
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    http_headers: list[_Header] = []


class _Probe(msgspec.Struct, rename="camel"):
    http_get: _Place | None = None
    tcp_socket: _Place | None = None
    initial_delay_seconds: _Count | None = None
    period_seconds: _Count | None = None
    timeout_seconds: _Count | None = None
    failure_threshold: _Count | None = None


class _Port(msgspec.Struct, rename="camel"):
    container_port: _PortNumber
    name: str = ""


class _Container(msgspec.Struct, rename="camel"):
    name: str
    ports: list[_Port] = []
    startup_probe: _Probe | None = None
    liveness_probe: _Probe | None = None


class _DnsConfig(msgspec.Struct, rename="camel"):
    nameservers: list[str] | None = None


class _PodSpec(msgspec.Struct, rename="camel"):
    containers: list[_Container]
    init_containers: list[_Container] | None = None
    dns_policy: str | None = None
    dns_config: _DnsConfig | None = None
    host_aliases: list[object] | None = None
    share_process_namespace: bool | None = None
    host_network: bool | None = None
    termination_grace_period_seconds: _Count | None = None


# --- refusing -------------------------------------------------------------------------------------


def check_guardable(template: KubeDict, launch_port: int) -> None:
    """Refuse a pod template (of a known shape) that no guard can stand in.

    Raises:
        RenderRefused: the message names the field and the cure.
    """
    if launch_port == terms.PORT:
        raise RenderRefused(
            Reason.INVALID_SPEC,
            f"spec.launch.port: {terms.PORT} is the guard's with failover Reschedule or progress:"
            " take another",
        )
    trouble = next(_troubles(template["spec"]), None)
    if trouble is not None:
        raise RenderRefused(Reason.INVALID_TEMPLATE, trouble)


def _troubles(spec: KubeDict) -> Iterator[str]:
    for index, container in enumerate(spec["containers"]):
        for field in _KINDS.values():
            yield from _probe_troubles(container.get(field), _place(index, field))
    try:
        read = msgspec.convert(spec, _PodSpec)
    except msgspec.ValidationError as error:
        yield f"spec.template.spec: {error}"
        return
    for container in (*read.containers, *(read.init_containers or ())):
        if container.name in (terms.GUARD, terms.PREPARE):
            yield f"spec.template.spec: {container.name} is the guard's name: rename the container"
        if any(port.container_port == terms.PORT for port in container.ports):
            yield (
                f"spec.template.spec: port {terms.PORT} of container {container.name} is the"
                " guard's with failover Reschedule or progress: take another"
            )
    for index, container in enumerate(read.containers):
        yield from _unknown_ports(container, index)
    yield from _misleading(read)


def _misleading(read: _PodSpec) -> Iterator[str]:
    """What would let a pod answer its own guard, or keep the guard from its sentinel."""
    finds = "with failover Reschedule the guard finds the center's sentinel by the cluster's DNS"
    if read.dns_policy not in (None, "", "ClusterFirst", "ClusterFirstWithHostNet"):
        yield f"spec.template.spec.dnsPolicy: {finds}: take dnsPolicy out"
    if read.dns_config is not None and read.dns_config.nameservers:
        yield f"spec.template.spec.dnsConfig.nameservers: {finds}: take nameservers out"
    if read.host_aliases:
        yield f"spec.template.spec.hostAliases: {finds}: take hostAliases out"
    if read.share_process_namespace:
        yield (
            "spec.template.spec.shareProcessNamespace: a guard's process is no other container's"
            " to reach: take it out, or do without failover Reschedule and progress"
        )


def _probe_troubles(probe: object, field: str) -> Iterator[str]:
    if not isinstance(probe, dict):
        return
    for kind in ("exec", "grpc"):
        if probe.get(kind) is not None:
            yield (
                f"{field}.{kind}: with failover Reschedule or progress the guard asks a"
                " container's own probes, and it can ask httpGet and tcpSocket alone: use one of"
                " these, or do without"
            )
            return
    if sum(probe.get(kind) is not None for kind in ("httpGet", "tcpSocket")) != 1:
        yield f"{field}: must have exactly one of httpGet and tcpSocket"


def _place(index: int, field: str) -> str:
    return f"spec.template.spec.containers[{index}].{field}"


def _unknown_ports(container: _Container, index: int) -> Iterator[str]:
    known = {port.name for port in container.ports if port.name}
    for field, probe in (
        ("startupProbe", container.startup_probe),
        ("livenessProbe", container.liveness_probe),
    ):
        place = (probe.http_get or probe.tcp_socket) if probe is not None else None
        if place is not None and isinstance(place.port, str) and place.port not in known:
            yield (
                f"{_place(index, field)}: port {place.port!r} is none of the"
                " container's named ports: name it there, or give its number"
            )


# --- guarding -------------------------------------------------------------------------------------


def add_guard(
    spec: KubeDict, lease: LeaseTerms | None, image: str, progress: ViewProgress | None = None
) -> None:
    """Put the guard into a pod spec (changed in place) that `check_guardable` let through.

    Raises:
        RenderRefused: nobody told its image, or the progress file cannot be seen by it.
    """
    if not image:
        raise RenderRefused(
            Reason.INVALID_SPEC,
            "spec.progress: the hub knows no image of the guard that would look after it: its"
            " operator starts it with --guard-image",
        )
    probes: dict[str, dict[str, KubeDict]] = {}
    for container in spec["containers"]:
        own = _take_probes(container)
        if own:
            probes[container["name"]] = own
        container["livenessProbe"] = _liveness(
            container["name"], lease.profile.stop if lease is not None else _UNHURRIED
        )
    guard = _guard(lease, image, probes)
    if progress is not None:
        _watch_progress(guard, spec["containers"][0], progress)
    spec["initContainers"] = [guard, *(spec.get("initContainers") or ())]
    if lease is None:
        return
    given = spec.get("terminationGracePeriodSeconds")
    grace = _DEFAULT_GRACE if given is None else given
    spec["terminationGracePeriodSeconds"] = min(grace, int(lease.profile.grace))


def _take_probes(container: KubeDict) -> dict[str, KubeDict]:
    """The container's own probes, taken out of it, with port numbers for names."""
    ports = {one.get("name"): one["containerPort"] for one in container.get("ports") or ()}
    found: dict[str, KubeDict] = {}
    for kind, field in _KINDS.items():
        probe = container.pop(field, None)
        if probe is None:
            continue
        handler = "tcpSocket" if probe.get("tcpSocket") is not None else "httpGet"
        place = probe[handler]
        found[kind] = {**probe, handler: {**place, "port": ports.get(place["port"], place["port"])}}
    return found


def _liveness(name: str, stop: float) -> KubeDict:
    """Two failures, so that one lost answer stops no training; both within `stop` seconds: a
    period until the first question, another until the second, and its time to be answered."""
    timeout = max(1, int(stop / 4))
    return {
        "httpGet": {"path": f"{terms.ALIVE_PATH}/{name}", "port": terms.PORT},
        "periodSeconds": max(1, int((stop - timeout) / 2)),
        "timeoutSeconds": timeout,
        "failureThreshold": 2,
    }


def _guard(
    lease: LeaseTerms | None, image: str, probes: Mapping[str, Mapping[str, KubeDict]]
) -> KubeDict:
    env: list[KubeDict] = [
        {"name": terms.SENTINEL, "value": lease.url if lease is not None else terms.NO_LEASE},
        {"name": terms.POLL, "value": f"{lease.profile.poll if lease is not None else 10:g}"},
        {"name": terms.POD_IP, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": terms.BIND, "value": f"$({terms.POD_IP})"},
    ]
    if probes:
        env.append({"name": terms.PROBES, "value": _verbatim(probes)})
    return {
        "name": terms.GUARD,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["guard"],
        "restartPolicy": "Always",
        "env": env,
        "ports": [{"name": terms.GUARD, "containerPort": terms.PORT}],
        "startupProbe": {
            "httpGet": {"path": terms.STARTED_PATH, "port": terms.PORT},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": _PATIENCE,
        },
        "resources": {"requests": dict(RESOURCES), "limits": dict(RESOURCES)},
        "securityContext": msgspec.json.decode(msgspec.json.encode(SECURITY)),
    }


def _watch_progress(guard: KubeDict, main: KubeDict, progress: ViewProgress) -> None:
    """Let the guard see the file, or know the port, by which the job shows that it gets on."""
    told: dict[str, Any] = {"deadline": parse_duration(progress.deadline)}
    if progress.start_deadline:
        told["startDeadline"] = parse_duration(progress.start_deadline)
    if progress.http is not None:
        told |= {"port": progress.http.port, "path": progress.http.path}
    else:
        told["file"] = progress.file
        mount = mount_of(main, progress.file)
        if mount is None or mount.get("subPathExpr"):
            raise RenderRefused(
                Reason.INVALID_SPEC,
                f"spec.progress.file: {progress.file} lies in no volume of the template's first"
                " container (without subPathExpr), so the guard cannot see it: put it into one, an"
                " emptyDir will do",
            )
        guard["volumeMounts"] = [{**mount, "readOnly": True}]
    guard["env"].append({"name": terms.PROGRESS, "value": _verbatim(told)})


def _verbatim(value: Any) -> str:
    """JSON in which Kubernetes expands nothing: `$(X)` in a header is the user's text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).replace("$(", "$$(")


# --- what it costs, and where it can be -----------------------------------------------------------

_AMOUNTS: Final = Resources(requests=dict(RESOURCES))
_SIDECAR: Final = Container(name=terms.GUARD, resources=_AMOUNTS, restart_policy="Always")
_STEP: Final = Container(name=terms.PREPARE, resources=_AMOUNTS)


def with_guard(spec: PodNeeds) -> PodNeeds:
    """What a pod asks of its node once the guard is in it."""
    return PodNeeds(
        containers=spec.containers,
        init_containers=[_SIDECAR, *spec.init_containers, _STEP],
        resources=spec.resources,
        overhead=spec.overhead,
    )


def runs_sidecars(version: str) -> bool:
    """Whether a server of this version (`v1.31.4-eks-…`) keeps sidecars; unknown ones may."""
    major, _, rest = version.removeprefix("v").partition(".")
    minor = rest.partition(".")[0].rstrip("+")
    if not (major.isascii() and major.isdecimal() and minor.isascii() and minor.isdecimal()):
        return True
    return (int(major), int(minor)) >= LEAST_VERSION
