"""Answers the centers' asks for their leases, in a thread of its own.

Decides nothing about who may be answered: each center's `Fence` does. A scheduling cycle, a burst
of jobs or a slow center never delays an answer to another center, since the thread has its own loop
and its own connections. Invariants: an answer is given only to the cluster that is known under the
center's name; a center's word is noted in its fence before the answer is sent.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from huiju.api.center import SecretRef
from huiju.api.reasons import Reason
from huiju.centers.lease import grant_text
from huiju.centers.leaseobject import ONLY, LeaseObject, write_grant
from huiju.hub.credentials import CredentialProblem, read_kubeconfig
from huiju.hub.fence import Fence
from huiju.kube.client import Client
from huiju.kube.clock import boottime
from huiju.kube.credentials import Credentials
from huiju.kube.errors import KubeError, NotFound, Unauthorized, first_of
from huiju.kube.informer import Backoff, Informer
from huiju.kube.resources import LEASES, NAMESPACES

log = logging.getLogger(__name__)
_CALL: float = 5.0
"""Seconds after which a call is given up; the next try finds a fresher ask."""
_LOOK: float = 1.0
"""Seconds between two looks at an ask that could not be answered yet."""
_RETRY: float = 2.0
"""Seconds after which a center that could not be reached is tried again."""
Connect = Callable[[str, Credentials], Client]
"""Makes the client of a server by its name for the metrics; its writes need the hub's Lease."""


@dataclass(frozen=True, slots=True)
class Grantee:
    """Where one center asks."""

    namespace: str
    """Where its Lease lies: in the center, or its mailbox on the hub."""
    secret: SecretRef | None
    """The center's kubeconfig; None: its mailbox on the hub."""
    identity: str
    """UID of the kube-system namespace of the center."""
    fence: Fence


