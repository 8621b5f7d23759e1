"""A whole CrossRegionJob, as rendering reads it: the fields that decide what its pods become.

Decides nothing. Defaults are those of the schema; the API server has filled them in already.
"""

from __future__ import annotations

from typing import Any

import msgspec


class ViewMeta(msgspec.Struct, rename="camel"):
    """The job's identity and the version under which it was read."""

    name: str
    uid: str
    namespace: str = ""
    resource_version: str = ""
    generation: int = 0


class ViewAlternative(msgspec.Struct, rename="camel", frozen=True):
    """See `api.job.AcceleratorAlternative`."""

    model: str
    per_worker: int
    image: str = ""


class ViewLaunch(msgspec.Struct, rename="camel", frozen=True):
    """See `api.job.Launch`."""

    framework: str = "plain"
    port: int = 29500
    processes_per_worker: int | None = None
    shared_memory: str = "8Gi"


class ViewCarry(msgspec.Struct, rename="camel", frozen=True):
    """See `api.job.Carry`."""

    config_maps: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    image_pull_secrets: tuple[str, ...] = ()


class ViewData(msgspec.Struct, rename="camel", frozen=True):
    """See `api.job.Data`."""

    dataset: str
    mount_path: str
    namespace: str = ""
    version: str = "latest"
    mode: str = "Stage"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class ViewPlacement(msgspec.Struct, rename="camel", frozen=True):
    """See `api.job.Placement`; the rest of it is the scheduler's."""

    node_selector: dict[str, str] = {}


class ViewFailover(msgspec.Struct, rename="camel", frozen=True):
    """See `api.job.Failover`; the rest of it is the hub's."""

    policy: str = "Never"


class ViewRetry(msgspec.Struct, rename="camel", frozen=True):
    """See `api.job.Retry`; how often is the hub's."""

    hardware_exit_codes: tuple[int, ...] = ()


class ViewCheckpoint(msgspec.Struct, rename="camel", frozen=True):
    """See `api.job.Checkpoint`; its period is the scheduler's."""

    directory: str = ""
    marker: str = "COMPLETE"


class ViewOutput(msgspec.Struct, rename="camel", frozen=True):
    """See `api.job.Output`."""

    directory: str


class ViewProgressHttp(msgspec.Struct, rename="camel", frozen=True):
    """See `api.job.ProgressHttp`."""

    port: int
    path: str = "/"


class ViewProgress(msgspec.Struct, rename="camel", frozen=True):
    """See `api.job.Progress`; how often it may fail is the hub's."""

    deadline: str
    start_deadline: str = ""
    file: str = ""
    http: ViewProgressHttp | None = None


class ViewSpec(msgspec.Struct, rename="camel"):
    """See `api.job.CrossRegionJobSpec`; durations as written."""

    accelerators: tuple[ViewAlternative, ...]
    template: dict[str, Any]
    workers: int = 1
    max_runtime: str = ""
    launch: ViewLaunch = ViewLaunch()
    data: tuple[ViewData, ...] = ()
    carry: ViewCarry = ViewCarry()
    placement: ViewPlacement = msgspec.field(default_factory=ViewPlacement)
    scheduling_deadline: str = "5m"
    ready_deadline: str = "30m"
    failover: ViewFailover = ViewFailover()
    checkpoint: ViewCheckpoint | None = None
    output: ViewOutput | None = None
    progress: ViewProgress | None = None
    retry: ViewRetry = ViewRetry()


class JobView(msgspec.Struct, rename="camel"):
    """A CrossRegionJob with its pod template."""

    metadata: ViewMeta
    spec: ViewSpec
