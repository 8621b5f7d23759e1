"""The line to one center: its API server, or the mailbox of its agent; made, kept and made anew.

Decides how a center is reached and when all that it holds was read; what its silence means is
`center.py`'s. Invariants: nothing is open before everything was read, after each loss anew; every
failure is tried again and delays no other center.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from huiju.api.center import ComputeCenterSpec, PullConnection, PushConnection
from huiju.api.reasons import Reason
from huiju.centers.observe import Observation
from huiju.centers.sensor import Sensor
from huiju.centers.syncer import Syncer
from huiju.hub.credentials import CredentialProblem, read_kubeconfig
from huiju.hub.mailbox import Mailbox
from huiju.hub.settings import HubSettings
from huiju.kube.client import Client
from huiju.kube.clock import boottime
from huiju.kube.credentials import Credentials
from huiju.kube.errors import ApiStatus, KubeError, TooMany, Transient, Unauthorized, first_of
from huiju.kube.leading import LeaderClient
from huiju.kube.resources import NAMESPACES
from huiju.kube.transport import ClientSettings, Observer
from huiju.scheduling.model import Link

log = logging.getLogger(__name__)
_TOO_MANY_PAUSE: Final = 60.0
"""Seconds until a center is read again that showed more than the hub keeps: reading costs time."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """How a center tells the hub of changes; all synchronous and cheap."""

    changed: Callable[[str], None]
    """The center's inventory or standing changed."""
    observed: Callable[[str, Observation], None]
    """A workload in the center changed."""
    opened: Callable[[str], None]
    """Everything in the center has been read."""


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


class CenterSide(Protocol):
    """What the line tells of its center."""

    spec: ComputeCenterSpec

    @property
    def lost(self) -> bool:
        """Whether the center has given no proof of life for long."""

    def alive(self, uid: str, at: float) -> None:
        """The center of this identity gave a sign of life at this time."""

    def stand(self, reachable: bool | None, reason: Reason, message: str) -> None:
        """How the hub and the center stand from now on."""

    def judge_loss(self) -> None:
        """The center was not reached: is it lost?"""

    def disbelieve(self, claim: str) -> None:
        """The center said something that cannot be true."""


