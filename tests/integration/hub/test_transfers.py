"""Data sets on their way between real control planes: bucket, agents, pullers, and a job."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from pathlib import Path

import pytest

from huiju.centers.agentrole import GATEWAY
from huiju.data.manifest import MEBIBYTE
from huiju.kube.resources import CENTER_COPIES, CENTER_SERVINGS, JOBS, SECRETS
from lab import joining
from lab.fates import PULLER
from tests.integration.data.pulls import tree
from tests.integration.hub.gateways import gateway
from tests.integration.hub.harness import Fields, World, running
from tests.integration.hub.moving import OWNER, Moving, moving, offer, phase_of, reason_of
from tests.integration.hub.pulling import CENTER as CONSUMER
from tests.integration.hub.pulling import MODEL, until_empty
from tests.integration.hub.secrecy import dump, looking, said_anywhere
from tests.patience import PATIENCE

pytestmark = [pytest.mark.lab, pytest.mark.federation]
SIZES = {"train/a.bin": 3_500_000, "train/b.txt": 70_000, "README.md": 12, "empty": 0}


def done_of(replica: Fields) -> int:
    """Bytes that are there."""
    return int((replica.get("status") or {}).get("bytesDone") or 0)


async def until_nothing_is_left(data: Moving) -> None:
    """Nothing of any transfer lies in the mailboxes or in the consumer's center."""
    from huiju.centers.mailbox import mailbox_of

    hub, consumer = data.world.client, data.world.center_clients[CONSUMER]
    await until_empty(hub, CENTER_COPIES, mailbox_of(CONSUMER))
    await until_empty(hub, CENTER_SERVINGS, mailbox_of(OWNER))
    for res in (JOBS, SECRETS):
        await until_empty(consumer, res, joining.SYSTEM, PULLER)


async def test_from_bucket_to_running_job(world: World, tmp_path: Path) -> None:
    trail = tmp_path / "audit.jsonl"
    async with moving(world, tmp_path, SIZES) as data, running(world.hub, audit_file=trail) as hub:
        await data.share()
        assert "v1" in await data.publish("v1")
        await data.grant()
        placement = {"centers": [CONSUMER]}
        await world.submit("train", data=data.wanted(), placement=placement, model=MODEL)
        await world.until_phase("train", "Staging")
        replica = await data.until_phase("Verified")
        assert data.copied(replica) == tree(data.data)
        status = replica["status"]
        assert status["verifiedDigest"] == replica["spec"]["manifestDigest"]
        assert (status["epoch"], status["source"]) == (1, OWNER)
        assert status["bytesDone"] == status["bytesTotal"] == sum(SIZES.values())
        assert status["filesDone"] == len(SIZES)
        await world.until_phase("train", "Succeeded")
        await until_nothing_is_left(data)
        link = {"source": OWNER, "center": CONSUMER}
        value = hub.metrics.registry.get_sample_value
        carried = value("huiju_link_bytes_total", link)
        assert carried is not None
        assert carried >= sum(SIZES.values())
        assert value("huiju_transfers_ended_total", {**link, "result": "Verified"}) == 1
        assert value("huiju_link_budget_bytes", link) == 1_250_000_000
        await told_whole(world, data, trail)


