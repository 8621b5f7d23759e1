"""The center that has the data judges by itself: what a hub that lies gets, and foreign shares."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from huiju.centers.mailbox import mailbox_of
from huiju.data.links import unpack
from huiju.data.sealing import Recipient
from huiju.kube.resources import (
    CENTER_SERVINGS,
    CROSS_REGION_JOBS,
    DATASET_REPLICAS,
    DATASET_SHARES,
)
from tests.integration.hub.harness import Fields, World, job_body
from tests.integration.hub.moving import KEY, OWNER, Moving, moving, offer
from tests.integration.hub.pulling import CENTER as CONSUMER
from tests.patience import PATIENCE

pytestmark = [pytest.mark.lab, pytest.mark.federation]
UID = "5f0c7c1e-0000-4000-8000-000000000000"


@dataclass
class Liar:
    """Whoever may write into the mailbox of the data's center, as the hub may. No hub runs."""

    data: Moving
    share: Fields
    seq: int = 0

    async def ask(self, **lie: object) -> tuple[Fields, Recipient]:
        """A request for links, and what the center's agent answers to it."""
        self.seq += 1
        client, space = self.data.world.client, mailbox_of(OWNER)
        recipient = Recipient()
        version = self.share["spec"]["versions"][0]
        grant = {"namespace": self.data.world.namespace, "name": "corpus"}
        spec = {
            "share": {"namespace": self.data.owners, "name": "corpus"},
            "shareUid": self.share["metadata"]["uid"],
            "digest": version["manifestDigest"],
            "center": CONSUMER,
            "epoch": 1,
            "namespaces": [self.data.world.namespace],
            "grants": [grant],
            "need": {"seq": self.seq, "first": 0, "count": 10, "publicKey": recipient.public},
            **lie,
        }
        body = {
            "apiVersion": CENTER_SERVINGS.api_version,
            "kind": CENTER_SERVINGS.kind,
            "metadata": {"name": UID, "namespace": space},
            "spec": spec,
        }
        if self.seq == 1:
            await client.create(CENTER_SERVINGS, body, space)
        else:
            await client.patch(CENTER_SERVINGS, UID, {"spec": spec}, space)
        end = time.monotonic() + PATIENCE
        while True:
            found = await client.get(CENTER_SERVINGS, UID, space)
            answer = (found.get("status") or {}).get("answer") or {}
            if answer.get("seq") == self.seq:
                return answer, recipient
            assert time.monotonic() < end, found
            await asyncio.sleep(0.05)

    async def gets_nothing(self, reason: str, **lie: object) -> str:
        """Asserts that a lie gets no link, and why; what was said."""
        answer, _ = await self.ask(**lie)
        assert not answer.get("sealed"), answer
        assert answer["reason"] == reason, answer
        return str(answer["message"])

    async def gets_links(self, **more: object) -> None:
        """Asserts that the truth gets links: otherwise no refusal would tell anything."""
        answer, recipient = await self.ask(**more)
        sealed = base64.b64decode(answer["sealed"])
        assert unpack(sealed, recipient, UID, 1, self.seq).urls


@pytest.fixture
async def liar(world: World, tmp_path: Path) -> AsyncIterator[Liar]:
    async with moving(world, tmp_path, {"a.bin": 1000}) as data:
        await data.share()
        await data.publish("v1")
        yield Liar(data, await world.client.get(DATASET_SHARES, "corpus", data.owners))


async def test_a_hub_that_lies_about_a_grant_gets_nothing(liar: Liar) -> None:
    data = liar.data
    await liar.gets_nothing("NoGrant")  # there is none, whatever the request names
    await data.grant(None)
    await liar.gets_nothing("GrantRequested")
    await data.decide("Approved")
    await liar.gets_links()
    await liar.gets_nothing("NoGrant", namespaces=["somebody-else"])
    await liar.gets_nothing("NoGrant", namespaces=[])
    await liar.gets_nothing("NoGrant", grants=[])
    await liar.gets_nothing("PermissionDenied", center="nowhere")
    await liar.gets_nothing("UnknownDataset", shareUid="another")
    await liar.gets_nothing("UnknownVersion", digest="sha256:" + "0" * 64)
    await data.edit_share(residency={"regions": ["abroad"]})
    await liar.gets_nothing("ResidencyForbids")
    await data.edit_share(residency={"regions": []})
    await liar.gets_links()
    await data.decide("Revoked")
    await liar.gets_nothing("GrantRevoked")


async def test_in_the_owner_s_name_it_gets_what_the_owner_s_people_want_alone(liar: Liar) -> None:
    data = liar.data
    own: Fields = {"namespaces": [data.owners], "grants": []}
    await liar.gets_nothing("NoGrant", **own)
    job = {"namespace": data.owners, "name": "train"}
    await liar.gets_nothing("NoGrant", **own, jobs=[job])
    client = data.world.client
    for name, dataset in (("other", "other"), ("train", "corpus")):
        body = job_body(data.owners, name, data=[{"dataset": dataset, "mountPath": "/data"}])
        await client.create(CROSS_REGION_JOBS, body, data.owners)
    await liar.gets_nothing("NoGrant", **own, jobs=[{**job, "name": "other"}])
    await liar.gets_links(**own, jobs=[job])
    await client.raw("DELETE", CROSS_REGION_JOBS.path(data.owners))

    await data.replicate()
    (replica,) = (await client.list_all(DATASET_REPLICAS, data.owners)).items
    named = {"namespace": data.owners, "name": replica["metadata"]["name"]}
    await liar.gets_nothing("NoGrant", **own)
    await liar.gets_links(**own, replica=named)
    await liar.gets_nothing("NoGrant", **own, replica=named, center=OWNER)
    await client.patch(DATASET_REPLICAS, named["name"], {"spec": {"wanted": False}}, data.owners)
    await liar.gets_nothing("NoGrant", **own, replica=named)

    await data.edit_share(copies=[{"name": "near", "copies": 1, "regions": ["elsewhere"]}])
    await liar.gets_nothing("NoGrant", **own)
    await data.edit_share(copies=[{"name": "near", "copies": 1, "centers": [CONSUMER]}])
    await liar.gets_links(**own)


async def test_a_share_is_served_from_what_the_owner_of_the_center_offers_it_alone(
    liar: Liar,
) -> None:
    """Somebody with a namespace of their own names another's bucket, or another's key."""
    data = liar.data
    await data.grant()
    await liar.gets_links()
    owner = data.world.center_clients[OWNER]
    await offer(owner, f"somebody-else/*=s3:{KEY}/corpora/zh", f"{data.owners}/*=s3:{KEY}/other")
    said = await liar.gets_nothing("PermissionDenied")
    assert f"{data.owners}/corpus=s3:{KEY}/corpora/zh" in said
    await offer(owner, "no word that makes sense")
    assert "dataSources" in await liar.gets_nothing("PermissionDenied")
    await offer(owner, f"{data.owners}/corpus=s3:{KEY}/corpora")
    await liar.gets_links()
