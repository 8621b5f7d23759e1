"""One center: connects, senses, syncs, and knows whether the center can be believed.

Decides whether a center is open for placements, lost, or refused; not what runs there. Invariants:
nothing is placed before all that the center holds was read; a credential that leads to another
cluster than the first is refused; one center's trouble delays no other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from huiju.api.center import ComputeCenterSpec, PullConnection, PushConnection
from huiju.api.reasons import Reason
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
from huiju.hub.credentials import CredentialProblem, read_kubeconfig
from huiju.hub.failover import Loss
from huiju.hub.faults import Faults
from huiju.hub.lane import Lane
from huiju.hub.mailbox import Mailbox
from huiju.hub.objects import JobObject, PlacementStatus
from huiju.hub.promises import Promises
from huiju.hub.settings import HubSettings
from huiju.kube.client import Client
from huiju.kube.clock import boottime
from huiju.kube.credentials import Credentials
from huiju.kube.errors import (
    ApiStatus,
    BadRequest,
    KubeError,
    Transient,
    Unauthorized,
    first_of,
)
from huiju.kube.leading import LeaderClient
from huiju.kube.life import Life
from huiju.kube.resources import NAMESPACES, Resource
from huiju.kube.transport import Observer
from huiju.scheduling.model import Center, Doubt, Link

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How the hub and the center stand: the Reachable condition in the making."""

    reachable: bool | None
    reason: Reason
    message: str


DOUBT_LASTS = 3600.0
"""Seconds for which the status tells of a claim that was refused."""
CONNECTING = Standing(None, Reason.CONNECTING, "The hub has not reached the center yet.")


@dataclass(frozen=True, slots=True)
class UnitCount:
    """Units of one accelerator model in a center."""

    model: str
    allocatable: int
    free: int
    federated: int