async def told_whole(world: World, data: Moving, trail: Path) -> None:
    """The trail tells the whole way, is a chain, and holds nothing secret."""
    async with asyncio.timeout(PATIENCE):
        while "ReadEnded" not in trail.read_text():
            await asyncio.sleep(0.1)
    records = [json.loads(line) for line in trail.read_text().splitlines()]
    for event, fields in (
        ("VersionPublished", {"version": "v1", "bytes": sum(SIZES.values())}),
        ("GrantActive", {"requestedBy": "li", "decidedBy": "wang"}),
        ("CopyBegun", {"source": OWNER, "center": CONSUMER, "for": [world.namespace]}),
        ("LinksSigned", {"source": OWNER, "center": CONSUMER, "for": [world.namespace]}),
        ("CopyVerified", {"bytes": sum(SIZES.values())}),
        ("ReadBegun", {"job": f"{world.namespace}/train", "center": CONSUMER}),
        ("ReadEnded", {"job": f"{world.namespace}/train", "center": CONSUMER}),
    ):
        (record,) = [r for r in records if r["event"] == event][-1:]
        assert fields.items() <= record.items()
        assert f"{data.owners}/corpus" in json.dumps(record)
    assert "unbroken" in await data.say("audit", "verify", str(trail))
    assert data.store.key.secret not in trail.read_text()
    assert "X-Amz" not in trail.read_text()


async def test_a_killed_puller_goes_on_where_it_was(world: World, tmp_path: Path) -> None:
    async with moving(world, tmp_path, {"big.bin": 30 * MEBIBYTE}) as data, running(world.hub):
        await data.share()
        await data.publish("v1")
        data.relay.rate = 3 * MEBIBYTE
        await data.replicate()
        before = await data.until(lambda r: done_of(r) >= 12 * MEBIBYTE)
        assert before["status"]["rate"] > 0
        assert before["status"]["eta"]
        assert data.pullers.kill() == 1
        data.relay.rate = 0
        replica = await data.until_phase("Verified")
        assert data.copied(replica) == tree(data.data)
        # One transfer, one epoch, a second pod; what was sent again is a part a stream at most.
        assert replica["status"]["epoch"] == 1
        assert len(data.pullers.played) == 2
        (done,) = data.pullers.said("done")
        assert done["fetched"] <= (30 - 12 + 4) * MEBIBYTE


async def test_revoked_while_it_is_copied_no_link_is_signed_any_more(
    world: World, tmp_path: Path
) -> None:
    async with moving(world, tmp_path, {"big.bin": 20 * MEBIBYTE}) as data, running(world.hub):
        await data.share()
        await data.publish("v1")
        await data.grant()
        data.relay.rate = MEBIBYTE
        placement = {"centers": [CONSUMER]}
        await world.submit("train", data=data.wanted(), placement=placement, model=MODEL)
        await data.until(lambda r: done_of(r) >= 2 * MEBIBYTE)
        await data.decide("Revoked")
        data.pullers.kill()  # the next one has no links, and asks
        replica = await data.until(lambda r: not r or reason_of(r) == "GrantRevoked")
        assert not replica or not data.place(replica).exists()
        status = await world.until_reason("train", "GrantRevoked")
        assert "placement" not in status
        # Nobody needs what was begun: it goes, bytes and all.
        await data.until(lambda r: not r)
        assert not list((data.root / "store").rglob("big.bin"))


async def test_a_copy_is_checked_mended_and_removed_by_command(
    world: World, tmp_path: Path
) -> None:
    trail = tmp_path / "audit.jsonl"
    async with moving(world, tmp_path, SIZES) as data, running(world.hub, audit_file=trail):
        await data.share()
        await data.publish("v1")
        await data.replicate()
        replica = await data.until_phase("Verified")
        file = data.place(replica) / "train" / "a.bin"
        content = bytearray(file.read_bytes())
        content[1_500_000] ^= 1
        file.chmod(0o644)
        file.write_bytes(content)
        await data.say("dataset", "verify", "corpus")
        replica = await data.until(
            lambda r: phase_of(r) == "Verified" and r["status"].get("checked") == 1
        )
        assert data.copied(replica) == tree(data.data)
        (mended,) = data.pullers.said("done")[1:]
        assert mended["fetched"] <= 2 * MEBIBYTE  # the one part that was wrong, and the manifest
        await data.say("dataset", "verify", "corpus")
        await data.until(lambda r: phase_of(r) == "Verified" and r["status"]["checked"] == 2)
        assert len(data.pullers.said("done")) == 2
        await data.say("dataset", "rm", "corpus", "--center", CONSUMER)
        await data.until(lambda r: not r)
        assert not list((data.root / "store" / "huiju-data").rglob("*.bin"))
        await until_nothing_is_left(data)
        async with asyncio.timeout(PATIENCE):
            while "CopyRemoved" not in trail.read_text():
                await asyncio.sleep(0.1)
        # It was there all the time that it was read, and was removed once.
        told = [json.loads(line)["event"] for line in trail.read_text().splitlines()]
        assert told.count("CopyVerified") == 3
        assert [event for event in told if event.startswith("Copy")][-2:] == [
            "CopyLeaves",
            "CopyRemoved",
        ]
        assert told.count("CopyRemoved") == 1


