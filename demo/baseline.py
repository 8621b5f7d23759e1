"""The demo's jobs through the simulator: the hub's own cycle, without any API server.

Decides nothing; the same nodes and the same manifests go through the same inventory and the same
translation as in the hub, only the clock is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from demo.scene import QUEUE_ROOT, SITES, Recorded, Site, manifest
from huiju.api.center import ComputeCenterSpec
from huiju.centers.inventory import CenterInventory
from huiju.centers.objects import Node
from huiju.centers.policy import center_view
from huiju.hub.clock import stamp
from huiju.hub.intake import job_of
from huiju.hub.objects import JobObject
from huiju.scheduling.model import Center, Queue
from huiju.simulation.engine import SimJob
from huiju.simulation.federation import simulate
from lab.nodes import node

_EPOCH = 1_700_000_000.0
"""Any time of the day will do: nothing in the demo has a price."""


@dataclass(frozen=True, slots=True)
class Run:
    """How one job fared; seconds of one clock."""

    submitted: float
    started: float
    ended: float
    center: str


def simulated(jobs: list[Recorded], compression: float, *, federated: bool) -> dict[str, Run]:
    """The runs by job name, federated or with every job kept at home."""
    result = simulate(
        [_job(job, compression) for job in jobs],
        [_center(site) for site in SITES],
        _queues(),
        keep_home=not federated,
    )
    return {
        run.job.job.name.partition("/")[2]: Run(
            run.job.job.submitted, run.started, run.ended, run.center
        )
        for run in result.runs
    }


def _job(job: Recorded, compression: float) -> SimJob:
    body = manifest(job, compression)
    body["metadata"] |= {"uid": job.name, "creationTimestamp": stamp(_EPOCH)}
    seen = msgspec.json.decode(msgspec.json.encode(body), type=JobObject)
    submitted = _EPOCH + job.submit / compression
    return SimJob(
        replace(job_of(seen), submitted=submitted),
        job.duration / compression,
        job.home.name,
    )


def _center(site: Site) -> Center:
    inventory = CenterInventory()
    for number in range(site.nodes):
        body = node(site.node_type, f"{site.name}-{number}")
        body["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
        inventory.set_node(msgspec.convert(body, Node), _EPOCH)
    spec = ComputeCenterSpec.model_validate(
        {
            "connection": {"push": {"kubeconfigSecret": {"name": site.name}}},
            "region": site.name,
            "residency": ["domestic"],
        }
    )
    return center_view(site.name, spec, inventory, closed="", message="", now=_EPOCH)


def _queues() -> list[Queue]:
    teams = [Queue(f"team-{site.name}", parent=QUEUE_ROOT, home_center=site.name) for site in SITES]
    return [Queue(QUEUE_ROOT), *teams]
