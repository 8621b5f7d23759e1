"""A lab: clusters that live and die together, and who still needs them.

Decides when a lab may go. Invariant: a lab goes when its last owner is dead or has left, however
that happened, unless someone said to keep it; two processes never make or end the same lab at once.
"""

from __future__ import annotations

import asyncio
import atexit
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from lab.cluster import Cluster, destroy
from lab.kwokctl import ClusterSpec, Component, Ports
from lab.processes import Process
from lab.programs import Programs, find_programs, lab_home
from lab.progress import Progress, minutes

_RECORD: Final = "lab.json"
_KEPT: Final = "kept"
_LOCKS: Final = 256
_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,60}[a-z0-9])?")
_reapers: Final[dict[Path, subprocess.Popen[bytes]]] = {}


class LabError(Exception):
    """What was asked for cannot be done; the message says why."""


@dataclass(frozen=True, slots=True)
class Lab:
    """The clusters of one lab, by name."""

    name: str
    folder: Path
    clusters: dict[str, Cluster]

    def __getitem__(self, name: str) -> Cluster:
        return self.clusters[name]

    def leave(self) -> None:
        """Say that this process needs the lab no more; the last one ends it."""
        leave(self.folder, Process.me())
        reaper = _reapers.pop(self.folder, None)
        if reaper is not None:
            reaper.communicate()


def runs() -> Path:
    """Where the labs' folders are."""
    return lab_home() / "run"


async def join(
    name: str,
    specs: Sequence[ClusterSpec],
    *,
    keep: bool = False,
    progress: Progress | None = None,
    seconds: float = 180.0,
) -> Lab:
    """Return the lab of that name, started if need be, with this process as one of its owners.

    `keep`: it outlives its owners, until `down`. Raises LabError, ClusterFailed, ProgramsMissing.
    """
    if not _NAME.fullmatch(name):
        raise LabError(f"{name!r} cannot name a lab: lower case letters, digits and dashes, please")
    progress = progress or Progress()
    sweep()
    programs = await asyncio.to_thread(find_programs, progress)
    folder = runs() / name
    with _locked(folder):
        _own(folder, keep)
        try:
            lab = _read(folder, programs)
            if lab is None:
                lab = await _start(folder, specs, programs, progress, seconds)
        except BaseException:
            _end(folder)
            raise
    return lab


def opened(name: str) -> Lab:
    """The running lab of that name; raises LabError where there is none."""
    lab = _read(runs() / name, Programs(lab_home() / "bin"))
    if lab is None:
        raise LabError(f"there is no lab {name!r}; `python -m lab list` shows those there are")
    return lab


def names() -> list[str]:
    """The labs that are up."""
    return sorted(record.parent.name for record in runs().glob(f"*/{_RECORD}"))


def down(name: str) -> None:
    """End a lab, whoever owns it; raises LabError where there is none."""
    folder = runs() / name
    if not folder.is_dir():
        raise LabError(f"there is no lab {name!r}")
    with _locked(folder):
        _end(folder)


def sweep() -> list[str]:
    """End every lab whose owners are all dead; returns their names."""
    ended: list[str] = []
    for folder in sorted(runs().glob("*/")):
        if _needed(folder):
            continue
        with _locked(folder):
            if folder.is_dir() and not _needed(folder):
                _end(folder)
                ended.append(folder.name)
    return ended


def leave(folder: Path, owner: Process) -> None:
    """Strike an owner off; the last one gone, the lab ends. Safe to repeat."""
    with _locked(folder):
        (folder / "owners" / str(owner)).unlink(missing_ok=True)
        if folder.is_dir() and not _needed(folder):
            _end(folder)


# --- making and ending ------------------------------------------------------------------------


async def _start(
    folder: Path,
    specs: Sequence[ClusterSpec],
    programs: Programs,
    progress: Progress,
    seconds: float,
) -> Lab:
    """Start all clusters side by side and write the record when all are ready."""
    started = time.monotonic()
    clusters = [Cluster.prepare(spec, folder, programs) for spec in specs]
    waiting = {cluster.name for cluster in clusters}

    async def one(cluster: Cluster) -> None:
        await cluster.start(seconds)
        waiting.discard(cluster.name)
        progress.say(f"lab: {cluster.name} is ready after {minutes(time.monotonic() - started)}")

    async def clock() -> None:
        while True:
            passed = minutes(time.monotonic() - started)
            progress.tick(f"lab: starting {', '.join(sorted(waiting))}: {passed}", every=10.0)
            await asyncio.sleep(0.5)

    ticking = asyncio.create_task(clock())
    try:
        async with asyncio.TaskGroup() as group:
            for cluster in clusters:
                group.create_task(one(cluster))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        ticking.cancel()
    record = {"clusters": [_cluster_record(cluster) for cluster in clusters]}
    part = folder / f".{_RECORD}"
    part.write_text(json.dumps(record, indent=1))
    part.replace(folder / _RECORD)
    return Lab(folder.name, folder, {cluster.name: cluster for cluster in clusters})


def _cluster_record(cluster: Cluster) -> dict[str, Any]:
    return {"spec": asdict(cluster.spec), "ports": asdict(cluster.ports)}


def _read(folder: Path, programs: Programs) -> Lab | None:
    """The lab as its record tells; None where none was completed."""
    try:
        record = json.loads((folder / _RECORD).read_text())
    except (OSError, ValueError):
        return None
    clusters: dict[str, Cluster] = {}
    for entry in record["clusters"]:
        spec = ClusterSpec(
            **entry["spec"] | {"components": tuple(map(Component, entry["spec"]["components"]))}
        )
        clusters[spec.name] = Cluster(spec, Ports(**entry["ports"]), folder, programs)
    return Lab(folder.name, folder, clusters)


def _end(folder: Path) -> None:
    for cluster in (folder / "clusters").glob("*/"):
        destroy(cluster)
    shutil.rmtree(folder, ignore_errors=True)


# --- ownership --------------------------------------------------------------------------------


def _own(folder: Path, keep: bool) -> None:
    """Note this process as an owner; a helper of ours waits for its end, even by SIGKILL."""
    owners = folder / "owners"
    owners.mkdir(parents=True, exist_ok=True)
    if keep:
        (owners / _KEPT).touch()
        return
    me = Process.me()
    (owners / str(me)).touch()
    if folder in _reapers:
        return
    _reapers[folder] = subprocess.Popen(
        [sys.executable, "-m", "lab.reaper", str(folder), str(me)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C at the terminal is not meant for it
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    atexit.register(leave, folder, me)


def _needed(folder: Path) -> bool:
    """Whether an owner lives, or someone said to keep the lab."""
    for owner in (folder / "owners").glob("*"):
        if owner.name == _KEPT or Process.parse(owner.name).alive:
            return True
    return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lab's lock, one of a fixed number.

    The files stay: deleting a lock file would let two processes hold it.
    """
    locks = lab_home() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / f"{crc32(folder.name.encode()) % _LOCKS:03}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