class CenterConnection:
    """A center's connection, or its mailbox, and what lives on it; `run` keeps it."""

    def __init__(self, name: str, hub: HubSide, center: CenterSide) -> None:
        self.sensor: Sensor | Mailbox | None = None
        self.syncer: Syncer | Mailbox | None = None
        self.client: Client | None = None
        """While a push center is connected."""
        self.opened = False
        """Whether everything that the center holds has been read."""
        self.version = ""
        """The center's Kubernetes, empty before it was first open."""
        self._name = name
        self._hub = hub
        self._center = center

    def leave(self) -> None:
        """Nothing more is said to the center."""
        self.sensor = self.syncer = None

    async def run(self) -> None:
        """Keep the center connected until cancelled; every failure is tried again."""
        while True:
            pause = self._hub.settings.center_retry
            try:
                await self._connected()
            except* CredentialProblem as problems:
                problem = problems.exceptions[0]
                if isinstance(problem, CredentialProblem):
                    self._center.stand(False, problem.reason, problem.message)
            except* Unauthorized as errors:
                self._center.stand(
                    False,
                    Reason.CREDENTIAL_INVALID,
                    f"The center refuses the credential: {errors.exceptions[0]}; renew it "
                    "(kubectl huiju join does) or look at the account in the center.",
                )
            except* TooMany as errors:
                claim = f"It shows {first_of(errors)}."
                self._center.disbelieve(claim)
                self._center.stand(False, Reason.CLAIM_REFUSED, claim)
                pause = max(pause, _TOO_MANY_PAUSE)
            except* (KubeError, TimeoutError, OSError) as errors:
                self._center.stand(
                    None, Reason.CENTER_UNREACHABLE, f"No answer: {first_of(errors)}"
                )
            except* Exception as errors:
                # A bug in one center's tasks must not end the hub; it is logged and retried.
                log.exception("center failed", extra={"center": self._name}, exc_info=errors)
                self._center.stand(
                    None, Reason.CENTER_UNREACHABLE, "Internal error; see the hub's log."
                )
            self._center.judge_loss()
            await asyncio.sleep(pause)

    async def _connected(self) -> None:
        push, pull = self._center.spec.connection.push, self._center.spec.connection.pull
        if push is not None:
            await self._pushed(push)
        elif pull is not None:
            await self._pulled(pull)

    async def _pulled(self, pull: PullConnection) -> None:
        """Read the mailbox, and judge the agent's life by its Lease there."""
        if pull.approved != "Approved":
            self.leave()
            raise CredentialProblem(
                Reason.AGENT_NOT_APPROVED,
                f"The agent of {self._name} is {pull.approved.lower()};"
                f" `kubectl huiju approve {self._name}` lets it in.",
            )
        mailbox = Mailbox(
            self._hub.client,
            self._name,
            self._hub.hub_id,
            self._changed,
            lambda observation: self._hub.callbacks.observed(self._name, observation),
        )
        self.sensor = self.syncer = mailbox
        self.opened = False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(mailbox.run())
                group.create_task(self._watch_agent(mailbox))
        finally:
            self.opened = False
            self._changed()

    async def _watch_agent(self, mailbox: Mailbox) -> None:
        while not mailbox.synced.is_set():
            if mailbox.failure is not None:
                self._silent(
                    f"The mailbox cannot be read: {mailbox.failure};"
                    f" `kubectl huiju join {self._name} --pull` makes it, with the hub's rights."
                )
            await asyncio.sleep(min(1.0, self._hub.settings.center_heartbeat))
        while True:
            silent = boottime() - mailbox.heard_at if mailbox.heard_at is not None else None
            if silent is None or silent > self._hub.settings.center_lost_after:
                self._silent("The center's agent has not been heard of; is `huiju agent` at work?")
            else:
                self._center.alive(mailbox.center_uid, time.time() - silent)
                if self.opened and not mailbox.published:
                    self.opened = False
                    self._changed()
                elif mailbox.published and not self.opened:
                    self.version = mailbox.version
                    self.opened = True
                    self._hub.callbacks.opened(self._name)
                    self._changed()
            await asyncio.sleep(min(1.0, self._hub.settings.center_heartbeat))

    async def _pushed(self, push: PushConnection) -> None:
        async def credentials() -> Credentials:
            # Also called after a 401: a renewed token is taken from the Secret as it is then.
            return await read_kubeconfig(self._hub.client, push.kubeconfig_secret)

        client = LeaderClient(
            credentials,
            name=self._name,
            held=self._hub.held,
            observer=self._hub.observer(self._name),
            settings=ClientSettings(most=self._hub.settings.center_objects),
        )
        async with client:
            await self._heartbeat(client)
            sensor = Sensor(client, self._center.spec, self._changed)
            syncer = Syncer(
                client,
                self._hub.hub_id,
                lambda observation: self._hub.callbacks.observed(self._name, observation),
                sensor.ailing,
            )
            self.sensor, self.syncer, self.client = sensor, syncer, client
            self.opened = False
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(sensor.run())
                    group.create_task(syncer.run())
                    group.create_task(self._watch_life(client))
                    group.create_task(self._open(sensor, syncer))
            finally:
                self.opened = False
                self.client = None
                self._changed()

    async def _open(self, sensor: Sensor, syncer: Syncer) -> None:
        await sensor.synced.wait()
        await syncer.synced.wait()
        self.version = (await sensor.version()).git_version
        self.opened = True
        self._hub.callbacks.opened(self._name)
        self._changed()

    async def _watch_life(self, client: Client) -> None:
        while True:
            await asyncio.sleep(self._hub.settings.center_heartbeat)
            try:
                await self._heartbeat(client)
            except (Transient, TimeoutError) as error:
                self._silent(f"No answer: {error}")
                if self._center.lost:
                    # What it holds may change unseen until it answers, and is read anew then: its
                    # jobs may have left it, and no old epoch may be overlooked.
                    raise

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
        self._center.alive(str(namespace["metadata"]["uid"]), time.time())

    def _silent(self, message: str) -> None:
        self._center.stand(None, Reason.CENTER_UNREACHABLE, message)
        self._center.judge_loss()

    def _changed(self) -> None:
        self._hub.callbacks.changed(self._name)
