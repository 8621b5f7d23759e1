"""The network as Huiju runs it: the scheduling core over simulated centers.

Decides nothing itself: the core does, from what an inventory would tell it. Expected run times come
from what users told or from ended jobs, never from hindsight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from huiju.scheduling.core import Core
from huiju.scheduling.learning import Learner
from huiju.scheduling.model import Center, DataNeed, Job, JobShape, Place, Queue
from huiju.scheduling.policy import Policy
from huiju.simulation.engine import Grant, Progress, Restart, Result, Room, SimJob, at_once, play
from huiju.simulation.site import Site
from huiju.simulation.staging import Dataset, Stager


def simulate(
    jobs: Sequence[SimJob],
    centers: Sequence[Center],
    queues: Sequence[Queue] = (),
    policy: Policy | None = None,
    *,
    keep_home: bool = False,
    learn: bool = False,
    restart: Restart = at_once,
    datasets: Sequence[Dataset] = (),
    stager: Stager | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run the jobs on the centers.

    `keep_home` keeps every job in its home center: the same network without federation. `learn`
    replaces expected run times by what ended jobs of the same home and size tell. `restart` is what
    a stopped job needs to get going again. Without `queues` every queue that a job names exists and
    is without limits, with the job's home as its home center. `stager` moves the `datasets`.
    """
    network = Federation(
        centers,
        queues or _queues_of(jobs),
        policy,
        keep_home=keep_home,
        learn=learn,
        datasets=datasets,
    )
    mover = stager or Stager(datasets)
    return play(jobs, network, restart=restart, stager=mover, progress=progress)


def _queues_of(jobs: Sequence[SimJob]) -> list[Queue]:
    return list({j.job.queue: Queue(j.job.queue, home_center=j.home) for j in jobs}.values())


class Federation:
    """Centers under the scheduling core."""

    def __init__(
        self,
        centers: Sequence[Center],
        queues: Sequence[Queue],
        policy: Policy | None = None,
        *,
        keep_home: bool = False,
        learn: bool = False,
        datasets: Sequence[Dataset] = (),
    ) -> None:
        self._core = Core(policy)
        self._sites = {center.name: Site(center) for center in centers}
        for queue in queues:
            self._core.set_queue(queue)
        for site in self._sites.values():
            self._core.set_center(site.view())
        self._keep_home = keep_home
        self._learner = Learner() if learn else None
        self._gflops = _gflops(centers)
        self.units = {name: site.units for name, site in self._sites.items()}
        self._places: dict[str, Place] = {}
        self._stopping: dict[str, Job] = {}
        self._stale: set[str] = set()
        self._data = _Data(datasets)

    @property
    def wakes_at(self) -> float:
        """When time alone makes another cycle worth while."""
        return self._core.wakes_at

    def arrive(self, one: SimJob, now: float) -> None:
        """A job waits."""
        job = one.job
        if self._keep_home and one.home:
            job = replace(job, shape=replace(job.shape, centers=(one.home,)))
        if self._learner:
            told = self._learner.told(_key(one))
            job = replace(
                job,
                expected_runtime=told.expected,
                runtimes=told.quantiles,
                alike=told.ended,
            )
        self._core.set_job(self._data.wait(job, one.data))

    def finish(self, one: SimJob) -> None:
        """A job has ended."""
        self._give_back(one.job.uid)
        if self._learner:
            self._learner.ended(_key(one), one.duration)

    def stop(self, one: SimJob) -> None:
        """A job that was told to stop has stopped, and waits again."""
        uid = one.job.uid
        self._give_back(uid)
        self._core.set_job(self._data.wait(self._stopping.pop(uid), one.data))

    def _give_back(self, uid: str) -> None:
        place = self._places.pop(uid)
        self._sites[place.center].give(place)
        self._core.drop_placed(uid)
        self._stale.add(place.center)

    def settle(self) -> None:
        """Show the core what has come free."""
        for name in sorted(self._stale):
            self._core.set_center(self._sites[name].view())
        self._stale.clear()

    def decide(self, now: float) -> tuple[Sequence[Grant], Sequence[str]]:
        """Run a cycle."""
        outcome = self._core.cycle(now)
        for place in outcome.placed:
            self._sites[place.center].take(place)
            self._places[place.job.uid] = place
            self._data.starts(place.job.uid)
        for preemption in outcome.preempted:
            job = preemption.victim.job
            self._stopping[job.uid] = job
        return [self._grant(place) for place in outcome.placed], [
            preemption.victim.job.uid for preemption in outcome.preempted
        ]

    def _grant(self, place: Place) -> Grant:
        shape = place.job.shape
        units = shape.alternatives[place.alternative].per_worker * shape.workers
        return Grant(place.job.uid, place.center, units, self._speed(shape, place.alternative))

    def _speed(self, shape: JobShape, alternative: int) -> float:
        chosen, first = shape.alternatives[alternative], shape.alternatives[0]
        if not alternative:
            return 1.0
        if chosen.relative_speed:
            return chosen.relative_speed
        ours = chosen.per_worker * self._gflops.get(chosen.model, 0)
        theirs = first.per_worker * self._gflops.get(first.model, 0)
        return ours / theirs if ours and theirs else 1.0

    def copied(self, dataset: str, centers: frozenset[str]) -> None:
        """Waiting jobs that need the data set are told where it is now."""
        for job in self._data.moved(dataset, centers):
            self._core.set_job(job)

    def room(self, center: str) -> Room:
        """What is free in a center now."""
        return self._sites[center].room()

    def reason(self, uid: str, now: float) -> str:
        """Why a job waits."""
        told = self._core.explain(uid, now)
        return told.reason if told else ""


