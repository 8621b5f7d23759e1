"""The HTTP client of a puller.

Decides how much a kernel may take in ahead of a rate, and whom TLS trusts. Invariant: no redirect
is followed and no proxy variable is read: links say where data comes from.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

import aiohttp

from huiju.data.pull.order import Order
from huiju.data.pull.pace import Pace

AddrInfo = tuple[int, int, int, str, tuple[Any, ...]]


def opened(order: Order, pace: Pace) -> aiohttp.ClientSession:
    """A session, to be used as a context."""
    context = ssl.create_default_context(cadata=order.ca) if order.ca else None

    def factory(info: Any) -> socket.socket:
        family, kind, protocol, _, _ = info
        made = socket.socket(family=family, type=kind, proto=protocol)
        size = pace.socket_bytes(order.streams)
        if size:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        return made

    connector = aiohttp.TCPConnector(
        limit=0, ssl=context or True, socket_factory=factory, keepalive_timeout=30
    )
    return aiohttp.ClientSession(
        connector=connector, auto_decompress=False, trust_env=False, read_bufsize=1 << 18
    )
