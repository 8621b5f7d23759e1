"""Whether a center's API server keeps sidecars: asked of the server itself, never assumed.

Decides nothing about jobs. An API server in which the feature is off drops `restartPolicy` from an
init container without a word; a guard would then be a first step that never ends. Invariant:
nothing is made.
"""

from __future__ import annotations

import msgspec

from huiju.centers.bundle import KubeDict
from huiju.centers.objects import PodSpec
from huiju.guard.terms import GUARD
from huiju.kube.client import Client
from huiju.kube.errors import ApiStatus, Unauthorized
from huiju.kube.resources import JOBS


class _Template(msgspec.Struct):
    spec: PodSpec


class _Spec(msgspec.Struct):
    template: _Template


class _Echo(msgspec.Struct):
    """A batch Job as far as its pods' containers."""

    spec: _Spec


def has_guard(workload: KubeDict) -> bool:
    """Whether a rendered workload's pods carry the guard."""
    containers = workload["spec"]["template"]["spec"].get("initContainers") or ()
    return any(one["name"] == GUARD for one in containers)


async def keeps_sidecars(client: Client, workload: KubeDict, namespace: str) -> bool | None:
    """What a dry run makes of a guarded workload; None where it is refused for another reason.

    Raises:
        Transient: the server does not answer now.
        Unauthorized: it does not know the account any more.
    """
    try:
        echo = await client.create(JOBS, workload, namespace, dry_run=True, type=_Echo)
    except Unauthorized:
        raise
    except ApiStatus:
        return None
    containers = echo.spec.template.spec.init_containers
    return any(one.name == GUARD and one.restart_policy == "Always" for one in containers)
