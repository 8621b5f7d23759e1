"""Runs a Python program that falls asleep (SIGSTOP) once, just before a step of writing a copy.

`python sleeper.py WHERE python -m MODULE ARGS...`; the program is the real one, and goes on when it
is woken up.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_OPEN = "/proc/self/fd/{}"
_AFTER = 3
"""Steps of the kind that pass before."""


def _before(step: Callable[..., Any], ours: Callable[..., bool]) -> Callable[..., Any]:
    seen = 0

    def stepping(*args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        if ours(*args):
            seen += 1
            if seen == _AFTER:
                # To this thread: another that took it would let this one go a step further.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        return step(*args, **kwargs)

    return stepping


def _of_data(path: Any, *_: Any) -> bool:
    return ".copying" in str(path) and "/.huiju/" not in str(path)


def _fall_asleep(where: str) -> None:
    match where:
        case "open":
            os.open = _before(os.open, _of_data)
        case "pwrite":
            os.pwrite = _before(os.pwrite, lambda fd, *_: _of_data(os.readlink(_OPEN.format(fd))))
        case "log":
            os.pwrite = _before(os.pwrite, lambda _fd, content, _at: len(content) == 8)
        case "link":
            os.link = _before(os.link, lambda _source, target: _of_data(target))
        case "manifest":
            global _AFTER
            _AFTER = 1
            opened = Path.open
            Path.open = _before(opened, lambda path, *_: "/.huiju/manifests/" in str(path))  # type: ignore[method-assign]


if __name__ == "__main__":
    where, _python, _module, module, *rest = sys.argv[1:]
    _fall_asleep(where)
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
