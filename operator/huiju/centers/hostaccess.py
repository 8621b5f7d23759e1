"""What no pod of the federation may have of a center's nodes, wherever it would run.

Pure. Decides which fields of a pod spec reach around the container: namespaces, processes, ports
and kernel rights of the node. Host paths are the owner's choice and judged by whoever knows it.
Invariant: hub, agent and the center's admission policy refuse the same fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from huiju.api.reasons import Reason
from huiju.centers.bundle import KubeDict
from huiju.centers.refusals import DispatchRefused, RenderRefused

CAPABILITIES: Final = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
"""What containers may add: Pod Security's baseline, and memory that stays in place, for RDMA."""
_SHARED: Final = ("hostNetwork", "hostPID", "hostIPC")


def host_access(spec: KubeDict) -> Iterator[tuple[str, str]]:
    """Each field that reaches around the container, by its name, with what it asks for."""
    for name in _SHARED:
        if spec.get(name):
            yield name, name
    yield from _of_context("", _dict(spec.get("securityContext")))
    for container in containers(spec):
        name = f"container {container.get('name')}"
        yield from _of_context(f" ({name})", _dict(container.get("securityContext")))
        if any(_dict(port).get("hostPort") for port in container.get("ports") or ()):
            yield "hostPort", f"a port of the node ({name})"


def _of_context(where: str, context: KubeDict) -> Iterator[tuple[str, str]]:
    if context.get("privileged"):
        yield "privileged", f"a privileged container{where}"
    if (context.get("procMount") or "Default") != "Default":
        yield "procMount", f"an open /proc{where}"
    if _dict(context.get("windowsOptions")).get("hostProcess"):
        yield "hostProcess", f"processes of the node{where}"
    for added in _dict(context.get("capabilities")).get("add") or ():
        if added not in CAPABILITIES:
            yield "capabilities", f"capability {added}{where}"


def host_paths(spec: KubeDict) -> Iterator[str]:
    """Every folder of the node that the pod would mount."""
    for volume in spec.get("volumes") or ():
        path = _dict(_dict(volume).get("hostPath")).get("path")
        if path is not None:
            yield str(path)


def below(path: str, folders: tuple[str, ...]) -> bool:
    """Whether a path is one of the folders or lies in it."""
    if ".." in path.split("/"):
        return False
    return any(path == one or path.startswith(one.rstrip("/") + "/") for one in folders)


def check_host_access(spec: KubeDict, center: str, allowed: tuple[str, ...] | None) -> None:
    """Refuse a user's pod spec that reaches for the node.

    `allowed` are the folders that the center's owner lets pods mount; None where its agent judges.

    Raises:
        RenderRefused: no center lets it in.
        DispatchRefused: this center does not let a host path in.
    """
    for field, what in host_access(spec):
        raise RenderRefused(
            Reason.INVALID_TEMPLATE,
            f"spec.template.spec: {field}: take it out: pods of the federation may not have {what}",
        )
    if allowed is None:
        return
    for path in host_paths(spec):
        if not below(path, allowed):
            raise DispatchRefused(
                Reason.SHARING_POLICY,
                f"The owner of center {center} does not let pods mount {path} of its nodes; its"
                f" sharing.hostPaths allows {', '.join(allowed) or 'none'}.",
            )


def containers(spec: KubeDict) -> Iterator[KubeDict]:
    """All containers, those that run first included."""
    yield from spec.get("containers") or ()
    yield from spec.get("initContainers") or ()


def _dict(value: Any) -> KubeDict:
    return value if isinstance(value, dict) else {}
