"""TCP ports for many clusters that start at the same time.

Decides which numbers are free. Invariant: a port is given to one cluster at a time, across all
processes of this user, until its folder is gone.
"""

from __future__ import annotations

import fcntl
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lab.programs import lab_home

_FIRST: Final = 21000
_LAST: Final = 31999
"""Below what kernels hand out for outgoing connections, which could take a port in between."""


def reserve(count: int, owner: Path) -> list[int]:
    """Return free ports, held as long as the folder `owner` exists; raises RuntimeError."""
    with _table() as held:
        chosen: list[int] = []
        for port in range(_FIRST, _LAST + 1):
            if len(chosen) == count:
                break
            if str(port) not in held and _is_free(port):
                chosen.append(port)
        if len(chosen) < count:
            raise RuntimeError(
                f"no {count} free ports between {_FIRST} and {_LAST}; see `python -m lab list`"
            )
        held.update({str(port): str(owner) for port in chosen})
        return chosen


def release(owner: Path) -> None:
    """Give back every port of a folder."""
    with _table() as held:
        for port in [port for port, folder in held.items() if folder == str(owner)]:
            del held[port]


@contextmanager
def _table() -> Iterator[dict[str, str]]:
    """The reservations, under their lock, without those whose folder is gone."""
    home = lab_home()
    home.mkdir(parents=True, exist_ok=True)
    with (home / "ports.json").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        try:
            known = json.loads(file.read() or "{}")
        except ValueError:  # cut short by a kill; the folders are the truth
            known = {}
        held = {port: folder for port, folder in known.items() if Path(folder).is_dir()}
        yield held
        file.seek(0)
        file.truncate()
        json.dump(held, file)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
