"""A long line as a process of its own: one rate for all connections, and a delay each way.

`python -m lab.line PORT --rate BYTES --delay SECONDS` listens on the loopback, prints its port, and
passes to PORT there; on standard input each line asks for a report of the bytes that went down.
`lab/relay.py` does the same in the asker's own loop, with faults, for a hundredth of the bytes.
Decides what a line does to bytes: each block arrives its delay after it was sent, down no faster
than the rate, and a connection is open one round trip after it was asked for. Invariants:
no more than `WINDOW` bytes of a connection are on their way; bytes are passed unread, in threads
that wait in the kernel, so that the line itself costs little beside its two ends.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Final

WINDOW: Final = 64 << 20
"""Bytes of one connection on their way: more than 10 Gbit/s and 30 ms have room for (37.5 MB)."""
_BLOCK: Final = 256 << 10
_AHEAD: Final = 0.002
"""Seconds of the rate that may pass at once; sleeping for less is no more exact."""


class Bucket:
    """The rate of the line, for all connections together; counts what passed, by the second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._next = 0.0
        self.down = 0
        self.tenths: dict[int, int] = {}
        """Bytes that went down, by tenths of a second of the monotonic clock."""

    def take(self, size: int) -> None:
        """Wait until so many bytes may pass."""
        with self._lock:
            now = time.monotonic()
            if self._rate:
                self._next = max(self._next, now - _AHEAD) + size / self._rate
            wait = self._next - now
            self.down += size
            tenth = int((now + max(0.0, wait)) * 10)
            self.tenths[tenth] = self.tenths.get(tenth, 0) + size
        if wait > _AHEAD:
            time.sleep(wait)

    def report(self) -> str:
        """What passed, and the most of any ten seconds."""
        with self._lock:
            tenths = dict(self.tenths)
            down = self.down
        most = total = 0
        window: deque[tuple[int, int]] = deque()
        for at, size in sorted(tenths.items()):
            window.append((at, size))
            total += size
            while window[0][0] <= at - 100:
                total -= window.popleft()[1]
            most = max(most, total)
        return json.dumps({"down": down, "busiest10s": most})


class Way:
    """One direction of a connection: bytes that came, to be sent on when they have arrived."""

    def __init__(self, delay: float, bucket: Bucket | None) -> None:
        self._delay = delay
        self._bucket = bucket
        self._blocks: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._news = threading.Condition()
        self._over = False

    def receive(self, source: socket.socket, held_until: float) -> None:
        """Take in what the source sends; none of it arrives before `held_until`."""
        with suppress(OSError):
            while block := source.recv(_BLOCK):
                with self._news:
                    self._blocks.append((max(held_until, time.monotonic() + self._delay), block))
                    self._held += len(block)
                    self._news.notify_all()
                    while self._held > WINDOW and not self._over:
                        self._news.wait()
                if self._over:
                    return
        self.end()

    def send(self, target: socket.socket) -> None:
        """Send on what has arrived."""
        with suppress(OSError):
            while True:
                with self._news:
                    while not self._blocks and not self._over:
                        self._news.wait()
                    if not self._blocks:
                        break
                    due, block = self._blocks[0]
                wait = due - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                if self._bucket is not None:
                    self._bucket.take(len(block))
                target.sendall(block)
                with self._news:
                    self._blocks.popleft()
                    self._held -= len(block)
                    self._news.notify_all()
            target.shutdown(socket.SHUT_WR)
        self.end()

    def end(self) -> None:
        """Nothing more comes."""
        with self._news:
            self._over = True
            self._news.notify_all()


def _carry(near: socket.socket, port: int, delay: float, bucket: Bucket) -> None:
    """Pass one connection on, until both ends are done."""
    try:
        far = socket.create_connection(("127.0.0.1", port))
    except OSError:
        near.close()
        return
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened = time.monotonic() + 3 * delay  # to and fro to open it, and the way of the first bytes
    up, down = Way(delay, None), Way(delay, bucket)
    jobs = [
        threading.Thread(target=up.receive, args=(near, opened)),
        threading.Thread(target=up.send, args=(far,)),
        threading.Thread(target=down.receive, args=(far, 0.0)),
        threading.Thread(target=down.send, args=(near,)),
    ]
    for job in jobs:
        job.daemon = True
        job.start()
    jobs[3].join()
    up.end()
    for end in (near, far):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    for job in jobs:
        job.join()
    near.close()
    far.close()


def main() -> int:
    """Run the line until standard input ends."""
    parser = argparse.ArgumentParser(prog="lab.line", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=0.0, help="bytes per second down, 0 for any")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds, each way")
    flags = parser.parse_args()
    bucket = Bucket(flags.rate)
    server = socket.create_server(("127.0.0.1", 0), backlog=256)

    def accept() -> None:
        while True:
            near, _ = server.accept()
            given = (near, flags.port, flags.delay, bucket)
            threading.Thread(target=_carry, args=given, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(server.getsockname()[1], flush=True)
    for _ in sys.stdin:
        print(bucket.report(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
