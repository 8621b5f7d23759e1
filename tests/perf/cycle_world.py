"""A drawn network at any size for `bench_cycle`: centers that are nearly full, jobs that wait.

The same seed gives the same network. Running jobs hold all but a few nodes, so that the waiting
ones have reason to wait; every node shape is in several centers, every job shape in many queues.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from huiju.scheduling.core import Core
from huiju.scheduling.model import (
    CPU,
    MEMORY,
    PODS,
    Accelerator,
    Alternative,
    Assignment,
    Bucket,
    Center,
    DataNeed,
    Job,
    JobShape,
    Link,
    NodeShape,
    Place,
    Placed,
    Queue,
    Topology,
    Trace,
    UnitKind,
    vector,
)
from huiju.simulation.site import Site
from tests.scheduling_worlds import as_placed

GIB = 2**30
NOW = 1_000_000.0
REGIONS = ("north", "south", "east", "west")
_MODELS = (
    ("nvidia-h100-sxm", "nvidia.com/gpu", 989_000, Topology.FLAT),
    ("nvidia-a100-80g", "nvidia.com/gpu", 312_000, Topology.FLAT),
    ("nvidia-a800-80g", "nvidia.com/gpu", 312_001, Topology.FLAT),
    ("nvidia-h20", "nvidia.com/gpu", 148_000, Topology.FLAT),
    ("nvidia-l40s", "nvidia.com/gpu", 362_000, Topology.FLAT),
    ("ascend-910b3", "huawei.com/Ascend910", 313_000, Topology.FLAT),
    ("ascend-910a", "huawei.com/Ascend910", 256_000, Topology.RINGS_OF_4),
    ("ascend-910c", "huawei.com/Ascend910", 376_000, Topology.MODULES_OF_2),
    ("hygon-k100", "hygon.com/dcu", 192_000, Topology.FLAT),
    ("cambricon-590", "cambricon.com/mlu", 320_000, Topology.FLAT),
)


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is of everything."""

    centers: int = 100
    nodes: int = 100_000
    jobs: int = 100_000
    running: int = 20_000
    shapes: int = 500
    queues: int = 200


def node_shapes() -> list[NodeShape]:
    """Twenty shapes of nodes: ten models, each with much and with little memory."""
    found = []
    for model, resource, gflops, topology in _MODELS:
        unit = UnitKind.DIE if topology is Topology.MODULES_OF_2 else UnitKind.DEVICE
        units = 16 if unit is UnitKind.DIE else 8
        accelerator = Accelerator(model, resource, unit, gflops, topology)
        for cores, memory in ((96, 768), (192, 2048)):
            amounts = {resource: units, CPU: cores * 1000, MEMORY: memory * GIB, PODS: 110}
            labels = (("memory", "large" if memory > 1000 else "small"), ("model", model))
            found.append(NodeShape((accelerator,), vector(amounts), labels))
    return found


