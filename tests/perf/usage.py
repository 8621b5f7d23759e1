"""Runs a program and writes what it took: `python -m tests.perf.usage FILE PROGRAM...`.

The file gets one JSON object: `seconds` by the clock, `cpu` of the program and its children, and
`peak`, the most memory in bytes that the program itself held.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def main(words: list[str]) -> int:
    """Run it; the exit code is the program's."""
    file, *program = words
    started = time.monotonic()
    number = os.posix_spawnp(program[0], program, os.environ)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(number, signal.SIGTERM))
    _, status, took = os.wait4(number, 0)
    told = {
        "seconds": time.monotonic() - started,
        "cpu": took.ru_utime + took.ru_stime,
        "peak": took.ru_maxrss * 1024,
    }
    Path(file).write_text(json.dumps(told), encoding="utf-8")
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
