"""Who leads, by a Lease: candidates in a thread of their own, so that nothing delays a renewal.

Decides only whether we lead. Invariant: `held` is true only while no other candidate can have
taken the Lease: from the moment of *sending* the last acknowledged renewal, for `renew` seconds,
which end before the Lease does.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from huiju.kube.client import Client
from huiju.kube.clock import boottime
from huiju.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from huiju.kube.resources import LEASES

log = logging.getLogger(__name__)
_DRIFT: Final = 0.02
"""Part of the duration kept back, since two clocks may differ in speed."""


@dataclass(frozen=True, slots=True)
class ElectionSettings:
    """The Lease and its times, in seconds."""

    name: str
    namespace: str
    identity: str
    """Unlike that of any other process, also of an earlier life of this one."""
    duration: int = 15
    """Another candidate takes over when nothing has been renewed for so long."""
    renew: float = 10.0
    """A leader whose last acknowledged renewal is so old leads no more. What it has sent by then
    has until the end of the duration to arrive or to fail."""
    retry: float = 2.0
    """Pause between two renewals, and between two looks at another's Lease."""

    def __post_init__(self) -> None:
        # A call may take a third of `renew`: one that is never answered leaves time for another.
        if not 0 < self.retry <= self.renew / 3:
            raise ValueError("a Lease needs 0 < retry <= renew / 3, so that one try may be lost")
        if not self.renew < self.duration * (1 - _DRIFT):
            raise ValueError("a Lease needs renew < duration, so that a leader stops in time")

    @property
    def deadline(self) -> float:
        """A single call gives up after so long."""
        return self.renew / 3


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str
    uid: str


class _Lease(msgspec.Struct):
    metadata: _Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)


