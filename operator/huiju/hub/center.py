"""One center: what it holds and can run, and whether it can be believed.

Decides whether a center is open for placements, lost, or refused; not what runs there. Invariants:
nothing is placed before all that the center holds was read; a credential that leads to another
cluster than the first is refused; one center's trouble delays no other.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

from huiju.api.center import ComputeCenterSpec
from huiju.api.reasons import Reason
from huiju.centers.answers import Inventory
from huiju.centers.bundle import Bundle
from huiju.centers.guarding import runs_sidecars
from huiju.centers.inventory import Reservation
from huiju.centers.lease import LeaseTerms
from huiju.centers.names import MOST_EPOCH, Origin
from huiju.centers.observe import Observation
from huiju.centers.policy import center_view
from huiju.centers.sensor import Sensor
from huiju.centers.syncer import Syncer
from huiju.hub.centerlease import CenterLease
from huiju.hub.clock import seconds
from huiju.hub.connection import CenterConnection, HubSide
from huiju.hub.credentials import CredentialProblem
from huiju.hub.failover import Loss
from huiju.hub.faults import Faults
from huiju.hub.lane import Lane
from huiju.hub.mailbox import Mailbox
from huiju.hub.objects import JobObject, PlacementStatus
from huiju.hub.promises import Promises
from huiju.kube.client import Client
from huiju.kube.clock import boottime
from huiju.kube.errors import (
    BadRequest,
    Transient,
)
from huiju.kube.life import Life
from huiju.kube.resources import Resource
from huiju.scheduling.model import Center, Doubt

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How the hub and the center stand: the Reachable condition in the making."""

    reachable: bool | None
    reason: Reason
    message: str


CONNECTING = Standing(None, Reason.CONNECTING, "The hub has not reached the center yet.")
DOUBT_LASTS = 3600.0
"""Seconds for which the status tells of a claim that was refused."""


@dataclass(frozen=True, slots=True)
class UnitCount:
    """Units of one accelerator model in a center."""

    model: str
    allocatable: int
    free: int
    federated: int