def _key(one: SimJob) -> tuple[str, int]:
    """Jobs alike: of the same home and size."""
    shape = one.job.shape
    return (one.home, shape.workers * shape.alternatives[0].per_worker)


class _Data:
    """The data needs of waiting jobs; equal needs are one object, so that they are decided once."""

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self._needs = {
            each.name: DataNeed(each.name, each.bytes, frozenset((each.home,))) for each in datasets
        }
        self._waiting: dict[str, dict[str, Job]] = {}
        """By data set and uid, as the job is without its needs."""
        self._of: dict[str, tuple[str, ...]] = {}
        self._shapes: dict[tuple[JobShape, tuple[DataNeed, ...]], JobShape] = {}

    def wait(self, job: Job, names: tuple[str, ...]) -> Job:
        if not names:
            return job
        self._of[job.uid] = names
        bare = replace(job, shape=replace(job.shape, data=())) if job.shape.data else job
        for name in names:
            self._waiting.setdefault(name, {})[job.uid] = bare
        return self._with(bare, names)

    def _with(self, bare: Job, names: tuple[str, ...]) -> Job:
        needs = tuple(self._needs[name] for name in names)
        key = (bare.shape, needs)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = replace(bare.shape, data=needs)
        return replace(bare, shape=shape)

    def starts(self, uid: str) -> None:
        for name in self._of.pop(uid, ()):
            del self._waiting[name][uid]

    def moved(self, name: str, centers: frozenset[str]) -> list[Job]:
        self._needs[name] = replace(self._needs[name], copies=centers)
        self._shapes = {
            key: shape
            for key, shape in self._shapes.items()
            if all(need.dataset != name for need in key[1])
        }
        return [self._with(job, self._of[uid]) for uid, job in self._waiting.get(name, {}).items()]


def _gflops(centers: Sequence[Center]) -> dict[str, int]:
    found: dict[str, int] = {}
    for center in centers:
        for bucket in center.buckets:
            for accelerator in bucket.shape.accelerators:
                before = found.get(accelerator.model, 0)
                found[accelerator.model] = max(before, accelerator.gflops)
    return found
