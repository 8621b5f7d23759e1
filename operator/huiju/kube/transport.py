"""One API server's connections: how a call is bounded, authenticated, timed and judged.

Decides nothing about kinds or verbs. Invariant: each call ends within its deadline, at most
`connections` run at once, no answer takes more than `largest` bytes of memory, and a 401 makes the
credentials be read again at most once a second.
"""

from __future__ import annotations

import asyncio
import io
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from huiju.kube.credentials import Credentials
from huiju.kube.errors import (
    KubeError,
    Silent,
    TooLarge,
    Transient,
    Unauthorized,
    Untrusted,
    error_of,
)
from huiju.kube.life import Life
from huiju.kube.link import Link
from huiju.kube.rate import AdaptiveRate

CredentialsSource = Credentials | Callable[[], Awaitable[Credentials]]
Observer = Callable[[str, str, int, float], None]
"""Called after each call with verb, plural name, HTTP status (0: no answer) and seconds."""

JSON: Final = "application/json"
_RELOAD_GAP: Final = 1.0
_LARGE_BODY: Final = 1 << 20
_MAX_REFUSALS: Final = 4


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Bounds of one client; all times in seconds."""

    connections: int = 48
    """Calls in flight at once, each on a connection of its own."""
    streams: int = 128
    """Watches and log streams open at once; they take no place from calls."""
    rate: float = 2000.0
    """Calls per second to start with; follows the server's refusals downwards and back."""
    deadline: float = 15.0
    """A call that is not answered by then has failed, waiting for a connection included."""
    list_deadline: float = 60.0
    """The same for one page of a list."""
    watch_seconds: float = 300.0
    """A watch is ended by the server and taken up again about so often."""
    silence_seconds: float = 100.0
    """A watch that says nothing for so long is taken for dead; bookmarks come each minute."""
    largest: int = 16 << 20
    """Bytes of an answer, unpacked; API servers hold no object above 1.5 MB."""
    largest_page: int = 32 << 20
    """The same for one page of a list; a longer one is asked for again in smaller pages."""
    most: Mapping[str, int] | None = None
    """Objects that a copy of a collection may hold, by plural name, "" for all others; None where
    the server is trusted."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, ready to send; `verb` and `plural` are for the observer."""

    method: str
    path: str
    """Path and query, already encoded."""
    verb: str
    plural: str
    body: bytes | None = None
    content_type: str = JSON
    accept: str = JSON
    deadline: float | None = None
    compressed: bool = False
    permit: Callable[[], None] | None = None
    """Asked each time just before the request is sent, however long it waited until then; raises
    where it may not be sent any more."""


