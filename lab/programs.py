"""Where the lab's programs come from: a given folder, the cache, a release, or Go modules.

Decides versions and the order of sources; `download.py` and `gobuild.py` do the work. Invariant: a
program is used only after it said its version itself, and appears in the cache whole or not at all.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.progress import Progress, minutes

KUBERNETES: Final = "1.37.2"
ETCD: Final = "3.7.3"
KWOK: Final = "0.8.0"
HELM: Final = "4.3.1"

VERSIONS: Final[dict[str, str]] = {
    "etcd": ETCD,
    "kube-apiserver": KUBERNETES,
    "kube-controller-manager": KUBERNETES,
    "kube-scheduler": KUBERNETES,
    "kubectl": KUBERNETES,
    "kwok": KWOK,
    "kwokctl": KWOK,
    "helm": HELM,
}
"""Every program of the lab and the version that it must say."""

_GIVEN: Final = "HUIJU_LAB_BIN"
_STAMP: Final = "versions.json"
_ASKED: Final = {"kubectl": ("version", "--client"), "helm": ("version", "--short")}
"""How the programs without a `--version` say theirs."""
_NUMBER: Final = re.compile(r"\d+\.\d+\.\d+")


class ProgramsMissing(Exception):
    """The programs cannot be had here; the message names the cure."""


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder that holds every program of the lab."""

    folder: Path

    def path(self, name: str) -> Path:
        """Path of one program of `VERSIONS`."""
        if name not in VERSIONS:
            raise KeyError(name)
        return self.folder / name


def lab_home() -> Path:
    """The lab's folder in the user's cache: programs, Go modules, running labs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "huiju" / "lab"


def find_programs(progress: Progress | None = None) -> Programs:
    """Return the programs, fetching or building what is missing; raises ProgramsMissing.

    Building takes about fourteen minutes on two cores, once; other processes wait meanwhile.
    """
    progress = progress or Progress()
    given = os.environ.get(_GIVEN)
    if given:
        return _given_programs(Path(given))
    folder = lab_home() / "bin"
    if not _missing(folder):
        return Programs(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(lab_home() / "programs.lock", progress):
        missing = _missing(folder)
        if missing:
            _obtain(missing, folder, progress)
    return Programs(folder)


def said_version(path: Path) -> str | None:
    """The version that a program says itself, as `1.2.3`; None where it says none."""
    option = _ASKED.get(path.name, ("--version",))
    try:
        answer = subprocess.run([path, *option], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _NUMBER.search(answer.stdout) or _NUMBER.search(answer.stderr)
    return found.group() if answer.returncode == 0 and found else None


def _given_programs(folder: Path) -> Programs:
    """The user's own folder: any version is theirs to choose, but nothing may be absent."""
    absent = [name for name in VERSIONS if not os.access(folder / name, os.X_OK)]
    if absent:
        raise ProgramsMissing(
            f"{_GIVEN}={folder} lacks {', '.join(absent)}; put them there, or unset {_GIVEN}"
            " to let the lab fetch or build them"
        )
    return Programs(folder)


def _missing(folder: Path) -> list[str]:
    """The programs that are not in the folder in the right version."""
    stamp = _read_stamp(folder)
    missing: list[str] = []
    fresh = dict(stamp)
    for name, version in VERSIONS.items():
        path = folder / name
        mark = _mark(path, version)
        if mark is None:
            missing.append(name)
        elif stamp.get(name) != mark:
            if said_version(path) == version:
                fresh[name] = mark
            else:
                missing.append(name)
    if fresh != stamp:
        _write_stamp(folder, fresh)
    return missing


def _mark(path: Path, version: str) -> str | None:
    """What the stamp keeps of a verified file, so that it need not be run each time."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return f"{version} {stat.st_size} {stat.st_mtime_ns}"


def _read_stamp(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / _STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_stamp(folder: Path, stamp: dict[str, str]) -> None:
    part = folder / f".{_STAMP}.{os.getpid()}"
    part.write_text(json.dumps(stamp, indent=1))
    part.replace(folder / _STAMP)


def _obtain(missing: Sequence[str], folder: Path, progress: Progress) -> None:
    """Download what can be had, build the rest, and verify each."""
    from lab.download import download
    from lab.gobuild import build

    progress.say(f"lab: missing in {folder}: {', '.join(missing)}")
    left = download(missing, folder, progress)
    if left:
        build(left, folder, lab_home() / "mod", progress)
    wrong = _missing(folder)
    if wrong:
        raise ProgramsMissing(
            f"{', '.join(wrong)} in {folder} do not say the expected version"
            f" ({', '.join(f'{name} {VERSIONS[name]}' for name in wrong)}); delete them and try"
            f" again, or set {_GIVEN} to a folder with programs of yours"
        )


@contextmanager
def _alone(lock: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock file; another process may be building, which takes minutes."""
    started = time.monotonic()
    with lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = minutes(time.monotonic() - started)
                progress.tick(f"lab: another process is fetching the programs, waiting {waited}")
                time.sleep(0.5)
        yield