@dataclass(frozen=True, slots=True)
class Callbacks:
    """How a center tells the hub of changes; all synchronous and cheap."""

    changed: Callable[[str], None]
    """The center's inventory or standing changed."""
    observed: Callable[[str, Observation], None]
    """A workload in the center changed."""
    opened: Callable[[str], None]
    """Everything in the center has been read."""


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
        self.version = ""
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
        self._sensor: Sensor | Mailbox | None = None
        self._syncer: Syncer | Mailbox | None = None
        self._client: Client | None = None
        self._opened = False
        self.unread = False
        """The hub was restored from a backup and has not read the center since."""

    # --- what the jobs' side asks ------------------------------------------------------------

    @property
    def synced(self) -> bool:
        """Whether everything that the center holds has been read."""
        return self._opened

    @property
    def lost(self) -> bool:
        """Whether the center has given no proof of life for long."""
        return self.lost_since > 0.0

    @property
    def sensor(self) -> Sensor | Mailbox | None:
        """The center's inventory, once it was reached."""
        return self._sensor

    @property
    def syncer(self) -> Syncer | Mailbox:
        """The center's syncer.

        Raises:
            Transient: the center was not reached yet.
        """
        if self._syncer is None:
            raise Transient(f"center {self.name} is not connected")
        return self._syncer

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
        if self._client is None:
            raise Transient(f"center {self.name} is not connected: {self.standing.message}")
        return self._client

    @property
    def credential_life(self) -> Life | None:
        """How long the hub's credential in the center is good for, if it has an end."""
        return self._client.life if self._client is not None else None

    def observed(self, uid: str, epoch: int) -> Observation | None:
        """What the center shows of one epoch of a job."""
        return next((o for o in self.observations_of(uid) if o.epoch == epoch), None)

    def observations_of(self, uid: str) -> tuple[Observation, ...]:
        """What the center shows of all epochs of a job."""
        return self._syncer.observations_of(uid) if self._syncer else ()

    def job_uids(self) -> set[str]:
        """The jobs of which the center holds anything that may run."""
        return self._syncer.job_uids() if self._syncer else set()

    def held_epoch(self, uid: str, most: int = MOST_EPOCH) -> int:
        """The highest epoch of a job that the center holds, of those up to `most`; 0 for none."""
        return self._syncer.held_epoch(uid, most) if self._syncer else 0

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
            dead=word >= self.lost_since,
        )

    # --- what the scheduler asks -------------------------------------------------------------

    def view(self, now: float) -> Center:
        """What the center can run now."""
        closed, message = self._closed()
        if self._sensor is None:
            return Center(name=self.name, closed=closed, closed_message=message)
        return center_view(
            self.name,
            self.spec,
            self._sensor.inventory,
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
        if not self._opened:
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
        return self._sensor.inventory.census().nodes if self._sensor is not None else 0

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
        if self._sensor is not None:
            self._sensor.inventory.reserve(reservation)
            self._hub.callbacks.changed(self.name)

    def release(self, uid: str, epoch: int) -> None:
        """Give a reservation back."""
        if self._sensor is not None:
            self._sensor.inventory.release(uid, epoch)
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
        return self._sensor.inventory.model_labels(model, resource) if self._sensor else {}

    def resource_of(self, model: str) -> str | None:
        """A resource name under which the center has the model."""
        return self._sensor.inventory.resource_of(model) if self._sensor else None

    def gflops_per_unit(self, model: str, resource: str) -> int:
        """Normalized compute of one unit; 0 while the center has no such node."""
        return self._sensor.inventory.gflops_per_unit(model, resource) if self._sensor else 0

    def units(self) -> list[UnitCount]:
        """The accelerators by model, empty while nothing is known."""
        if self._sensor is None:
            return []
        return [
            UnitCount(row["model"], row["allocatable"], row["free"], row["federated"])
            for row in self._sensor.inventory.summary()["accelerators"]
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
        refused = self._syncer.refused if isinstance(self._syncer, Mailbox) else ""
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
            self._sensor = self._syncer = None
        if told and self.lost:
            self._hub.callbacks.opened(self.name)  # its jobs may leave it now
        self._hub.callbacks.changed(self.name)
        return anew

    async def run(self) -> None:
        """Keep the center connected until cancelled; every failure is tried again."""
        while True:
            try:
                await self._connected()
            except* CredentialProblem as problems:
                problem = problems.exceptions[0]
                if isinstance(problem, CredentialProblem):
                    self._stand(False, problem.reason, problem.message)
            except* Unauthorized as errors:
                self._stand(
                    False,
                    Reason.CREDENTIAL_INVALID,
                    f"The center refuses the credential: {errors.exceptions[0]}; renew it "
                    "(kubectl huiju join does) or look at the account in the center.",
                )
            except* (KubeError, TimeoutError, OSError) as errors:
                self._stand(None, Reason.CENTER_UNREACHABLE, f"No answer: {first_of(errors)}")
            except* Exception as errors:
                # A bug in one center's tasks must not end the hub; it is logged and retried.
                log.exception("center failed", extra={"center": self.name}, exc_info=errors)
                self._stand(None, Reason.CENTER_UNREACHABLE, "Internal error; see the hub's log.")
            self._judge_loss()
            await asyncio.sleep(self._hub.settings.center_retry)

    async def _connected(self) -> None:
        push, pull = self.spec.connection.push, self.spec.connection.pull
        if push is not None:
            await self._pushed(push)
        elif pull is not None:
            await self._pulled(pull)

    async def _pulled(self, pull: PullConnection) -> None:
        """Read the mailbox, and judge the agent's life by its Lease there."""
        if pull.approved != "Approved":
            self._sensor = self._syncer = None
            raise CredentialProblem(
                Reason.AGENT_NOT_APPROVED,
                f"The agent of {self.name} is {pull.approved.lower()};"
                f" `kubectl huiju approve {self.name}` lets it in.",
            )
        mailbox = Mailbox(
            self._hub.client,
            self.name,
            self._hub.hub_id,
            lambda: self._hub.callbacks.changed(self.name),
            lambda observation: self._hub.callbacks.observed(self.name, observation),
        )
        self._sensor = self._syncer = mailbox
        self._opened = False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(mailbox.run())
                group.create_task(self._watch_agent(mailbox))
        finally:
            self._opened = False
            self._hub.callbacks.changed(self.name)

    async def _watch_agent(self, mailbox: Mailbox) -> None:
        while not mailbox.synced.is_set():
            if mailbox.failure is not None:
                self._stand(
                    None,
                    Reason.CENTER_UNREACHABLE,
                    f"The mailbox cannot be read: {mailbox.failure};"
                    f" `kubectl huiju join {self.name} --pull` makes it, with the hub's rights.",
                )
                self._judge_loss()
            await asyncio.sleep(min(1.0, self._hub.settings.center_heartbeat))
        while True:
            silent = boottime() - mailbox.heard_at if mailbox.heard_at is not None else None
            if silent is None or silent > self._hub.settings.center_lost_after:
                message = "The center's agent has not been heard of; is `huiju agent` at work?"
                self._stand(None, Reason.CENTER_UNREACHABLE, message)
                self._judge_loss()
            else:
                self._alive(mailbox.center_uid, time.time() - silent)
                if self._opened and not mailbox.published:
                    self._opened = False
                    self._hub.callbacks.changed(self.name)
                elif mailbox.published and not self._opened:
                    self.version = mailbox.version
                    self._opened = True
                    self._hub.callbacks.opened(self.name)
                    self._hub.callbacks.changed(self.name)
            await asyncio.sleep(min(1.0, self._hub.settings.center_heartbeat))

    async def _pushed(self, push: PushConnection) -> None:
        async def credentials() -> Credentials:
            # Also called after a 401: a renewed token is taken from the Secret as it is then.
            return await read_kubeconfig(self._hub.client, push.kubeconfig_secret)

        client = LeaderClient(
            credentials, name=self.name, held=self._hub.held, observer=self._hub.observer(self.name)
        )
        async with client:
            await self._heartbeat(client)
            sensor = Sensor(client, self.spec, lambda: self._hub.callbacks.changed(self.name))
            syncer = Syncer(
                client,
                self._hub.hub_id,
                lambda observation: self._hub.callbacks.observed(self.name, observation),
                sensor.ailing,
            )
            self._sensor, self._syncer, self._client = sensor, syncer, client
            self._opened = False
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(sensor.run())
                    group.create_task(syncer.run())
                    group.create_task(self._watch_life(client))
                    group.create_task(self._open(sensor, syncer))
            finally:
                self._opened = False
                self._client = None
                self._hub.callbacks.changed(self.name)

    async def _open(self, sensor: Sensor, syncer: Syncer) -> None:
        await sensor.synced.wait()
        await syncer.synced.wait()
        self.version = (await sensor.version()).git_version
        self._opened = True
        self._hub.callbacks.opened(self.name)
        self._hub.callbacks.changed(self.name)

    async def _watch_life(self, client: Client) -> None:
        while True:
            await asyncio.sleep(self._hub.settings.center_heartbeat)
            try:
                await self._heartbeat(client)
            except (Transient, TimeoutError) as error:
                self._stand(None, Reason.CENTER_UNREACHABLE, f"No answer: {error}")
                self._judge_loss()

    async def _heartbeat(self, client: Client) -> None:
        """Proof of life and of identity in one call."""
        try:
            namespace = await client.get(NAMESPACES, "kube-system")
        except ApiStatus as error:
            if isinstance(error, Unauthorized):
                raise
            raise CredentialProblem(
                Reason.CREDENTIAL_INVALID,
                f"The account may not read namespace kube-system in the center: {error}; "
                "kubectl huiju join makes an account that may.",
            ) from None
        self._alive(str(namespace["metadata"]["uid"]), time.time())

    def _alive(self, uid: str, at: float) -> None:
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
        returned = self.lost and self._opened
        self.lost_since = 0.0
        if returned:
            # Nothing there may have changed meanwhile, so no event would bring its jobs back.
            self._hub.callbacks.opened(self.name)
        self._stand(True, Reason.REACHABLE, "The center answers.")

    def _stand(self, reachable: bool | None, reason: Reason, message: str) -> None:
        standing = Standing(reachable, reason, message)
        if standing != self.standing:
            self.standing = standing
            self._hub.callbacks.changed(self.name)

    def _judge_loss(self) -> None:
        silent_since = self._last_seen or self._created
        if self.lost or time.time() - silent_since < self._hub.settings.center_lost_after:
            return
        self.lease.fence.close()
        self.lost_since = silent_since
        log.warning("center lost", extra={"center": self.name})
        self._hub.callbacks.changed(self.name)
        self._hub.callbacks.opened(self.name)


@dataclass(frozen=True, slots=True)
class HubSide:
    """What every center gets from the hub."""

    client: Client
    hub_id: str
    settings: HubSettings
    callbacks: Callbacks
    held: Callable[[], bool]
    """Whether this hub leads; asked before each write."""
    observer: Callable[[str], Observer]
    """Counts the calls to one center."""
    links: Callable[[str, ComputeCenterSpec, float], tuple[Link, ...]]
    """A center's links as they are found to be."""