class CenterRuntime:
    """A center's connection, or its mailbox, and everything that lives on it."""

    def __init__(
        self,
        name: str,
        spec: ComputeCenterSpec,
        identity: str,
        lease: CenterLease,
        hub: HubSide,
    ) -> None:
        self.name = name
        self.spec = spec
        self.spec_problem = ""
        """Why the latest spec cannot be used; `spec` is then the one before."""
        self.identity = identity
        """UID of the kube-system namespace that was first met under this name, if any."""
        self.standing = CONNECTING
        self.lost_since = 0.0
        self.lease = lease
        self.faults = Faults(hub.settings.faults)
        """Nodes on which hardware failed under jobs."""
        self.promises = Promises(hub.settings.promises)
        """What the center showed as free and jobs did not find."""
        self._doubts: tuple[Doubt, ...] = ()
        self.faulty_nodes: dict[str, bool] = {}
        """Those that are kept off, each with whether by all jobs; as of the latest look."""
        self.lane = Lane(name, hub.settings.center_calls)
        """The way of the reconciler's workers into the center."""
        self.leaving: dict[str, str] = {}
        """UIDs of jobs whose leaving of this center is being written, each with the
        resourceVersion that the write replaces: while that is stored, the write may still land."""
        self.launches = Lane(name, hub.settings.center_launches)
        """The way of fresh decisions into the center."""
        self._hub = hub
        self._last_seen = 0.0
        self._created = time.time()
        self._doubt = ("", 0.0)
        self._line = CenterConnection(name, hub, self)
        self.unread = False
        """The hub was restored from a backup and has not read the center since."""

    # --- what the jobs' side asks ------------------------------------------------------------

    @property
    def synced(self) -> bool:
        """Whether everything that the center holds has been read."""
        return self._line.opened

    @property
    def lost(self) -> bool:
        """Whether the center has given no proof of life for long."""
        return self.lost_since > 0.0

    @property
    def sensor(self) -> Sensor | Mailbox | None:
        """The center's inventory, once it was reached."""
        return self._line.sensor

    @property
    def _inventory(self) -> Inventory | None:
        return self._line.sensor.inventory if self._line.sensor is not None else None

    @property
    def version(self) -> str:
        """Its Kubernetes, empty before it was first open."""
        return self._line.version

    @property
    def syncer(self) -> Syncer | Mailbox:
        """The center's syncer.

        Raises:
            Transient: the center was not reached yet.
        """
        if self._line.syncer is None:
            raise Transient(f"center {self.name} is not connected")
        return self._line.syncer

    @property
    def client(self) -> Client:
        """The connection to the center, for what users ask of it.

        Raises:
            Transient: the center is not connected now.
            BadRequest: it is a pull center, which nobody reaches from here.
        """
        if self.spec.connection.pull is not None:
            raise BadRequest(
                400,
                "BadRequest",
                f"center {self.name} is a pull center, whose pods the hub cannot reach; ask there:"
                " kubectl logs -A -l huiju.dev/job-name=NAME",
                {},
            )
        if self._line.client is None:
            raise Transient(f"center {self.name} is not connected: {self.standing.message}")
        return self._line.client

    @property
    def credential_life(self) -> Life | None:
        """How long the hub's credential in the center is good for, if it has an end."""
        client = self._line.client
        return client.life if client is not None else None

    def observed(self, uid: str, epoch: int) -> Observation | None:
        """What the center shows of one epoch of a job."""
        return next((o for o in self.observations_of(uid) if o.epoch == epoch), None)

    def observations_of(self, uid: str) -> tuple[Observation, ...]:
        """What the center shows of all epochs of a job."""
        return self._line.syncer.observations_of(uid) if self._line.syncer else ()

    def job_uids(self) -> set[str]:
        """The jobs of which the center holds anything that may run."""
        return self._line.syncer.job_uids() if self._line.syncer else set()

    def held_epoch(self, uid: str, most: int = MOST_EPOCH) -> int:
        """The highest epoch of a job that the center holds, of those up to `most`; 0 for none."""
        return self._line.syncer.held_epoch(uid, most) if self._line.syncer else 0

    async def ensure(self, bundle: Bundle, *, fresh: bool = False) -> None:
        """Create what is missing of a bundle; `fresh`: the caller holds no worker meanwhile."""
        with (self.launches if fresh else self.lane).call():
            self.lease.fence.created(boottime())
            await self.syncer.ensure(bundle)

    async def dry_run(self, bundle: Bundle) -> None:
        """Let the center's API server check a bundle; nothing is made."""
        with self.lane.call():
            await self.syncer.dry_run(bundle)

    async def stop(self, uid: str, epoch: int, reason: Reason, message: str) -> None:
        """Suspend one epoch of a job, and note why on the workload."""
        with self.lane.call():
            await self.syncer.suspend(uid, epoch, reason, message)

    async def clear(
        self, job: JobObject, placement: PlacementStatus, needed: Iterable[tuple[Resource, str]]
    ) -> None:
        """Remove what was made for a workload of the job that never came to be."""
        meta = job.metadata
        origin = Origin(self._hub.hub_id, meta.namespace, meta.name, meta.uid, placement.epoch)
        with self.lane.call():
            await self.syncer.clear(origin, placement.namespace, needed)

    def loss(self) -> Loss | None:
        """What is known of the center's loss; None while it is not lost."""
        if not self.lost:
            return None
        now, wall = boottime(), time.time()
        word = seconds(self.spec.declared_dead or "")
        return Loss(
            since=self.lost_since,
            recorded=self.lease.recorded_lost,
            guards_end=self.lease.guards_end(now, wall),
            guards_ended=self.lease.ended(now),
            dead=word >= math.floor(self.lost_since),  # as the status told it
        )

    # --- what the scheduler asks -------------------------------------------------------------

    def view(self, now: float) -> Center:
        """What the center can run now."""
        closed, message = self._closed()
        inventory = self._inventory
        if inventory is None:
            return Center(name=self.name, closed=closed, closed_message=message)
        return center_view(
            self.name,
            self.spec,
            inventory,
            closed=closed,
            message=message,
            now=now,
            links=self._hub.links(self.name, self.spec, now),
            unguarded=self.guard_trouble,
            unwatched=self.watch_trouble,
            suspects=self.suspects(now),
            doubts=self.promises.doubts(now),
        )

    def _closed(self) -> tuple[str, str]:
        if self.lost:
            return Reason.CENTER_UNREACHABLE, self.standing.message
        if self.lease.recorded_lost:
            # What is placed now must not be given up by a hub that starts from the status.
            return Reason.CENTER_NOT_READY, "The center answers again, which is being recorded."
        if self.standing.reachable is not True:
            return self.standing.reason, self.standing.message
        if not self._line.opened:
            return Reason.CENTER_NOT_READY, "The hub has not yet read what the center holds."
        if self.spec_problem:
            return Reason.INVALID_SPEC, self.spec_problem
        if self.spec.cordoned:
            return Reason.CENTER_CORDONED, "The center is cordoned."
        return "", ""

    def suspects(self, now: float) -> dict[str, bool]:
        """Nodes on which hardware failed lately, each with whether it is set aside for all."""
        aside = self.faults.set_aside(now, self.node_count)
        return {node: node in aside for node in self.faults.suspects(now)}

    @property
    def node_count(self) -> int:
        """Nodes of the center, 0 while nothing is known."""
        return self._inventory.census().nodes if self._inventory is not None else 0

    def look_at_time(self, now: float) -> None:
        """Let go of what speaks against the center or its nodes and is too old by now."""
        self.faults.forget(now)
        self.promises.forget(now)
        before = (self.faulty_nodes, self._doubts)
        self.faulty_nodes, self._doubts = self.suspects(now), self.promises.doubts(now)
        if (self.faulty_nodes, self._doubts) != before:
            self._hub.callbacks.changed(self.name)

    def reserve(self, reservation: Reservation) -> None:
        """Keep units from other decisions until pods are bound."""
        if self._inventory is not None:
            self._inventory.reserve(reservation)
            self._hub.callbacks.changed(self.name)

    def release(self, uid: str, epoch: int) -> None:
        """Give a reservation back."""
        if self._inventory is not None:
            self._inventory.release(uid, epoch)
            self._hub.callbacks.changed(self.name)

    # --- facts for rendering -----------------------------------------------------------------

    @property
    def has_sentinel(self) -> bool:
        """Whether a sentinel in the center asks for its lease."""
        return self.lease.has_sentinel(boottime())

    @property
    def guard_trouble(self) -> str:
        """Why pods cannot be guarded in the center, empty if they can be."""
        if not self.has_sentinel:
            return "and no sentinel asks for the center's lease: install Huiju's there"
        return self.watch_trouble

    @property
    def watch_trouble(self) -> str:
        """Why pods cannot carry a guard there, under a lease or not; empty if they can."""
        image, allowed = self._hub.settings.guard_image, self.spec.sharing.image_prefixes
        if not runs_sidecars(self.version):
            return f"and the center's Kubernetes {self.version} has no sidecars: 1.29 is the first"
        if not image:
            return "and the hub knows no image of the guard: start it with --guard-image"
        if allowed and not image.startswith(tuple(allowed)):
            return f"and the owner's sharing.imagePrefixes do not let in the guard's image {image}"
        return ""

    def lease_terms(self) -> LeaseTerms:
        """The terms of the center's lease, as its guards are told them."""
        return self.lease.terms(self.spec.lease.namespace)

    def lease_left(self) -> float:
        """Seconds that the center's lease holds at least; 0 for none."""
        return self.lease.fence.remaining(boottime())

    def model_labels(self, model: str, resource: str) -> dict[str, str]:
        """Node labels that single out the model among nodes of one resource name."""
        return self._inventory.model_labels(model, resource) if self._inventory else {}

    def resource_of(self, model: str) -> str | None:
        """A resource name under which the center has the model."""
        return self._inventory.resource_of(model) if self._inventory else None

    def gflops_per_unit(self, model: str, resource: str) -> int:
        """Normalized compute of one unit; 0 while the center has no such node."""
        return self._inventory.gflops_per_unit(model, resource) if self._inventory else 0

    def units(self) -> list[UnitCount]:
        """The accelerators by model, empty while nothing is known."""
        if self._inventory is None:
            return []
        return [
            UnitCount(row["model"], row["allocatable"], row["free"], row["federated"])
            for row in self._inventory.summary()["accelerators"]
        ]

    # --- belief ------------------------------------------------------------------------------

    def disbelieve(self, claim: str) -> None:
        """The center said something that cannot be true; nothing was done by it."""
        known, _ = self._doubt
        self._doubt = (claim, time.time())
        if claim != known:
            log.warning("claim refused", extra={"center": self.name, "claim": claim})
            self._hub.callbacks.changed(self.name)

    def doubt(self, now: float) -> str:
        """What the center said lately that was not believed, empty if all was."""
        mailbox = self._line.syncer
        refused = mailbox.refused if isinstance(mailbox, Mailbox) else ""
        claim, said = self._doubt
        return refused or (claim if now - said < DOUBT_LASTS else "")

    # --- life --------------------------------------------------------------------------------

    def leave_unread(self) -> None:
        """The hub was restored, and knows nothing of what this center may run since the backup."""
        self.unread = True
        self._hub.callbacks.changed(self.name)

    def was_read(self) -> None:
        """Everything that the center holds is known."""
        if self.unread:
            self.unread = False
            self._hub.callbacks.changed(self.name)

    def changed(self) -> None:
        """Tell the hub that something of the center has changed."""
        self._hub.callbacks.changed(self.name)

    def refuse_spec(self, problem: str) -> None:
        """A new spec cannot be used: place nothing until it is corrected."""
        self.spec_problem = problem
        self._hub.callbacks.changed(self.name)

    def respec(self, spec: ComputeCenterSpec) -> bool:
        """Take a new spec; True if the connection must be made anew."""
        anew = spec.connection != self.spec.connection or spec.accelerators != (
            self.spec.accelerators
        )
        told = spec.declared_dead != self.spec.declared_dead
        self.faults.forgive(seconds(spec.hardware_repaired or ""))
        self.spec, self.spec_problem = spec, ""
        if spec.connection.pull is not None and spec.connection.pull.approved != "Approved":
            # At once: nothing more is written into the mailbox of an agent that is not trusted.
            self._line.leave()
        if told and self.lost:
            self._hub.callbacks.opened(self.name)  # its jobs may leave it now
        self._hub.callbacks.changed(self.name)
        return anew

    async def run(self) -> None:
        """Keep the center connected until cancelled; every failure is tried again."""
        await self._line.run()

    def alive(self, uid: str, at: float) -> None:
        """The center of this identity gave a sign of life."""
        if self.identity and uid != self.identity:
            raise CredentialProblem(
                Reason.IDENTITY_CHANGED,
                f"The credential leads to another cluster (kube-system UID {uid}) than the one "
                f"that joined as {self.name} ({self.identity}); restore the credential, or delete "
                "the ComputeCenter and join the new cluster under another name.",
            )
        self.identity = uid
        self._last_seen = at
        returned = self.lost and self._line.opened
        self.lost_since = 0.0
        if returned:
            # Nothing there may have changed meanwhile, so no event would bring its jobs back.
            self._hub.callbacks.opened(self.name)
        self.stand(True, Reason.REACHABLE, "The center answers.")

    def stand(self, reachable: bool | None, reason: Reason, message: str) -> None:
        """How the hub and the center stand from now on."""
        standing = Standing(reachable, reason, message)
        if standing != self.standing:
            self.standing = standing
            self._hub.callbacks.changed(self.name)

    def judge_loss(self) -> None:
        """Whether the center has been silent for so long that it counts as lost."""
        silent_since = self._last_seen or self._created
        if self.lost or time.time() - silent_since < self._hub.settings.center_lost_after:
            return
        self.lease.fence.close()
        self.lost_since = silent_since
        log.warning("center lost", extra={"center": self.name})
        self._hub.callbacks.changed(self.name)
        self._hub.callbacks.opened(self.name)