class Network:
    """The drawn network and what becomes of it; hands out views as an inventory would."""

    def __init__(self, size: Size, seed: int = 1) -> None:
        self.size, self.random = size, Random(seed)
        self.kinds = node_shapes()
        self.shapes = self._job_shapes()
        self.queues = self._queues()
        self.leaves = [q.name for q in self.queues if q.parent]
        self.sites: dict[str, Site] = {}
        self.lost: dict[str, set[str]] = {}
        self.nodes: dict[str, list[str]] = {}
        self.running: dict[str, Place] = {}
        self.serial = 0
        for index in range(size.centers):
            self._center(f"center-{index:03d}")

    def _job_shapes(self) -> list[tuple[JobShape, float]]:
        random = self.random
        found: dict[JobShape, float] = {}
        while len(found) < self.size.shapes:
            models = random.sample(_MODELS, random.choice((1, 1, 1, 2)))
            units = random.choice((1, 1, 2, 4, 8, 8))
            workers = random.choice((1, 1, 1, 2, 4, 8, 16, 32)) if units == 8 else 1
            cores = random.choice((2, 4, 8)) * units
            request = vector({CPU: cores * 1000, MEMORY: units * 32 * GIB, PODS: 1})
            data: tuple[DataNeed, ...] = ()
            if random.random() < 0.1:
                data = (DataNeed("corpus", 500 * 10**9, frozenset({"center-000"})),)
            shape = JobShape(
                tuple(Alternative(model, units) for model, *_ in models),
                workers,
                request,
                regions=tuple(random.sample(REGIONS, 2)) if random.random() < 0.2 else (),
                node_selector=(("memory", "large"),) if random.random() < 0.1 else (),
                namespace=f"team-{random.randrange(20)}",
                data=data,
            )
            found[shape] = random.choice((600.0, 3600.0, 14_400.0, 86_400.0))
        return list(found.items())

    def _queues(self) -> list[Queue]:
        groups = max(1, self.size.queues // 10)
        whole = 300_000 * 8 * self.size.nodes
        found = [Queue(f"org-{i:02d}") for i in range(groups)]
        for i in range(self.size.queues):
            share = whole // self.size.queues
            found.append(
                Queue(
                    f"queue-{i:03d}",
                    f"org-{i % groups:02d}",
                    weight=1 + i % 4,
                    guarantee=share // 2 if i % 3 == 0 else 0,
                    ceiling=share * 4 if i % 5 == 0 else None,
                    home_center=f"center-{i % self.size.centers:03d}" if i % 2 else "",
                )
            )
        return found

    def _center(self, name: str) -> None:
        random, count = self.random, self.size.nodes // self.size.centers
        kinds = random.sample(self.kinds, 4)
        names = [f"{name}-node-{i:05d}" for i in range(count)]
        share = -(-count // len(kinds))
        buckets = tuple(
            Bucket(kind, kind.allocatable, tuple(names[i * share : (i + 1) * share]))
            for i, kind in enumerate(kinds)
            if names[i * share : (i + 1) * share]
        )
        others = [f"center-{random.randrange(self.size.centers):03d}" for _ in range(5)]
        center = Center(
            name,
            buckets,
            region=random.choice(REGIONS),
            links=tuple(Link(other, 1_250_000_000, 0.01) for other in others if other != name),
            hourly_price=tuple(1.0 + hour % 3 for hour in range(24)),
        )
        self.sites[name], self.nodes[name], self.lost[name] = Site(center), names, set()
        jobs = self.size.running // self.size.centers
        for bucket in buckets:
            self._fill(name, bucket, jobs // len(buckets))

    def _fill(self, name: str, bucket: Bucket, jobs: int) -> None:
        """Running jobs on all but one in fifty nodes of the bucket."""
        (accelerator,) = bucket.shape.accelerators
        units = dict(bucket.shape.allocatable)[accelerator.resource]
        nodes = list(bucket.nodes[: len(bucket.nodes) * 49 // 50])
        for index in range(jobs):
            left = jobs - index
            here = nodes[: max(1, round(len(nodes) / left))]
            if not here:
                return
            del nodes[: len(here)]
            each = units if len(here) > 1 else units // self.random.choice((1, 1, 1, 2))
            request = vector({CPU: 2000 * each, MEMORY: each * 32 * GIB, PODS: 1})
            shape = JobShape((Alternative(accelerator.model, each),), len(here), request)
            runtime = self.random.choice((3600.0, 14_400.0, 86_400.0, None))
            job = self._job(shape, runtime, NOW - self.random.uniform(0, 80_000))
            place = Place(
                job,
                name,
                0,
                accelerator.resource,
                vector({**dict(request), accelerator.resource: each}),
                tuple(Assignment(node, 1) for node in here),
                each * len(here) * accelerator.gflops,
                Trace(),
            )
            self.sites[name].take(place)
            self.running[job.uid] = place

    def _job(self, shape: JobShape, runtime: float | None, submitted: float) -> Job:
        self.serial += 1
        uid = f"5f0c7a9e-3b1d-4c5e-9f00-{self.serial:012d}"
        return Job(
            uid,
            f"team-{self.serial % 20}/train-{self.serial:08d}",
            self.random.choice(self.leaves),
            shape,
            submitted,
            priority=self.random.choice((0, 0, 0, 0, 1)),
            expected_runtime=runtime,
            checkpoint_period=1800.0,
        )

    def waiting(self, count: int, now: float = NOW) -> Iterator[Job]:
        """That many new jobs, submitted over the day before `now`."""
        for _ in range(count):
            shape, runtime = self.random.choice(self.shapes)
            yield self._job(shape, runtime, now - self.random.uniform(0, 86_400))

    def view(self, name: str) -> Center:
        """The center as its inventory shows it."""
        view, lost = self.sites[name].view(), self.lost[name]
        if not lost:
            return view
        buckets = (
            replace(b, nodes=tuple(n for n in b.nodes if n not in lost)) for b in view.buckets
        )
        return replace(view, buckets=tuple(b for b in buckets if b.nodes))

    def placed(self) -> Iterator[Placed]:
        """The running jobs as the core knows them."""
        for place in self.running.values():
            yield as_placed(place, place.job.submitted)

    def start(self, places: Sequence[Place]) -> None:
        """What a cycle placed runs."""
        for place in places:
            self.sites[place.center].take(place)
            self.running[place.job.uid] = place

    def end(self) -> Place:
        """One running job, drawn, ends."""
        uid = self.random.choice(list(self.running)[:2000])
        place = self.running.pop(uid)
        self.sites[place.center].give(place)
        return place

    def flip_node(self) -> str:
        """One node is lost or comes back; returns its center."""
        name = self.random.choice(list(self.sites))
        node, lost = self.random.choice(self.nodes[name]), self.lost[name]
        if node in lost:
            lost.remove(node)
        else:
            lost.add(node)
        return name


def fill(core: Core, network: Network) -> None:
    """Tell the core all but the waiting jobs."""
    for queue in network.queues:
        core.set_queue(queue)
    for name in network.sites:
        core.set_center(network.view(name))
    for placed in network.placed():
        core.set_placed(placed)
