"""Reads what travels with a job from its own namespace on the hub.

Decides which objects may travel. Invariants: only objects that the job names, of the job's own
namespace, are read; the contents of a Secret reach no log and no message.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from huiju.api.reasons import Reason
from huiju.centers.carried import CONFIG_MAP, NOTHING, SECRET, Carried, CarriedObject, Kind
from huiju.centers.jobview import JobView
from huiju.centers.refusals import RenderRefused
from huiju.hub.role import ACCOUNT, CARRY_ROLE
from huiju.kube.client import Client
from huiju.kube.errors import Forbidden, NotFound
from huiju.kube.resources import CONFIG_MAPS, SECRETS, Resource

_RESOURCES: Final[dict[str, Resource]] = {CONFIG_MAP: CONFIG_MAPS, SECRET: SECRETS}
_BOUND_TO_CLUSTER: Final = ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token")
"""Types of Secrets that mean nothing in another cluster and give access to this one."""


class _Source(msgspec.Struct, rename="camel"):
    """A ConfigMap or Secret; values stay as they came."""

    data: dict[str, Any] | None = None
    binary_data: dict[str, Any] | None = None
    type: str = ""

    def __repr__(self) -> str:
        return "<contents>"

    def contents(self) -> dict[str, Any]:
        """The fields of a copy."""
        found = {"data": self.data, "binaryData": self.binary_data, "type": self.type}
        return {key: value for key, value in found.items() if value}


async def read_carried(client: Client, body: JobView) -> Carried:
    """Everything that `spec.carry` names, read now; nothing is read where it names nothing.

    Raises:
        RenderRefused: an object is missing or must not travel; the message names the field.
        KubeError: the hub's API server did not answer, or refused.
    """
    carry = body.spec.carry
    lists: tuple[tuple[Kind, str, tuple[str, ...]], ...] = (
        (CONFIG_MAP, "configMaps", carry.config_maps),
        (SECRET, "secrets", carry.secrets),
        (SECRET, "imagePullSecrets", carry.image_pull_secrets),
    )
    wanted: dict[tuple[Kind, str], str] = {}
    for kind, field, names in lists:
        for index, name in enumerate(names):
            wanted.setdefault((kind, name), f"spec.carry.{field}[{index}]")
    if not wanted:
        return NOTHING
    namespace = body.metadata.namespace
    found = await asyncio.gather(
        *(_read(client, kind, name, namespace, field) for (kind, name), field in wanted.items()),
        return_exceptions=True,
    )
    # All calls have ended; the first trouble in the order of the spec is the one to tell.
    objects = []
    for one in found:
        if isinstance(one, BaseException):
            raise one
        objects.append(one)
    return Carried(tuple(objects), carry.image_pull_secrets)


async def _read(client: Client, kind: Kind, name: str, namespace: str, field: str) -> CarriedObject:
    try:
        source = await client.get(_RESOURCES[kind], name, namespace, type=_Source)
    except NotFound:
        raise RenderRefused(
            Reason.CARRIED_OBJECT_MISSING,
            f"{field}: there is no {kind} {name!r} in namespace {namespace!r} on the hub;"
            " create it, or take it out of the job",
        ) from None
    except Forbidden:
        raise RenderRefused(
            Reason.CARRIED_OBJECT_MISSING,
            f"{field}: the hub may not read {kind} {name!r} in namespace {namespace!r}; grant it"
            f" with `kubectl create rolebinding {CARRY_ROLE} -n {namespace}"
            f" --clusterrole={CARRY_ROLE} --serviceaccount=huiju-system:{ACCOUNT}`",
        ) from None
    if source.type in _BOUND_TO_CLUSTER:
        raise RenderRefused(
            Reason.INVALID_SPEC,
            f"{field}: Secret {name!r} is of type {source.type} and stays in its own cluster;"
            " name a Secret that holds only what the job needs",
        )
    return CarriedObject(kind, name, source.contents())
