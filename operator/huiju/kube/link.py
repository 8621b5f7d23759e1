"""Connections made with one set of credentials: sessions, headers, name lookups.

Decides nothing about calls. Invariant: a link lives until its last user has left, so that new
credentials never cut a call under way.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDict

from huiju.kube.credentials import Credentials
from huiju.kube.life import Life, life_of

_KEEP_ALIVE: Final = 60.0
_NEVER: Final = float("inf")


class _Resolver(AbstractResolver):
    """Name lookups in the client's own thread: a dead name server holds up no other center."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads, _lookup, host, port, family
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        return


_Addresses = list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]]


def _lookup(host: str, port: int, family: socket.AddressFamily) -> _Addresses:
    return socket.getaddrinfo(  # type: ignore[return-value]  # no raw sockets are asked for
        host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )


class Link:
    """Connections made with one set of credentials; closed by its last user once retired."""

    __slots__ = (
        "base",
        "credentials",
        "generation",
        "headers",
        "life",
        "refresh_at",
        "retired",
        "session",
        "users",
    )

    def __init__(self, credentials: Credentials, threads: ThreadPoolExecutor) -> None:
        self.session = _session(credentials, threads)
        self.users = 0
        self.retired = False
        self.generation = 0
        """Grows with each set of credentials, so that a refusal can be told from an older one."""
        self.base = credentials.server.rstrip("/")
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.refresh_at = _NEVER
        self.credentials = credentials
        self.life: Life | None = None

    def adopt(self, credentials: Credentials, user_agent: str, now: float) -> None:
        """Use these credentials from now on; the connections stay."""
        self.credentials = credentials
        self.life = life_of(credentials)
        self.generation += 1
        headers = CIMultiDict({"User-Agent": user_agent, "Accept-Encoding": "identity"})
        if credentials.token is not None:
            headers["Authorization"] = f"Bearer {credentials.token}"
        elif credentials.username is not None:
            pair = f"{credentials.username}:{credentials.password or ''}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self.headers = headers
        wait = credentials.refresh_seconds
        self.refresh_at = _NEVER if wait is None else now + wait

    async def leave(self) -> None:
        """Give up one use."""
        self.users -= 1
        if self.retired and self.users == 0:
            await self.session.close()

    async def retire(self) -> None:
        """Take no new users; connections close with the last one."""
        self.retired = True
        if self.users == 0:
            await self.session.close()


class _Abrupt(ResponseHandler):
    """A connection that is given up ends at once.

    asyncio would hold it for half a minute, waiting for the farewell of a server that may be silent
    because it is out of reach.
    """

    def close(self) -> None:
        self.abort()


def hang_up_at_once(connector: aiohttp.TCPConnector) -> None:
    """Have connections that are given up end at once; of a running loop only."""
    # It has no public switch.
    connector._factory = partial(_Abrupt, asyncio.get_running_loop())  # type: ignore[assignment]


def _session(credentials: Credentials, threads: ThreadPoolExecutor) -> aiohttp.ClientSession:
    context = credentials.ssl_context()
    connector = aiohttp.TCPConnector(
        limit=0,  # the transport bounds it, and counts waiting against the deadline
        ssl=context if context is not None else True,
        resolver=_Resolver(threads),
        keepalive_timeout=_KEEP_ALIVE,
    )
    hang_up_at_once(connector)
    session = aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    )
    # aiohttp would send a PUT or DELETE again whose answer was lost, which may then hit another
    # object of that name. It has no public switch; the transport repeats what may be repeated.
    session._retry_connection = False
    return session
