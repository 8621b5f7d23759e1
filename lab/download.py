"""Programs from their official releases, each verified by the published SHA-256.

Decides addresses only. Invariant: a file whose checksum was not published or does not fit is never
put in place; where no release can be reached, that is found out in seconds.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.programs import ETCD, HELM, KUBERNETES, KWOK
from lab.progress import Progress, minutes

_REACH_SECONDS: Final = 4.0
_READ_SECONDS: Final = 30.0
_ETCD: Final = f"https://github.com/etcd-io/etcd/releases/download/v{ETCD}"
_HELM: Final = "https://get.helm.sh"
_KUBERNETES: Final = f"https://dl.k8s.io/release/v{KUBERNETES}/bin"
_KWOK: Final = f"https://github.com/kubernetes-sigs/kwok/releases/download/v{KWOK}"


@dataclass(frozen=True, slots=True)
class _Release:
    """Where one program is published, and where its checksum."""

    url: str
    sums: str
    member: str = ""
    """The file inside the archive; empty where the download is the program itself."""


def download(names: Sequence[str], folder: Path, progress: Progress) -> list[str]:
    """Fetch what can be fetched; returns the names that are left."""
    left: list[str] = []
    dead: set[str] = set()
    for name in names:
        release = _release(name)
        host = release.url.split("/")[2] if release else ""
        if release is None or host in dead:
            left.append(name)
            continue
        try:
            _fetch(name, release, folder, progress)
        except (OSError, ValueError, tarfile.TarError) as error:
            reason = getattr(error, "reason", error)
            progress.say(f"lab: {name} cannot be downloaded from {host} ({reason})")
            left.append(name)
            if not isinstance(error, urllib.error.HTTPError | ValueError):
                dead.add(host)
    return left


def _release(name: str) -> _Release | None:
    system = platform.system().lower()
    machine = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
    if machine is None or system not in ("linux", "darwin"):
        return None
    if name == "etcd":
        if system != "linux":  # a zip archive there; Go builds it in a minute
            return None
        base = f"etcd-v{ETCD}-{system}-{machine}"
        return _Release(f"{_ETCD}/{base}.tar.gz", f"{_ETCD}/SHA256SUMS", f"{base}/etcd")
    if name in ("kwok", "kwokctl"):
        url = f"{_KWOK}/{name}-{system}-{machine}"
        return _Release(url, f"{url}.sha256")
    if name == "helm":
        archive = f"helm-v{HELM}-{system}-{machine}.tar.gz"
        url = f"{_HELM}/{archive}"
        return _Release(url, f"{url}.sha256sum", f"{system}-{machine}/helm")
    if system != "linux" and name != "kubectl":  # servers are released for Linux only
        return None
    url = f"{_KUBERNETES}/{system}/{machine}/{name}"
    return _Release(url, f"{url}.sha256")


def _fetch(name: str, release: _Release, folder: Path, progress: Progress) -> None:
    """Download, verify, unpack and put in place; raises OSError or ValueError."""
    wanted = _checksum(release)
    part = folder / f".{name}.{os.getpid()}.download"
    try:
        found = _save(release.url, part, name, progress)
        if found != wanted:
            raise ValueError(f"SHA-256 is {found}, published is {wanted}")
        program = part
        if release.member:
            program = folder / f".{name}.{os.getpid()}.unpacked"
            with tarfile.open(part) as archive:
                inner = archive.extractfile(release.member)
                if inner is None:
                    raise ValueError(f"no {release.member} in {release.url}")
                program.write_bytes(inner.read())
        program.chmod(0o755)
        program.replace(folder / name)
    finally:
        part.unlink(missing_ok=True)


def _checksum(release: _Release) -> str:
    with urllib.request.urlopen(release.sums, timeout=_REACH_SECONDS) as answer:  # noqa: S310  https
        text = bytes(answer.read(1 << 20)).decode()
    target = release.url.rsplit("/", 1)[1]
    for line in text.splitlines():
        digest, _, file = line.strip().partition(" ")
        if len(digest) == 64 and file.strip().lstrip("*") in ("", target):
            return digest.lower()
    raise ValueError(f"no checksum of {target} in {release.sums}")


def _save(url: str, target: Path, name: str, progress: Progress) -> str:
    """Write the answer to a file; returns its SHA-256."""
    digest = hashlib.sha256()
    started = time.monotonic()
    with urllib.request.urlopen(url, timeout=_READ_SECONDS) as answer, target.open("wb") as file:  # noqa: S310
        total = int(answer.headers.get("Content-Length") or 0)
        done = 0
        while block := answer.read(1 << 20):
            digest.update(block)
            file.write(block)
            done += len(block)
            share = f" of {total >> 20}" if total else ""
            passed = minutes(time.monotonic() - started)
            progress.tick(f"lab: downloading {name}: {done >> 20}{share} MiB, {passed}", every=5)
    progress.say(f"lab: downloaded {name} from {url}")
    return digest.hexdigest()