class Granter:
    """The thread; `wants` may be called from any other one, at any time."""

    def __init__(self, hub: Callable[[], Credentials], connect: Connect) -> None:
        self._hub = hub
        self._connect = connect
        self._wanted: Mapping[str, Grantee] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._news: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._main, name="huiju-grants", daemon=True)
        self._stopping = threading.Event()
        self._on_end: Callable[[], object] = lambda: None

    def wants(self, grantees: Mapping[str, Grantee]) -> None:
        """The centers to answer from now on, and no others."""
        if grantees == self._wanted:
            return
        self._wanted = dict(grantees)
        self._poke()

    async def run(self) -> None:
        """Answer until cancelled; the thread's unexpected end is a bug, and raised as one."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._on_end = lambda: loop.call_soon_threadsafe(ended.set)
        self._thread.start()
        try:
            await ended.wait()
            raise RuntimeError("the thread that renews leases has ended")
        finally:
            self._stopping.set()
            self._poke(stop=True)
            # Shielded: a hub that was stopped must not leave a thread that still answers.
            await asyncio.shield(asyncio.to_thread(self._thread.join, 10.0))

    def _poke(self, *, stop: bool = False) -> None:
        loop, task, news = self._loop, self._task, self._news
        if loop is None or task is None or news is None:
            return  # it looks once it has begun
        with suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(task.cancel if stop else news.set)

    # --- in the granter's own thread -----------------------------------------------------------

    def _main(self) -> None:
        try:
            asyncio.run(self._work())
        except asyncio.CancelledError:
            pass
        except Exception:
            log.exception("leases are not renewed any more")
        finally:
            with suppress(RuntimeError):  # nobody is left to be told
                self._on_end()

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._task = asyncio.current_task()
        if self._stopping.is_set():
            return
        served: dict[str, tuple[Grantee, asyncio.Task[None]]] = {}
        async with self._connect("hub", self._hub()) as hub:
            try:
                while True:
                    self._news.clear()
                    await self._settle(hub, served)
                    await self._news.wait()
            finally:
                tasks = [task for _, task in served.values()]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _settle(
        self, hub: Client, served: dict[str, tuple[Grantee, asyncio.Task[None]]]
    ) -> None:
        wanted = self._wanted
        outdated = [name for name, (grantee, _) in served.items() if wanted.get(name) != grantee]
        for name in outdated:
            task = served.pop(name)[1]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for name, grantee in wanted.items():
            if name not in served:
                task = asyncio.create_task(self._serve(hub, name, grantee), name=f"lease {name}")
                served[name] = (grantee, task)

    async def _serve(self, hub: Client, center: str, grantee: Grantee) -> None:
        """Answer one center for ever, through every failure."""
        while True:
            trouble = ""
            try:
                await self._connected(hub, center, grantee)
            except* (CredentialProblem, KubeError, TimeoutError, OSError) as errors:
                trouble = str(first_of(errors)) or "no answer in time"
            except* Exception as errors:
                # A bug with one center must not end the others' leases.
                log.exception("lease failed", extra={"center": center}, exc_info=errors)
                trouble = "internal error; see the hub's log"
            _note(center, grantee.fence, trouble)
            await asyncio.sleep(_RETRY)

    async def _connected(self, hub: Client, center: str, grantee: Grantee) -> None:
        if grantee.secret is None:
            await _answer(hub, center, grantee)
            return
        # Not read again behind our back: what the Secret leads to is looked at anew each time.
        credentials = await read_kubeconfig(hub, grantee.secret)
        async with self._connect(center, credentials) as client:
            async with asyncio.timeout(_CALL):
                found = await client.get(NAMESPACES, "kube-system")
            uid = str(found["metadata"]["uid"])
            if uid != grantee.identity:
                raise CredentialProblem(
                    Reason.IDENTITY_CHANGED,
                    f"the credential leads to another cluster (kube-system UID {uid})",
                )
            await _answer(client, center, grantee)


async def _answer(client: Client, center: str, grantee: Grantee) -> None:
    """Answer the asks of one Lease until its server cannot be reached with this credential."""
    news = asyncio.Event()

    def changed(old: LeaseObject | None, new: LeaseObject | None) -> None:
        if old is not None and new is not None and old.ask != new.ask:
            # An ask that was there before tells of nobody at work; a fresh one does.
            grantee.fence.asked(boottime())
        news.set()

    informer: Informer[LeaseObject] = Informer(
        client,
        LEASES,
        LeaseObject,
        namespace=grantee.namespace,
        fields=ONLY,
        on_change=changed,
        backoff=Backoff(last=5.0),
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(informer.run())
        while True:
            news.clear()
            failure = informer.failure
            if isinstance(failure, Unauthorized):
                raise failure
            lease = next(iter(informer.store.values()), None)
            answered = await _once(client, center, grantee, lease)
            if failure is not None:
                _note(center, grantee.fence, f"the Lease cannot be read: {failure}")
            elif answered:
                _note(center, grantee.fence, "")
            with suppress(TimeoutError):
                async with asyncio.timeout(None if answered and failure is None else _LOOK):
                    await news.wait()


async def _once(client: Client, center: str, grantee: Grantee, lease: LeaseObject | None) -> bool:
    """Answer the newest ask if it was not answered; False if that is still to be done."""
    if lease is None or not lease.ask or lease.grant.startswith(f"{lease.ask} "):
        return True
    read = boottime()
    seconds = grantee.fence.grant(read)
    if seconds is None:
        return False
    try:
        async with asyncio.timeout(_CALL):
            text = grant_text(lease.ask, seconds)
            await write_grant(client, grantee.namespace, text, center)
    except NotFound:
        return True  # whoever asked took the Lease away; a new one brings the key again
    except Unauthorized:
        raise  # the credential is over, and the Secret may hold another by now
    except (KubeError, TimeoutError) as error:
        words = str(error) or "no answer in time"
        _note(center, grantee.fence, f"the lease cannot be answered: {words}")
        return False
    grantee.fence.answered(read, seconds)
    return True


def _note(center: str, fence: Fence, trouble: str) -> None:
    """Keep what is wrong, and log it when it begins."""
    if trouble and not fence.trouble:
        log.warning("lease not renewed: %s", trouble, extra={"center": center})
    fence.note_trouble(trouble)
