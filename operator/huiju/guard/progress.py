"""Whether the job still gets on: a file that it touches, or an answer that changes.

Decides when a container has shown no progress for too long. Invariants: only a change counts, so
clocks that differ between file servers and nodes do not matter, nor does an answer that is always
the same, nor a file that an earlier attempt has left; the time runs from the container's start, and
not while the machine sleeps; a look that never returns is no progress.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Final

from huiju.guard.terms import ProgressTerms
from huiju.guard.wire import WireError, get

_LOOKS: Final = 10
"""So many looks fall into the deadline."""
_LONGEST_PAUSE: Final = 10.0
_QUESTION: Final = 5.0

Token = tuple[int, int] | bytes
"""What a look found; another one is progress."""


class Stall:
    """Counts the time since the last change. Pure but for the times it is given."""

    def __init__(self, deadline: float, start_deadline: float = 0.0) -> None:
        self._deadline = deadline
        self._since: float | None = None
        self._token: Token | None = None
        self._looked = False
        self.allowed = start_deadline or deadline
        """Seconds that the next change may take."""
        self.over = False
        """No progress for longer than it was allowed; stays."""

    def begin(self, now: float) -> bool:
        """The container runs; True for the first time."""
        first = self._since is None
        if first:
            self._since = now
        return first

    def note(self, token: Token | None, now: float) -> None:
        """A look found this; None for nothing. What the first look finds was there before."""
        first, self._looked = not self._looked, True
        if token is None or token == self._token:
            return
        self._token = token
        if not first:
            self._since, self.allowed = now, self._deadline

    def judge(self, now: float) -> bool:
        """Whether it is over."""
        if self._since is not None and now - self._since > self.allowed:
            self.over = True
        return self.over


class Watch:
    """Follows the progress of one pod, from the first time that the kubelet asks after it."""

    def __init__(self, terms: ProgressTerms, pod_ip: str, wait: Callable[[float], bool]) -> None:
        self._terms = terms
        self._pod_ip = pod_ip
        self._wait = wait
        self._stall = Stall(terms.deadline, terms.start_deadline)

    def trouble(self) -> str:
        """Why the pod is to be stopped; empty as long as it gets on."""
        now = time.monotonic()
        if self._stall.begin(now):
            threading.Thread(target=self._run, daemon=True).start()
        if not self._stall.judge(now):
            return ""
        where = self._terms.file or f"port {self._terms.port}, {self._terms.path}"
        return f"nothing changed at {where} for {self._stall.allowed:g} s"

    def _run(self) -> None:
        pause = max(0.05, min(self._terms.deadline / _LOOKS, _LONGEST_PAUSE))
        while not self._stall.over:
            self._stall.note(look(self._terms, self._pod_ip), time.monotonic())
            if self._wait(pause):
                return


def look(terms: ProgressTerms, pod_ip: str) -> Token | None:
    """What there is to be seen now; None for nothing."""
    if terms.file:
        try:
            found = os.stat(terms.file)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size
    try:
        status, body = get(pod_ip, terms.port, terms.path, _QUESTION)
    except WireError:
        return None
    return body if status == 200 else None
