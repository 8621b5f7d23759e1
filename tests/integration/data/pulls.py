"""What the tests of the puller share: an owner with a published version, and where copies go."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huiju.data import manifest
from huiju.data.access import Place
from huiju.data.authority import Asked, Authority
from huiju.data.manifest import MEBIBYTE, Summary
from huiju.data.origin import FolderOrigin, Progress
from huiju.data.paths import RESERVED
from huiju.data.publish import build
from huiju.data.signing import S3Linker
from lab.objectstore import ObjectStore
from lab.pulling import Owner, Pull
from lab.relay import Relay

ODD = {"a b+c&d=e.bin": 3, "语料/中文 文本.txt": 70_000, "per%20cent?#": 9, "z/empty": 0}


@dataclass
class World:
    """A store with one version, a line to it, and a place for copies."""

    store: ObjectStore
    relay: Relay
    summary: Summary
    owner: Owner
    data: Path
    folder: Path
    grant: Callable[[str], None]
    pulls: list[Pull] = field(default_factory=list)

    @property
    def target(self) -> Path:
        return self.folder / "store" / "u1" / "copy"

    @property
    def stagings(self) -> list[Path]:
        """Folders in which copies grow, or did."""
        return sorted(self.target.parent.glob(".copy.copying*"))

    def pull(self, epoch: int = 1, **order: Any) -> Pull:
        told = {
            "replica": "r1",
            "epoch": epoch,
            "digest": self.summary.digest,
            "target": str(self.target),
            "patience": 20,
            **order,
        }
        pull = Pull(self.owner, self.folder / f"pod-{len(self.pulls)}", told)
        self.pulls.append(pull)
        return pull

    def copied(self, root: Path | None = None) -> dict[str, bytes]:
        return tree(root or self.target)


def tree(root: Path) -> dict[str, bytes]:
    """Every file of the data, not Huiju's own."""
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file() and file.relative_to(root).parts[0] != RESERVED
    }


def share(digest: str, source: dict[str, Any], summary: Summary) -> dict[str, Any]:
    version = {
        "name": "v1",
        "manifestDigest": digest,
        "bytes": summary.bytes,
        "files": summary.files,
        "createdAt": "2026-01-01T00:00:00Z",
    }
    return {
        "metadata": {"namespace": "owners", "name": "corpus", "uid": "u1"},
        "spec": {
            "license": "MIT",
            "source": {"center": "guiyang", **source},
            "versions": [version],
            "access": {"namespaces": ["*"]},
        },
    }


def grant(decision: str) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "team-b", "name": "corpus"},
        "spec": {
            "dataset": {"namespace": "owners", "name": "corpus"},
            "requestedBy": "li",
            "acceptedLicense": "MIT",
            "decision": {"decision": decision, "by": "wang"},
        },
    }


async def publish(data: Path, sizes: dict[str, int]) -> Summary:
    """Fill a folder and publish it, in parts of a MiB."""
    for path, size in sizes.items():
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        (data / path).write_bytes(os.urandom(size))
    origin = FolderOrigin(data, 2)
    draft = data.parent / "draft"
    with draft.open("wb") as opened:
        summary = await build(origin, opened, MEBIBYTE, 2, Progress())
    await origin.keep(manifest.name_of(summary.digest), draft)
    origin.close()
    return summary


@asynccontextmanager
async def world(
    folder: Path, sizes: dict[str, int], *, clock: Callable[[], float] = time.time, **line: Any
) -> AsyncIterator[World]:
    """An owner whose bucket is reached over a line."""
    root = folder / "buckets"
    data = root / "corpora" / "zh"
    summary = await publish(data, sizes)
    source = {"s3": {"endpoint": "http://s", "bucket": "corpora", "secretName": "key"}}
    shared = share(summary.digest, source, summary)
    authority = Authority()

    def decide(decision: str) -> None:
        places = [Place("ulanqab", "north")]
        assert authority.tell([shared], [grant(decision)], places) == []

    decide("Approved")
    with ObjectStore(root) as store:
        async with Relay(store.port, **line) as relay:
            linker = S3Linker(store.signer("corpora", "zh", endpoint=relay.endpoint))
            asked = Asked("u1", summary.digest, "ulanqab", ("team-b",))
            owner = Owner(authority, linker, data.parent / "draft", asked, clock)
            made = World(store, relay, summary, owner, data, folder, decide)
            try:
                yield made
            finally:
                for pull in made.pulls:
                    if pull.started:
                        await pull.kill()