class Elector:
    """Takes part in an election from `start()` to `stop()`.

    `connect` makes the Client, in the elector's own thread and loop. `on_gained` and `on_lost` are
    called in that thread and must return at once (`call_soon_threadsafe`). After a loss it goes on
    as a candidate.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        settings: ElectionSettings,
        *,
        on_gained: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self._connect = connect
        self._on_gained = on_gained
        self._on_lost = on_lost
        self._until = float("-inf")  # one float, written whole: read from any thread
        self._leading = False
        self._seen = ""
        self._seen_at = float("-inf")
        self._version: str | None = None
        self._transitions = 0
        self._trouble = ""
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._main, name="huiju-lease", daemon=True)

    def held(self, margin: float = 0.0) -> bool:
        """Whether we lead and will for `margin` more seconds, come what may. Any thread."""
        return boottime() + margin < self._until and not self._stopping.is_set()

    def start(self) -> None:
        """Begin to take part."""
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Stop leading at once, give the Lease back, and wait for the thread (seconds)."""
        self._stopping.set()
        self._until = float("-inf")
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            with suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(task.cancel)
        if self._thread.is_alive():
            self._thread.join(timeout)

    # --- in the elector's own thread ---------------------------------------------------------

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception:
            log.exception("the elector ended", extra=self._context())
        finally:
            self._until = float("-inf")
            self._announce()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._campaign())
        if self._stopping.is_set():
            self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _campaign(self) -> None:
        """Try, hold, lose, try again, until stopped; then give back what is held."""
        async with self._connect() as client:
            try:
                while True:
                    pause = await self._step(client)
                    self._announce()
                    await self._sleep(pause)
                    self._announce()
            finally:
                leading, self._leading = self._leading, False
                self._until = float("-inf")
                if leading:
                    self._on_lost()
                    await self._release(client)

    async def _sleep(self, pause: float) -> None:
        """Sleep, but wake when the Lease runs out, so that a loss is told in time."""
        if self._leading:
            pause = min(pause, max(0.0, self._until - boottime()))
        await asyncio.sleep(pause)

    async def _step(self, client: Client) -> float:
        """Renew or try to take the Lease; returns the pause before the next step."""
        try:
            async with asyncio.timeout(self._patience()):
                if self._version is not None and self._leading:
                    await self._write(client, self._transitions)
                else:
                    await self._try(client)
        except (Conflict, AlreadyExists, NotFound):
            self._version = None  # not as we knew it: look again at once
            return 0.0 if self._leading else self._jittered(self.settings.retry)
        except (KubeError, TimeoutError) as error:
            self._note(str(error) or "no answer")
            return self._jittered(self.settings.retry)
        self._note("")
        return self._jittered(self.settings.retry)

    def _patience(self) -> float:
        """Seconds for one step: while leading never longer than we lead."""
        left = self._until - boottime()
        return (
            min(self.settings.deadline, max(left, 0.05))
            if self._leading
            else self.settings.deadline
        )

    async def _try(self, client: Client) -> None:
        """Look at the Lease; take it where it is free, ours, or was not renewed for its time."""
        settings = self.settings
        try:
            lease = await client.get(LEASES, settings.name, settings.namespace, type=_Lease)
        except NotFound:
            await self._create(client)
            return
        spec = lease.spec
        version = lease.metadata.resource_version
        if version != self._seen:
            self._seen, self._seen_at = version, boottime()
        ours = spec.holder_identity == settings.identity
        # Another's clock is never compared with ours: only that nothing changed for the duration.
        duration = max(spec.lease_duration_seconds or settings.duration, 1)
        lapsed = boottime() - self._seen_at > duration * (1 + _DRIFT)
        if spec.holder_identity and not ours and not lapsed:
            self._lose()
            return
        self._version = version
        transitions = spec.lease_transitions or 0
        await self._write(client, transitions if ours else transitions + 1, taking=not ours)

    async def _create(self, client: Client) -> None:
        settings = self.settings
        sent = boottime()
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": settings.name, "namespace": settings.namespace},
            "spec": self._spec(0, taking=True),
        }
        self._won(await client.create(LEASES, body, settings.namespace, type=_Lease), sent)

    async def _write(self, client: Client, transitions: int, *, taking: bool = False) -> None:
        """Renew or take, only if the Lease is as we saw it (else Conflict)."""
        settings = self.settings
        sent = boottime()
        body = {
            "metadata": {"resourceVersion": self._version},
            "spec": self._spec(transitions, taking=taking),
        }
        lease = await client.patch(LEASES, settings.name, body, settings.namespace, type=_Lease)
        self._won(lease, sent)

    def _won(self, lease: _Lease, sent: float) -> None:
        """The server acknowledged a renewal that was sent at `sent`."""
        self._version = lease.metadata.resource_version
        self._seen = self._version
        self._seen_at = boottime()
        self._transitions = lease.spec.lease_transitions or 0
        if not self._stopping.is_set():
            self._until = sent + self.settings.renew

    def _lose(self) -> None:
        self._until = float("-inf")
        self._version = None

    def _announce(self) -> None:
        """Call back where leading began or ended."""
        leads = self._until > boottime()
        if leads == self._leading:
            return
        self._leading = leads
        if not leads:
            self._version = None
        log.info("leading" if leads else "no longer leading", extra=self._context())
        (self._on_gained if leads else self._on_lost)()

    async def _release(self, client: Client) -> None:
        """Give the Lease back, so that the next leader need not wait."""
        body = {
            "metadata": {"resourceVersion": self._version},
            "spec": {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()},
        }
        if self._version is None:
            return
        try:
            async with asyncio.timeout(self.settings.deadline):
                await client.patch(LEASES, self.settings.name, body, self.settings.namespace)
        except (KubeError, TimeoutError) as error:
            log.warning("the Lease was not given back: %s", error, extra=self._context())

    def _note(self, trouble: str) -> None:
        """Log a failure when it begins, not each second that it lasts."""
        if trouble and not self._trouble:
            log.warning("the Lease cannot be written: %s", trouble, extra=self._context())
        self._trouble = trouble

    def _spec(self, transitions: int, *, taking: bool) -> dict[str, str | int]:
        now = _now()
        spec: dict[str, str | int] = {
            "holderIdentity": self.settings.identity,
            "leaseDurationSeconds": self.settings.duration,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        if taking:
            spec["acquireTime"] = now
        return spec

    def _jittered(self, seconds: float) -> float:
        return seconds * random.uniform(0.8, 1.2)  # noqa: S311  jitter, no secret

    def _context(self) -> dict[str, str]:
        return {"lease": self.settings.name, "identity": self.settings.identity}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
