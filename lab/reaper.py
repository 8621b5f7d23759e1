"""Waits for the end of the process that started it, then lets go of that process's lab.

Decides nothing: `federation.leave` does. Invariant: it ends when its standard input ends, which the
kernel sees to even where the owner was killed.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from lab.federation import leave
from lab.processes import Process


def main() -> None:
    """Run with a lab's folder and its owner as arguments."""
    folder, owner = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    leave(Path(folder), Process.parse(owner))


if __name__ == "__main__":
    main()