async def test_no_link_no_copy(world: World, tmp_path: Path) -> None:
    async with moving(world, tmp_path, {"big.bin": 20 * MEBIBYTE}) as data, running(world.hub):
        await data.share()
        await data.publish("v1")
        await world.edit_center(OWNER, links=[])
        await data.replicate()
        await data.until_reason("NoRoute")
        assert not data.pullers.played
        data.relay.rate = MEBIBYTE
        await world.edit_center(OWNER, links=[{"to": CONSUMER, "bandwidth": "10G"}])
        await data.until(lambda r: done_of(r) >= MEBIBYTE)
        await world.edit_center(OWNER, links=[])
        replica = await data.until_reason("NoRoute")
        assert phase_of(replica) == "Failed"
        await until_nothing_is_left(data)


async def test_nothing_secret_is_anywhere_but_with_the_owner(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with moving(world, tmp_path, SIZES) as data, running(world.hub) as hub:
        await data.share()
        await data.publish("v1")
        async with looking(data) as seen:
            await data.replicate()
            await data.until_phase("Verified")
        everything = await said_anywhere(data, hub, seen, caplog)
        for word in (data.store.key.secret, data.store.key.access):
            assert word not in everything
            assert base64.b64encode(word.encode()).decode() not in everything
        assert "X-Amz-Signature" not in everything
        assert "X-Amz-Credential" not in everything
        # The search sees what is there: sealed links passed through the hub, pullers ran.
        assert '"sealed"' in everything
        assert "\0pull\0--folder\0" in everything
        # And in the owner's own center the key is in the one Secret that its owner made.
        key = base64.b64encode(data.store.key.secret.encode()).decode()
        assert (await dump(world.center_clients[OWNER])).count(key) == 1


async def test_a_folder_comes_through_the_owner_s_gateway_and_nothing_secret_with_it(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with moving(world, tmp_path, SIZES) as data, running(world.hub) as hub:
        owner = world.center_clients[OWNER]
        made = await data.share(source={"center": OWNER, "files": {"path": str(data.data)}})
        await data.publish("v1")
        await data.replicate()
        # Not before its owner says so; and not without a gateway.
        await data.until_reason("PermissionDenied")
        await offer(owner, f"{data.owners}/*={data.data}")
        async with gateway(data) as said, looking(data) as seen:
            await data.say("dataset", "rm", "corpus", "--center", CONSUMER)
            await data.until(lambda r: not r)
            await data.replicate()
            replica = await data.until_phase("Verified")
            assert data.copied(replica) == tree(data.data)
            await data.say("dataset", "rm", "corpus", "--center", CONSUMER)
            await data.until(lambda r: not r)
        everything = await said_anywhere(data, hub, seen, caplog) + said.read_text()
        key = (await owner.get(SECRETS, GATEWAY, joining.SYSTEM))["data"]["key"]
        assert key not in everything
        claims = f'{{"share":"{made["metadata"]["uid"]}"'.encode()
        assert base64.urlsafe_b64encode(claims)[:40].decode() not in everything, "a token"
        assert '"sealed"' in everything
        assert (await dump(owner)).count(key) == 1