class Transport:
    """Sends calls to one server, bounded in number, rate and time. One event loop only."""

    def __init__(
        self,
        credentials: CredentialsSource,
        *,
        name: str,
        user_agent: str,
        settings: ClientSettings,
        observer: Observer | None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.observer = observer
        self.rate = AdaptiveRate(settings.rate)
        self._source = credentials
        self._user_agent = user_agent
        self._link: Link | None = None
        self._closed = False
        self._reload_lock = asyncio.Lock()
        self._reloaded_at = float("-inf")
        self._calls = asyncio.Semaphore(settings.connections)
        self._streams = asyncio.Semaphore(settings.streams)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix=f"huiju-{name}")
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}
        self._now = time.monotonic

    @property
    def life(self) -> Life | None:
        """Of the credentials in use; None if no end of theirs is known, or none are read yet."""
        return self._link.life if self._link is not None else None

    async def send(self, call: Call) -> bytes:
        """Make one call and return the body of its answer; raises a KubeError otherwise."""
        budget = call.deadline or self.settings.deadline
        started = self._now()
        refusals = 0
        generation = -1
        while True:
            remaining = started + budget - self._now()
            if remaining <= 0:
                raise Transient(f"{self.name}: no answer within {budget:g} s")
            link = await self._enter(generation)
            try:
                code, body, retry_after = await self._attempt(link, call, remaining)
                used = link.generation
            finally:
                await link.leave()
            if code < 300:
                return body
            if code == 401 and generation < 0:
                generation = used
                continue
            error = error_of(code, body, retry_after)
            if code != 429 or not isinstance(error, Transient):
                raise error
            # 429 means not done, so any verb may try again within its deadline.
            self.rate.refused(self._now())
            refusals += 1
            pause = max(error.retry_after or 0.0, 0.1 * 2**refusals)
            if refusals >= _MAX_REFUSALS or self._now() + pause >= started + budget:
                raise error
            await asyncio.sleep(pause * random.uniform(1.0, 1.3))  # noqa: S311  jitter, no secret

    async def stream(self, call: Call, *, silence: float | None = None) -> AsyncIterator[bytes]:
        """Open a long answer and yield its chunks as they come; an empty one marks its opening.

        `silence`: seconds without a byte after which Transient is raised; None waits for ever.
        """
        async with self._streams:
            generation = -1
            while True:
                link = await self._enter(generation)
                try:
                    response = await self._open(link, call, silence)
                    try:
                        if response.status == 401 and generation < 0:
                            generation = link.generation
                            continue
                        if response.status >= 300:
                            raise await self._refusal(response, call)
                        yield b""
                        async for chunk in self._chunks(response, silence):
                            yield chunk
                        return
                    finally:
                        _abandon(response)
                finally:
                    await link.leave()

    async def close(self) -> None:
        """Close every connection; calls under way fail."""
        self._closed = True
        link, self._link = self._link, None
        if link is not None:
            link.retired = True
            await link.session.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # --- one attempt -------------------------------------------------------------------------

    async def _attempt(
        self, link: Link, call: Call, remaining: float
    ) -> tuple[int, bytes, str | None]:
        """Send once; returns status, body and Retry-After, or raises Transient."""
        started = self._now()
        wait = self.rate.delay(started, remaining)
        if wait is None:
            raise Transient(f"{self.name}: no turn in {remaining:g} s, the server is slowing us")
        if wait:
            await asyncio.sleep(wait)
        if self._calls.locked():
            try:
                async with asyncio.timeout(remaining - wait):
                    await self._calls.acquire()
            except TimeoutError:
                raise Transient(f"{self.name}: no free connection in {remaining:g} s") from None
        else:
            await self._calls.acquire()
        code = 0
        try:
            left = remaining
            if wait or self._now() - started > 0.05:
                left = max(0.001, remaining - (self._now() - started))
            if call.permit is not None:
                call.permit()
            response = await self._request(link, call, self._timeout(left))
            body = await self._body(response, call)
            code = response.status
            return code, body, response.headers.get("Retry-After") if code >= 300 else None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._failure(error, call) from error
        finally:
            self._calls.release()
            if self.observer is not None:
                self.observer(call.verb, call.plural, code, self._now() - started)

    async def _body(self, response: aiohttp.ClientResponse, call: Call) -> bytes:
        """The whole answer, given up at the byte that is too many: what a server sends is its own
        choice, and this memory is everybody's."""
        most = self.settings.largest_page if call.verb == "list" else self.settings.largest
        packed = "Content-Encoding" in response.headers
        if not packed and (response.content_length or most + 1) <= most:
            return await response.read()
        parts: list[bytes] = []
        size = 0
        try:
            while chunk := await response.content.readany():
                parts.append(chunk)
                size += len(chunk)
                if size > most:
                    where = f"{self.name}: {call.verb} {call.plural}"
                    raise TooLarge(f"{where}: an answer of more than {most} bytes")
        except BaseException:
            response.close()  # cancelled too: what is left of the answer is nobody's to read
            raise
        return b"".join(parts)

    async def _open(self, link: Link, call: Call, silence: float | None) -> aiohttp.ClientResponse:
        """Open a stream: headers must come within the deadline, then only silence counts."""
        started = self._now()
        code = 0
        try:
            async with asyncio.timeout(self.settings.deadline):
                response = await self._request(
                    link, call, aiohttp.ClientTimeout(total=None, sock_read=silence)
                )
            code = response.status
            return response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._failure(error, call) from error
        finally:
            if self.observer is not None:
                self.observer(call.verb, call.plural, code, self._now() - started)

    async def _request(
        self, link: Link, call: Call, limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Hand the request to aiohttp with everything it would compute again done before."""
        headers = link.headers.copy()
        headers["Accept"] = call.accept
        body: bytes | io.BytesIO | None = call.body
        if call.body is not None:
            headers["Content-Type"] = call.content_type
            if len(call.body) > _LARGE_BODY:
                body = io.BytesIO(call.body)  # sent piece by piece, so that the loop stays free
        if call.compressed:
            headers["Accept-Encoding"] = "gzip"
        url = URL(link.base + call.path, encoded=True)
        again = call.method == "GET"
        while True:
            if link.session.closed:
                raise Transient(f"{self.name}: client is closed")
            try:
                return await link.session.request(
                    call.method,
                    url,
                    data=body,
                    headers=headers,
                    timeout=limits,
                    allow_redirects=False,
                    server_hostname=link.credentials.tls_server_name,
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                # The server may just have closed an idle connection. Only reads go again: a write
                # may have been done.
                if not again or isinstance(error, aiohttp.ClientConnectorError):
                    raise
                again = False

    async def _chunks(
        self, response: aiohttp.ClientResponse, silence: float | None
    ) -> AsyncIterator[bytes]:
        read = response.content.readany
        try:
            while chunk := await read():
                yield chunk
        except TimeoutError:
            raise Silent(f"{self.name}: stream silent for {silence:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Transient(f"{self.name}: stream cut: {_plain(error)}") from error

    async def _refusal(self, response: aiohttp.ClientResponse, call: Call) -> KubeError:
        """The error that a stream was refused with."""
        try:
            async with asyncio.timeout(self.settings.deadline):
                body = await self._body(response, call)
        except (aiohttp.ClientError, TimeoutError, OSError, TooLarge):
            body = b""
        if response.status == 429:
            self.rate.refused(self._now())
        return error_of(response.status, body, response.headers.get("Retry-After"))

    def _failure(self, error: Exception, call: Call) -> Transient:
        """Say in plain words why no answer came."""
        where = f"{self.name}: {call.verb} {call.plural}"
        if isinstance(error, aiohttp.ClientSSLError):
            return Untrusted(f"{where}: TLS with the server failed: {_plain(error)}")
        if isinstance(error, TimeoutError):
            return Transient(f"{where}: no answer within the deadline")
        return Transient(f"{where}: {_plain(error)}")

    def _timeout(self, seconds: float) -> aiohttp.ClientTimeout:
        """Reuse the timeout objects of the few usual deadlines."""
        seconds = round(seconds, 1) or 0.1
        known = self._timeouts.get(seconds)
        if known is None:
            known = aiohttp.ClientTimeout(total=seconds)
            if len(self._timeouts) < 1024:
                self._timeouts[seconds] = known
        return known

    # --- credentials -------------------------------------------------------------------------

    async def _enter(self, refused_generation: int) -> Link:
        """Take a use of the current link, reading credentials first if they are due.

        `refused_generation`: the credentials that just met a 401, or -1.
        """
        link = self._link
        if link is None or link.generation == refused_generation or self._now() >= link.refresh_at:
            link = await self._renew(refused_generation)
        link.users += 1
        return link

    async def _renew(self, refused_generation: int) -> Link:
        """Read the credentials again, once for all who wait for them."""
        async with self._reload_lock:
            if self._closed:
                raise Transient(f"{self.name}: client is closed")
            link = self._link
            now = self._now()
            refused = link is not None and link.generation == refused_generation
            if link is not None and not refused and now < link.refresh_at:
                return link  # another call has just done it
            if refused and now - self._reloaded_at < _RELOAD_GAP:
                raise Unauthorized(
                    401, "Unauthorized", f"{self.name}: the server refuses our credentials", {}
                )
            if refused:
                self._reloaded_at = now
            return await self._adopt(await self._read_credentials(link), now)

    async def _read_credentials(self, link: Link | None) -> Credentials:
        if callable(self._source):
            return await self._source()
        if link is None:
            return self._source
        reload = link.credentials.reload
        if reload is None:
            return link.credentials
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, reload)

    async def _adopt(self, credentials: Credentials, now: float) -> Link:
        """Make these the current credentials, keeping the connections where they still fit."""
        old = self._link
        if old is not None and old.credentials.same_link(credentials):
            old.adopt(credentials, self._user_agent, now)
            return old
        link = Link(credentials, self._threads)
        link.generation = old.generation if old is not None else 0
        link.adopt(credentials, self._user_agent, now)
        self._link = link
        if old is not None:
            await old.retire()
        return link


def _plain(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _abandon(response: aiohttp.ClientResponse) -> None:
    """Leave a stream. A server that is cut off would never answer TLS's polite goodbye."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()
