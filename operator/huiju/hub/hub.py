"""The hub, put together: what runs, what wakes what, and what may act only while it leads.

Decides nothing about jobs or centers; it wires the parts. Invariant: no part writes before this
hub holds its Lease, and all parts stop when the Lease is lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from huiju.centers.observe import Observation
from huiju.hub.acceptance import Acceptance
from huiju.hub.announce import Announcer
from huiju.hub.centers import Centers
from huiju.hub.collector import Collector
from huiju.hub.commit import Committer
from huiju.hub.connection import Callbacks, HubSide
from huiju.hub.datasets.auditor import Auditor
from huiju.hub.datasets.catalog import Catalog
from huiju.hub.datasets.copier import Copier
from huiju.hub.datasets.flows import Flows
from huiju.hub.datasets.keeper import Keeper
from huiju.hub.datasets.links import Links
from huiju.hub.datasets.models import Models
from huiju.hub.datasets.mover import Mover
from huiju.hub.datasets.needs import Needs
from huiju.hub.datasets.replicawriter import ReplicaWriter
from huiju.hub.datasets.waker import Waker
from huiju.hub.dispatcher import Dispatcher
from huiju.hub.experience import Experience
from huiju.hub.fencing import Fencing
from huiju.hub.granter import Granter
from huiju.hub.jobcache import JobCache
from huiju.hub.jobwriter import JobWriter
from huiju.hub.leftovers import Leftovers
from huiju.hub.objects import JobObject
from huiju.hub.population import Population
from huiju.hub.proof import Proof, placement_key
from huiju.hub.queues import Queues
from huiju.hub.recall import Recall
from huiju.hub.reconciler import Reconciler
from huiju.hub.renderer import Renderer
from huiju.hub.settings import HubSettings
from huiju.hub.shell import Shell
from huiju.hub.sites import Sites
from huiju.hub.trial import Trial
from huiju.hub.waits import Waits
from huiju.kube.client import Client
from huiju.kube.credentials import Credentials
from huiju.kube.errors import KubeError
from huiju.kube.informer import Informer
from huiju.kube.leading import LeaderClient
from huiju.kube.resources import (
    COMPUTE_CENTERS,
    COMPUTE_QUEUES,
    CROSS_REGION_JOBS,
    DATASET_SHARES,
    EVENTS,
)
from huiju.kube.transport import Observer
from huiju.scheduling.core import Core
from huiju.scheduling.model import Place, Preempt
from huiju.telemetry.events import EventRecorder
from huiju.telemetry.metrics import OWN, HubMetrics

log = logging.getLogger(__name__)


class Hub:
    """One hub process; `run` returns only by cancellation or a bug."""

    def __init__(
        self,
        client: Client,
        hub_id: str,
        credentials: Callable[[], Credentials],
        settings: HubSettings,
        metrics: HubMetrics,
        held: Callable[[], bool],
        observer: Callable[[str], Observer],
    ) -> None:
        self.settings = settings
        self.hub_id = hub_id
        self.client = client
        self.metrics = metrics
        self.core = Core(settings.policy)
        self.waits = Waits(settings)
        self.sites = Sites()
        self._recorder = EventRecorder(self._post_event, dropped=metrics.event_dropped)
        announcer = Announcer(self._recorder)
        self._informer: Informer[JobObject] = Informer(
            client, CROSS_REGION_JOBS, JobObject, on_change=self._job_changed
        )
        self.jobs = JobCache(self._informer)
        self.dispatcher = Dispatcher(self.core, self.waits, metrics, settings, self)
        self.catalog = Catalog(client, self._data_changed)
        self.models = Models(client, self.catalog, lambda: self.keeper.wake())
        self.needs = Needs(self.catalog, self.sites)
        self.links = Links(self.catalog)
        self._with_data: dict[str, str] = {}
        self._waker = Waker(self.catalog, self.links, self)
        side = HubSide(
            client,
            hub_id,
            settings,
            Callbacks(self._center_changed, self._observed, self._center_opened),
            held,
            observer,
            self.links.of,
        )
        self.centers = Centers(side, self.sites, announcer)
        self.experience = Experience()
        self.population = Population(
            self.core,
            self.sites,
            self.waits,
            self.dispatcher.wake,
            self.dispatcher.wake_at,
            self.needs.of,
            self.experience.of,
            settings.retry_max,
        )
        self.queues = Queues(
            self.core, client, self._queue_changed, settings.queue_figures_interval
        )
        replica_writer = ReplicaWriter(client, self.catalog)
        copier = Copier(
            client,
            self.catalog,
            self.sites,
            lambda: self.needs.demands(self.jobs_with_data()),
            replica_writer,
        )
        flows = Flows(metrics, time.time())
        self.mover = Mover(client, self.catalog, self.sites, replica_writer, flows, settings)
        auditor = Auditor(self.catalog, self.jobs_with_data, self.mover.served, settings.audit_file)
        self.keeper = Keeper(
            client, self.catalog, self.sites, copier, self._waker, self.models, auditor, settings
        )
        self._proof = Proof()
        self.recall = Recall(self.sites, self.jobs, self._proof, self.dispatcher.wake)
        renderer = Renderer(client, hub_id, self.sites.get, settings.guard_image, self._proof)
        writer = JobWriter(client, self.jobs, metrics.attempt_ended)
        acceptance = Acceptance(
            self.queues.spec,
            self.needs.verdict,
            Trial(self.sites, renderer, self.needs.mounts),
            settings.refused_recheck,
        )
        self._acceptance = acceptance
        self.reconciler = Reconciler(
            settings,
            self.jobs,
            self.sites,
            self.population,
            acceptance,
            writer,
            renderer,
            Committer(self.jobs, writer, renderer, self.sites, self.needs, self.recall, settings),
            self.needs,
            self.recall,
            self.waits,
            announcer,
            metrics,
        )
        self._granter = Granter(
            credentials,
            lambda name, known: LeaderClient(
                known, name=name, held=held, observer=metrics.observer(name)
            ),
        )
        self.fencing = Fencing(
            self.jobs,
            self.sites,
            self._granter,
            lambda job: self.reconciler.queue.add(job.key),
            settings.fence_interval,
        )
        leftovers = Leftovers(hub_id, self.sites.mappings)
        self.collector = Collector(self.jobs, self.centers, leftovers, settings)
        self._shell = Shell(credentials, self._kopf_event)
        self._listed = asyncio.Event()

    @property
    def synced(self) -> bool:
        """Whether all jobs, queues and centers are known."""
        return self.jobs.synced and self._listed.is_set()

    async def run(self) -> None:
        """Run every part until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informer.run(), name="jobs")
            group.create_task(self._shell.run(), name="kopf")
            group.create_task(self._relist(), name="relist")
            group.create_task(self._recorder.run(), name="events")
            for informer in (*self.catalog.informers, self.models.informer):
                group.create_task(informer.run(), name=informer.resource.plural)
            await self._listed.wait()
            await self._informer.synced.wait()
            for informer in self.catalog.informers:
                await informer.synced.wait()
            self._proof.use(await self._placement_key())
            self.recall.begin(self.centers.answered(), time.time())
            group.create_task(self.keeper.run(), name="datasets")
            group.create_task(self.mover.run(), name="transfers")
            group.create_task(self.centers.run(), name="centers")
            group.create_task(self._granter.run(), name="leases")
            group.create_task(self.fencing.run(), name="fencing")
            group.create_task(self.reconciler.run(), name="reconciler")
            group.create_task(self.dispatcher.run(), name="dispatcher")
            group.create_task(self.collector.run(), name="collector")
            group.create_task(self._queue_statuses(), name="queues")
            group.create_task(self._resync(), name="resync")

    async def _placement_key(self) -> bytes:
        while True:
            try:
                return await placement_key(self.client, self.settings.namespace)
            except (KubeError, TimeoutError) as error:
                log.warning("no key for placements yet", extra={"error": str(error)})
                await asyncio.sleep(2)

    async def _post_event(self, event: Mapping[str, Any], namespace: str) -> object:
        return await self.client.create(EVENTS, event, namespace)

    # --- the dispatcher's hooks --------------------------------------------------------------

    def ready(self) -> bool:
        """Whether a decision may be taken now."""
        return self.synced and self.recall.complete

    def site(self, name: str) -> Any:
        """The center of this name."""
        return self.sites.get(name)

    def reserve(self, decision: Place) -> None:
        """Reserve a decision under the epoch that its commit will most likely give."""
        job = self.jobs.by_uid(decision.job.uid)
        known = job.status.epoch if job is not None else 0
        self.population.reserve(decision, self.sites.next_epoch(decision.job.uid, known))

    def waiting(self, uid: str) -> None:
        """A job's waiting reason changed: it may be due for a write."""
        job = self.jobs.by_uid(uid)
        if job is not None:
            self.reconciler.queue.add_after(job.key, self.settings.waiting_write_delay)

    def preempt(self, preemption: Preempt) -> None:
        """Stop a placed job gracefully and queue it again."""
        self.reconciler.preempt(preemption)

    async def commit(self, decision: Place) -> None:
        """Make a decision durable and dispatch it."""
        await self.reconciler.commit(decision)

    # --- what wakes what ---------------------------------------------------------------------

    def _job_changed(self, old: JobObject | None, new: JobObject | None) -> None:
        self.experience.saw(old, new)
        news = self.jobs.saw(old, new)
        if new is not None and news:
            self.reconciler.queue.add(new.key)
        if new is not None and new.spec.data:
            self._with_data[new.metadata.uid] = new.key
            self.keeper.wake()
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            if self._with_data.pop(old.metadata.uid, None) is not None:
                self.keeper.wake()
            self.population.gone(old.metadata.uid)
            self.sites.forget(old.metadata.uid)
            self.reconciler.forget(old.metadata.uid)
            self.recall.settled(old.metadata.uid)
            self._acceptance.forget(old.metadata.uid)
            if old.status.epoch:
                self.collector.deleted(old)

    def _observed(self, _center: str, observation: Observation) -> None:
        job = self.jobs.by_uid(observation.job_uid)
        if job is not None:
            self.reconciler.queue.add(job.key)
        elif self.jobs.synced:
            self.collector.wake()

    def _center_changed(self, name: str) -> None:
        self.dispatcher.center_changed(name)
        self.centers.changed(name)

    def _center_opened(self, name: str) -> None:
        """All that the center holds is known, or it was lost: its jobs are looked at."""
        for job in self.recall.opened(name):
            self.reconciler.queue.add(job.key)
        placed = [
            job
            for job in self.jobs
            if job.status.placement is not None and job.status.placement.center == name
        ]
        self.population.restore(placed, name)
        for job in placed:
            self.reconciler.queue.add(job.key)
        self.collector.wake()

    def _queue_changed(self, name: str) -> None:
        for job in self.jobs:
            if job.spec.queue == name and job.status.placement is None:
                self.reconciler.queue.add(job.key)
        self.dispatcher.wake()

    def _data_changed(self, share: str) -> None:
        self._waker.share_changed(share)
        self.keeper.wake()
        self.mover.wake()

    def jobs_with_data(self) -> Iterator[JobObject]:
        """Jobs that name data sets."""
        for key in tuple(self._with_data.values()):
            job = self.jobs.get(key)
            if job is not None:
                yield job

    def look_at(self, key: str) -> None:
        """Look at a job soon."""
        self.reconciler.queue.add(key)

    def center_changed(self, name: str) -> None:
        """What the scheduler knows of a center has changed."""
        self.dispatcher.center_changed(name)

    def centers_anew(self) -> None:
        """What was found out about the centers holds no longer."""
        self.needs.forget_centers()

    def _kopf_event(self, plural: str, kind: str | None, body: Mapping[str, Any]) -> None:
        if plural == DATASET_SHARES.plural:
            if kind == "DELETED":
                meta = body["metadata"]
                self.catalog.remove(f"{meta['namespace']}/{meta['name']}")
            else:
                self.catalog.upsert(body)
            return
        target = self.centers if plural == COMPUTE_CENTERS.plural else self.queues
        if kind == "DELETED":
            target.remove(str(body["metadata"]["name"]))
        else:
            target.upsert(body)

    # --- what runs by the clock --------------------------------------------------------------

    async def _relist(self) -> None:
        """List the low-volume kinds at start and now and then: a watch may miss a deletion."""
        while True:
            try:
                for res, target in (
                    (COMPUTE_QUEUES, self.queues),
                    (COMPUTE_CENTERS, self.centers),
                ):
                    page = await self.client.list_all(res)
                    found = {item["metadata"]["name"] for item in page.items}
                    target.keep_only(found, int(page.resource_version or 0))
                    for item in page.items:
                        target.upsert(item)
                await self._relist_shares()
                self._listed.set()
                await asyncio.sleep(60)
            except (KubeError, TimeoutError) as error:
                log.warning("listing failed", extra={"error": str(error)})
                await asyncio.sleep(2)

    async def _relist_shares(self) -> None:
        page = await self.client.list_all(DATASET_SHARES)
        found = {f"{i['metadata']['namespace']}/{i['metadata']['name']}" for i in page.items}
        self.catalog.keep_only(found, int(page.resource_version or 0))
        for item in page.items:
            self.catalog.upsert(item)

    async def _queue_statuses(self) -> None:
        until = time.monotonic() + self.settings.center_lost_after
        while True:
            await asyncio.sleep(self.settings.center_status_interval)
            if time.monotonic() < until and not all(s.synced or s.lost for s in self.sites):
                continue  # the queues would seem to hold nothing in centers not read yet
            until = 0.0
            try:
                counts = self.population.counts()
                standings = {each.queue: each for each in self.core.standings()}
                self.metrics.queues(standings.values())
                self.metrics.population(counts, self.sites)
                lives = {site.name: site.credential_life for site in self.sites}
                self.metrics.credentials(lives | {OWN: self.client.life})
                await self.queues.write_statuses(counts, standings)
            except Exception:
                # Figures are a courtesy: whatever is wrong with one, the jobs go on.
                log.exception("figures not shown")

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self.settings.resync)
            for job in self.jobs:
                self.reconciler.queue.add(job.key)
