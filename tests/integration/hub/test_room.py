"""Room in a center's store, end to end: what goes when another copy is needed, and what never."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from huiju.kube.resources import DATASET_REPLICAS
from tests.integration.hub.harness import Fields, World, running
from tests.integration.hub.moving import Moving, moving, phase_of, reason_of
from tests.integration.hub.pulling import CENTER as CONSUMER
from tests.integration.hub.pulling import MODEL
from tests.patience import PATIENCE

pytestmark = [pytest.mark.lab, pytest.mark.federation]
BIG = 299_000_000
"""Bytes of a file that all versions have: moved once, and counted in each copy."""
Copies = dict[str, Fields]


async def copies(data: Moving, seen: Callable[[Copies], bool]) -> Copies:
    """The copies by version, once they are as a test waits for."""
    end = time.monotonic() + PATIENCE
    while True:
        found = (await data.world.client.list_all(DATASET_REPLICAS, data.owners)).items
        known = {replica["spec"]["version"]: replica for replica in found}
        if seen(known):
            return known
        assert time.monotonic() < end, known
        await asyncio.sleep(0.1)


def verified(known: Copies, *versions: str) -> bool:
    return {v for v, replica in known.items() if phase_of(replica) == "Verified"} == {*versions}


def pinned(replica: Fields) -> bool:
    """Whether the copy is said to stay because its share pins it."""
    return "pinned" in (replica["status"].get("pinnedBy") or [])


def note(data: Moving, replica: Fields) -> str:
    """What tells a copy from the others."""
    return (data.place(replica) / "note.txt").read_text()


async def test_the_longest_unused_makes_room_and_none_that_is_used_or_pinned(
    world: World, tmp_path: Path
) -> None:
    async with moving(world, tmp_path, {"note.txt": 10}) as data, running(world.hub):
        await world.edit_center(CONSUMER, dataStore={"path": "/store", "capacity": "1G"})
        with (data.data / "big.bin").open("wb") as file:
            file.truncate(BIG)
        await data.share()
        for version in ("v1", "v2", "v3", "v4"):
            (data.data / "note.txt").write_text(f"this is {version}")
            await data.publish(version)
        await data.grant()

        async def job(version: str, **more: object) -> None:
            wanted = data.wanted(version=version)
            placement = {"centers": [CONSUMER]}
            await world.submit(version, data=wanted, placement=placement, model=MODEL, **more)

        # The note of a version is in the bucket as it was when the version was copied.
        async def as_published(version: str) -> None:
            (data.data / "note.txt").write_text(f"this is {version}")

        await as_published("v1")
        await job("v1")
        await world.until_phase("v1", "Succeeded")
        await as_published("v2")
        await job("v2", fate={"run_for": "1h"})
        await world.until_phase("v2", "Running")
        await as_published("v3")
        await job("v3")
        await world.until_phase("v3", "Succeeded")
        known = await copies(data, lambda c: verified(c, "v1", "v2", "v3"))
        places = {version: data.place(replica) for version, replica in known.items()}

        # 897 MB of 1 GB are taken, and 900 is where eviction ends: v1 goes, unused for longest.
        await as_published("v4")
        await job("v4")
        await world.until_phase("v4", "Succeeded")
        known = await copies(data, lambda c: verified(c, "v2", "v3", "v4") and "v1" not in c)
        assert not places["v1"].exists()
        for version in ("v2", "v3", "v4"):
            assert note(data, known[version]) == f"this is {version}"

        # With v3 and v4 pinned nothing may go: the next copy waits, and says what for.
        await data.edit_share(pins=[CONSUMER])
        await copies(data, lambda c: all(map(pinned, c.values())))
        await as_published("v1")
        await data.say("dataset", "replicate", "corpus", "--center", CONSUMER, "--version", "v1")
        await copies(data, lambda c: "v1" in c and reason_of(c["v1"]) == "QuotaExceeded")
        assert verified(await copies(data, lambda _: True), "v2", "v3", "v4")
        await data.edit_share(pins=[])
        known = await copies(data, lambda c: verified(c, "v1", "v2", "v4"))
        assert not places["v3"].exists()
        assert note(data, known["v2"]) == "this is v2"
