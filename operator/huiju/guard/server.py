"""Answers the kubelet's probes over HTTP, in one thread.

Decides how requests are read. Invariants: whoever connects and stays silent costs one slot of a
bounded number, the oldest of which gives way, so nobody keeps the kubelet's probes from their
answer; an answer never waits for anything but this process.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from typing import Final

_MOST_OPEN: Final = 128
_LONGEST_REQUEST: Final = 8192
_PHRASES: Final = {200: "OK", 404: "Not Found", 405: "Method Not Allowed"}

Answer = tuple[int, str]
"""Status and a line of text."""


def listen(bind: str, port: int) -> socket.socket:
    """A listening socket; `bind` empty: all addresses, IPv6 too where there is IPv6."""
    if not bind and socket.has_dualstack_ipv6():
        made = socket.create_server(
            ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_MOST_OPEN
        )
    else:
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        made = socket.create_server((bind, port), family=family, backlog=_MOST_OPEN)
    made.setblocking(False)
    return made


class Server:
    """Serves GET; `answer` maps a path to what is said."""

    def __init__(self, socket_: socket.socket, answer: Callable[[str], Answer]) -> None:
        self._listener = socket_
        self._answer = answer
        self._selector = selectors.DefaultSelector()
        self._selector.register(socket_, selectors.EVENT_READ)
        self._open: dict[socket.socket, bytes] = {}
        self._waking, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)

    def serve(self) -> None:
        """Serve until `stop`, then give port and connections back."""
        try:
            while True:
                for key, _ in self._selector.select():
                    if key.fileobj is self._woken:
                        return
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.fileobj, socket.socket):
                        self._read(key.fileobj)
        finally:
            self._close()

    def stop(self) -> None:
        """End `serve` soon; also from a signal handler or another thread."""
        self._waking.send(b"x")

    def _close(self) -> None:
        for link in list(self._open):
            self._drop(link)
        self._selector.close()
        for one in (self._listener, self._waking, self._woken):
            one.close()

    def _accept(self) -> None:
        try:
            link, _ = self._listener.accept()
        except OSError:
            return  # it went before it was taken
        link.setblocking(False)
        while len(self._open) >= _MOST_OPEN:
            self._drop(next(iter(self._open)))
        self._open[link] = b""
        self._selector.register(link, selectors.EVENT_READ)

    def _read(self, link: socket.socket) -> None:
        if link not in self._open:
            return  # it gave way to another one that came in the same round
        try:
            more = link.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        read = self._open[link] + more
        if more and b"\r\n\r\n" not in read and len(read) <= _LONGEST_REQUEST:
            self._open[link] = read
            return
        if more:
            self._reply(link, read)
        self._drop(link)

    def _reply(self, link: socket.socket, read: bytes) -> None:
        words = read.split(b"\r\n", 1)[0].split()
        if len(words) < 2 or words[0] != b"GET":
            status, text = 405, "only GET"
        else:
            status, text = self._answer(words[1].decode("latin-1"))
        body = f"{text}\n".encode()
        head = (
            f"HTTP/1.1 {status} {_PHRASES.get(status, 'Service Unavailable')}\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        try:
            # Far below what a socket takes at once, so this neither blocks nor is cut.
            link.send(head.encode() + body)
            link.shutdown(socket.SHUT_WR)
        except OSError:
            return  # whoever asked is gone

    def _drop(self, link: socket.socket) -> None:
        self._open.pop(link, None)
        self._selector.unregister(link)
        link.close()
