"""The environment that lets the workers of a job find each other, per framework.

Pure. Decides names and values of variables; what the user's template sets wins, except for the
job's identity. Invariant: no variable whose meaning differs between frameworks (RANK, WORLD_SIZE,
LOCAL_RANK) is ever set: the launchers set them per process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from huiju.centers.bundle import KubeDict

INDEX_ANNOTATION: Final = "batch.kubernetes.io/job-completion-index"
HCCL_CONNECT_SECONDS: Final = 1800
"""Far above the default of 120 s: the workers' image pulls may end minutes apart."""


@dataclass(frozen=True, slots=True)
class Gang:
    """What the workers must know of each other."""

    framework: str
    workers: int
    per_worker: int
    processes: int | None
    """Processes on each worker; None is one per unit."""
    port: int
    model: str
    workload: str
    """Also the name of the headless Service where there are several workers."""

    @property
    def several(self) -> bool:
        """True for more than one worker."""
        return self.workers > 1

    @property
    def local(self) -> int:
        """Processes on each worker."""
        return self.processes or self.per_worker

    @property
    def master(self) -> str:
        """Where the first worker is reached; resolved in the pods' own namespace."""
        return f"{self.workload}-0.{self.workload}" if self.several else "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a pod works for."""

    job: str
    namespace: str
    uid: str
    center: str
    epoch: int
    model: str


def identity_environment(identity: Identity) -> list[KubeDict]:
    """Job, center and epoch; output under an epoch that no longer holds is not accepted."""
    return _plain(
        HUIJU_JOB=identity.job,
        HUIJU_NAMESPACE=identity.namespace,
        HUIJU_JOB_UID=identity.uid,
        HUIJU_CENTER=identity.center,
        HUIJU_EPOCH=identity.epoch,
        HUIJU_ACCELERATOR=identity.model,
    )


def launch_environment(gang: Gang) -> list[KubeDict]:
    """The workers' variables: neutral names for all, the framework's own besides."""
    made = [
        *_plain(NNODES=gang.workers, NPROC_PER_NODE=gang.local),
        _rank("NODE_RANK", gang),
        *_plain(HUIJU_MASTER_ADDR=gang.master, HUIJU_MASTER_PORT=gang.port),
    ]
    match gang.framework:
        case "torchrun":
            made += _torchrun(gang)
        case "mindspore":
            made += _mindspore(gang)
        case _:
            pass
    if gang.several and gang.model.startswith("ascend-"):
        made += _plain(HCCL_CONNECT_TIMEOUT=HCCL_CONNECT_SECONDS)
    return made


def _torchrun(gang: Gang) -> list[KubeDict]:
    """PET_* are torchrun's own arguments; the number of processes is never left to be guessed."""
    return [
        *_plain(
            MASTER_ADDR=gang.master,
            MASTER_PORT=gang.port,
            PET_MASTER_ADDR=gang.master,
            PET_MASTER_PORT=gang.port,
            PET_NNODES=gang.workers,
            PET_NPROC_PER_NODE=gang.local,
        ),
        _rank("PET_NODE_RANK", gang),
    ]


def _mindspore(gang: Gang) -> list[KubeDict]:
    """For `msrun` and for dynamic clusters; the scheduler process runs beside the first worker."""
    return [
        *_plain(
            MS_SCHED_HOST=gang.master,
            MS_SCHED_PORT=gang.port,
            MS_WORKER_NUM=gang.workers * gang.local,
            MS_LOCAL_WORKER=gang.local,
            MS_SERVER_NUM=0,
            MS_ROLE="MS_WORKER",
        ),
        _rank("MS_NODE_RANK", gang),
    ]


def _rank(name: str, gang: Gang) -> KubeDict:
    if not gang.several:
        return {"name": name, "value": "0"}
    path = f"metadata.annotations['{INDEX_ANNOTATION}']"
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _plain(**values: Any) -> list[KubeDict]:
    return [{"name": name, "value": str(value)} for name, value in values.items()]


def add_environment(
    container: KubeDict, identity: list[KubeDict], more: list[KubeDict] | None = None
) -> None:
    """Put variables before the container's own (changed in place), which may then refer to them."""
    own = container.get("env") or []
    if not isinstance(own, list):
        return  # no environment at all: the server's own words on it are the best
    taken = {one.get("name") for one in own if isinstance(one, dict)}
    fixed = {one["name"] for one in identity}
    container["env"] = [
        *identity,
        *(one for one in more or () if one["name"] not in taken),
        *(one for one in own if not (isinstance(one, dict) and one.get("name") in fixed)),
    ]
