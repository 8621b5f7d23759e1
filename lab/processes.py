"""Processes by number, told apart from strangers that got the number later.

Decides what "the same process" and "alive" mean. Invariant: a signal goes only to a process whose
birth is the one that was noted, and a zombie counts as dead.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One process; `born` is the kernel's word for when it started, empty if it never ran."""

    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """The process that has this number now."""
        return cls(pid, _born(pid) or "")

    @classmethod
    def me(cls) -> Self:
        """This very process."""
        return cls.of(os.getpid())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str()` wrote."""
        pid, _, born = text.strip().partition("@")
        return cls(int(pid), born)

    def __str__(self) -> str:
        return f"{self.pid}@{self.born}"

    @property
    def alive(self) -> bool:
        """Whether it still runs; reaps it first where it is a dead child of ours."""
        with suppress(ChildProcessError, OSError):
            os.waitpid(self.pid, os.WNOHANG)
        return bool(self.born) and _born(self.pid) == self.born

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; False where the process is gone."""
        if not self.alive:
            return False
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def wait_gone(self, seconds: float) -> bool:
        """Wait until it is dead; False where it outlived the wait."""
        until = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() >= until:
                return False
            time.sleep(0.01)
        return True

    def end(self, patience: float = 0.0) -> None:
        """Make it die: asked first where there is patience (seconds), then killed."""
        if patience and self.signal(signal.SIGTERM):
            self.signal(signal.SIGCONT)
            if self.wait_gone(patience):
                return
        self.signal(signal.SIGKILL)  # also ends a stopped process
        self.wait_gone(10.0)


def command_line(pid: int) -> list[str]:
    """The arguments a process was started with; empty where there is none."""
    if _PROC.is_dir():
        try:
            words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return []
        return [word.decode(errors="replace") for word in words if word]
    return _ps(pid, "command=").split()


def _born(pid: int) -> str | None:
    """When the process started; None for none and for a zombie."""
    if not _PROC.is_dir():
        state = _ps(pid, "state=")
        return None if not state or state.startswith("Z") else _ps(pid, "lstart=") or None
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before may hold anything
    return None if fields[0] in "ZX" and not _threads_left(pid) else fields[19]


def _threads_left(pid: int) -> bool:
    """Whether a dying process still has threads, and with them its ports and files."""
    try:
        return len(list((_PROC / str(pid) / "task").iterdir())) > 1
    except OSError:
        return False


def _ps(pid: int, column: str) -> str:
    done = subprocess.run(["ps", "-o", column, "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip()
