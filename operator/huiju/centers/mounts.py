"""Copies of data sets in a job's pods: read-only, and the one way there is to the center's store.

Pure. Decides how a copy is mounted: from the store's own folder or NFS export, without a claim.
That needs no right on the center's cluster, and no reclaim policy can ever delete a copy.
Invariants: every mount is read-only, for root too; a template that reaches the store by itself is
refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from posixpath import normpath
from typing import Any, Final

from huiju.api.center import DataStore
from huiju.api.reasons import Reason
from huiju.centers.bundle import KubeDict
from huiju.centers.refusals import DispatchRefused, RenderRefused

_VOLUME: Final = "huiju-data"


@dataclass(frozen=True, slots=True)
class Mount:
    """A copy in a center, and where the containers see it."""

    path: str
    """In the containers."""
    store: DataStore
    folder: str
    """Of the copy, below the store's."""

    @property
    def source(self) -> KubeDict:
        """The volume without its name."""
        if self.store.nfs is not None:
            place = f"{self.store.nfs.path}/{self.folder}"
            return {"nfs": {"server": self.store.nfs.server, "path": place, "readOnly": True}}
        # A folder that is not there must stop the pod; "" would let the kubelet mount nothing.
        return {"hostPath": {"path": f"{self.store.path}/{self.folder}", "type": "Directory"}}


def add_mounts(spec: KubeDict, mounts: Iterable[Mount]) -> None:
    """Mount the copies in every container (the pod spec is changed in place).

    Raises:
        RenderRefused: a container mounts something at one of the paths already.
    """
    volumes, ways = [], []
    for number, mount in enumerate(mounts):
        name = f"{_VOLUME}-{number}"
        volumes.append({"name": name, **mount.source})
        ways.append({"name": name, "mountPath": mount.path, "readOnly": True})
    if not volumes:
        return
    paths = {str(way["mountPath"]) for way in ways}
    for kind in ("containers", "initContainers"):
        for container in spec.get(kind) or ():
            own = container.get("volumeMounts") or ()
            taken = paths & {normpath(str(one.get("mountPath"))) for one in own}
            if taken:
                raise RenderRefused(
                    Reason.INVALID_SPEC,
                    f"spec.data: container {container.get('name')} mounts something of its own at"
                    f" {min(taken)}; choose another mountPath",
                )
            container["volumeMounts"] = [*own, *ways]
    spec["volumes"] = [*(spec.get("volumes") or ()), *volumes]


def refuse_own_way(spec: KubeDict, store: DataStore | None, center: str) -> None:
    """Refuse a template that reaches the store by a volume of its own.

    Raises:
        DispatchRefused: the message names the volume.
    """
    if store is None:
        return
    for volume in spec.get("volumes") or ():
        if isinstance(volume, dict) and _reaches(volume, store):
            raise DispatchRefused(
                Reason.SHARING_POLICY,
                f"Volume {volume.get('name')} of the template reaches the folder in which center"
                f" {center} keeps copies of data sets; name them in spec.data instead.",
            )


def _reaches(volume: dict[str, Any], store: DataStore) -> bool:
    if store.nfs is not None:
        given = volume.get("nfs") or {}
        same = given.get("server") == store.nfs.server
        return same and _overlap(str(given.get("path", "")), store.nfs.path)
    path = (volume.get("hostPath") or {}).get("path")
    return path is not None and store.path is not None and _overlap(str(path), store.path)


def _overlap(one: str, other: str) -> bool:
    """Whether one of two folders lies in the other."""
    mine, theirs = (normpath("/" + path.lstrip("/")).rstrip("/") + "/" for path in (one, other))
    return mine.startswith(theirs) or theirs.startswith(mine)
