"""Centers that lie, fall silent, or speak for others: they hurt their own jobs, and it shows."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from huiju.centers import names
from huiju.centers.mailbox import mailbox_of
from huiju.kube.client import Client
from huiju.kube.errors import AlreadyExists
from huiju.kube.resources import CENTER_INVENTORIES, COMPUTE_CENTERS, JOBS, NAMESPACES, SECRETS
from lab import joining
from lab.faultrules import Fault
from lab.proxy import FaultProxy
from tests.integration.hub.harness import Fields, World, hub_id_of, running
from tests.integration.hub.pulling import CENTER, agent, become_pull, empty_mailbox, until_some

MODEL = "nvidia-h100-sxm"
HIGH = 900_000_000


def credible(status: Fields) -> Fields:
    found = (c for c in status.get("conditions") or () if c["type"] == "Credible")
    return next(found, {})


def doubted(words: str) -> Callable[[Fields], bool]:
    return lambda s: credible(s).get("status") == "False" and words in credible(s)["message"]


async def forge(client: Client, origin: names.Origin, *, suspend: bool = False) -> Fields:
    """A workload that says it is of a job of the hub's, made by the center itself."""
    space = names.own_namespace(origin.hub_id, origin.namespace)
    meta = {"name": space, "labels": {names.LABEL_HUB: origin.hub_id}}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
    with contextlib.suppress(AlreadyExists):
        await client.create(NAMESPACES, body)
    name = names.workload_name(origin.name, origin.uid, origin.epoch)
    container = {"name": "c", "image": "i"}
    template = {
        "metadata": {"labels": origin.labels()},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    return await client.create(
        JOBS,
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name,
                "labels": origin.labels(),
                "annotations": {names.ORIGIN: str(origin)},
            },
            "spec": {"suspend": suspend, "template": template},
        },
        space,
    )


async def test_a_center_that_speaks_for_anothers_running_job_changes_nothing_of_it(
    world: World,
) -> None:
    hub, north = await hub_id_of(world.client), world.center_clients["north"]
    async with running(world.hub):
        made = await world.submit("honest", fate={"run_for": "15s"})
        await world.until_phase("honest", "Running")
        uid = made["metadata"]["uid"]
        for epoch in (1, 2, HIGH):
            await forge(north, names.Origin(hub, world.namespace, "honest", uid, epoch))
        await world.until_center("north", doubted("honest"))
        # What claims an epoch that another center was given is told to stop, where it is.
        async with asyncio.timeout(30):
            while True:
                found = [w for c, w in await world.workloads("honest") if c == "north"]
                lies = {w["metadata"]["labels"][names.LABEL_EPOCH]: w["spec"] for w in found}
                if lies["1"].get("suspend"):
                    break
                await asyncio.sleep(0.1)
        done = await world.until_phase("honest", "Succeeded")
        assert (done["epoch"], done.get("history", [])) == (1, [])
        assert credible((await world.center("east"))["status"])["status"] == "True"


async def test_a_center_that_claims_a_high_epoch_does_not_use_up_anothers(world: World) -> None:
    """The job's next epoch had a digit more than a label may have: it was never seen to run."""
    hub_id, north = await hub_id_of(world.client), world.center_clients["north"]
    async with running(world.hub) as hub:
        made = await world.submit("later", suspend=True)
        await world.until_center("north", lambda s: bool(s.get("accelerators")))
        uid = made["metadata"]["uid"]
        await forge(north, names.Origin(hub_id, world.namespace, "later", uid, HIGH))
        await forge(north, names.Origin(hub_id, world.namespace, "later", uid, 7))
        site = hub.sites.get("north")
        assert site is not None
        async with asyncio.timeout(30):
            while site.held_epoch(uid) != HIGH:
                await asyncio.sleep(0.1)
        await world.edit("later", suspend=False)
        done = await world.until_phase("later", "Succeeded")
        assert done["epoch"] == 8, "what may be true is gone by, what cannot be is not"
        await world.until_center("north", doubted(str(HIGH)))


async def test_one_center_that_calls_every_template_wrong_is_not_believed(world: World) -> None:
    """It is asked first; its word alone refused the jobs of everybody."""
    async with FaultProxy(world.centers["east"]) as proxy:
        await joining.join(world.client, world.centers["east"], server=proxy.server)
        rule = proxy.add(Fault.ANSWER, "create", path=r"/jobs\?.*dryRun", code=400)
        async with running(world.hub):
            await world.until_center("east", lambda s: bool(s.get("accelerators")))
            await world.until_center("west", lambda s: bool(s.get("accelerators")))
            await world.submit("fine")
            await world.until_phase("fine", "Succeeded")
            assert rule.hits


async def test_a_center_that_answers_no_writes_keeps_no_other_waiting(world: World) -> None:
    """Its calls held every worker and every place for a commit until their deadlines."""
    async with FaultProxy(world.centers["north"]) as proxy:
        await joining.join(world.client, world.centers["north"], server=proxy.server)
        rule = proxy.add(Fault.HANG, "create", "patch", path="/jobs")
        narrow: dict[str, Any] = {"workers": 4, "commit_concurrency": 4, "center_calls": 2}
        async with running(world.hub, **narrow):
            for number in range(16):
                await world.submit(f"held-{number}", model=MODEL, per_worker=1)
            async with asyncio.timeout(60):
                while rule.hits < 6:
                    await asyncio.sleep(0.05)
            for number in range(4):
                await world.submit(f"free-{number}")
            for number in range(4):
                await world.until_phase(f"free-{number}", "Succeeded")
            assert not [s for _, s in await world.workloads() if "held" in s["metadata"]["name"]]
            proxy.rules.clear()
            proxy.cut_all()
            for number in range(16):
                done = await world.until_phase(f"held-{number}", "Succeeded", 90)
                assert done["epoch"] == 1


async def test_an_inventory_beyond_belief_offers_nothing_and_shows(
    world: World, tmp_path: Path
) -> None:
    """Written with a stolen credential beside an honest agent."""
    await become_pull(world)
    try:
        async with running(world.hub), agent(world, tmp_path):
            await until_some(world.client, CENTER_INVENTORIES, mailbox_of(CENTER))
            made = await world.submit("honest", fate={"run_for": "12s"})
            await world.until_phase("honest", "Running")
            uid = made["metadata"]["uid"]
            reports = [{"epoch": e, "state": "running", "ready": 1} for e in (1, 2, HIGH)]
            strays = [{"jobUid": uid, "namespace": "n", "report": report} for report in reports]
            free = {"nvidia.com/gpu": 10**15}
            group = {"nodes": ["n-1"], "free": free, "offered": True, "ready": True}
            lie = {
                "apiVersion": CENTER_INVENTORIES.api_version,
                "kind": CENTER_INVENTORIES.kind,
                "metadata": {"name": "lie"},
                "spec": {"groups": [group], "strays": strays},
            }
            await world.client.create(CENTER_INVENTORIES, lie, mailbox_of(CENTER))
            status = await world.until_center(CENTER, doubted("beyond belief"))
            (row,) = status["accelerators"]
            assert row["total"] == 16
            await world.submit("own", model=MODEL)
            await world.until_phase("own", "Succeeded")
            done = await world.until_phase("honest", "Succeeded")
            assert (done["epoch"], done.get("history", [])) == (1, [])
            await world.client.delete(CENTER_INVENTORIES, "lie", mailbox_of(CENTER))
            await world.until_center(CENTER, lambda s: "belief" not in credible(s)["message"])
    finally:
        await empty_mailbox(world.client)


class Listener:
    """A port that counts who comes."""

    def __init__(self) -> None:
        self.met = 0

    async def __call__(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.met += 1
        writer.close()


@pytest.mark.parametrize("what", ["exec", "tokenFile", "authority", "http", "proxy", "as"])
async def test_a_malicious_kubeconfig_starts_reads_and_meets_nothing(
    world: World, tmp_path: Path, what: str
) -> None:
    listener = Listener()
    server = await asyncio.start_server(listener, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    touched = tmp_path / "touched"
    config = yaml.safe_load(world.centers["north"].kubeconfig_text())
    user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
    match what:
        case "exec":
            words = {"command": "/usr/bin/touch", "args": [str(touched)]}
            user["exec"] = {"apiVersion": "client.authentication.k8s.io/v1", **words}
        case "tokenFile":
            user["tokenFile"] = "/proc/self/environ"
        case "authority":
            cluster["certificate-authority"] = "/etc/passwd"
        case "http":
            cluster["server"] = f"http://127.0.0.1:{port}"
        case "proxy":
            cluster["proxy-url"] = f"http://127.0.0.1:{port}"
        case "as":
            user["as"] = "system:admin"
    text = base64.b64encode(yaml.safe_dump(config).encode()).decode()
    kept = {"data": {"kubeconfig": text}}
    await world.client.patch(SECRETS, "north-kubeconfig", kept, joining.SYSTEM)
    async with server, running(world.hub):
        status = await world.until_center(
            "north", lambda s: "CredentialRefused" in str(s.get("conditions"))
        )
        assert "root:" not in str(status)
        await world.submit("careful", model=MODEL)
        await world.submit("elsewhere")
        await world.until_phase("elsewhere", "Succeeded")
        assert (await world.status("careful")).get("placement") is None
        assert listener.met == 0
        assert not touched.exists()
    assert (await world.client.get(COMPUTE_CENTERS, "north"))["spec"]["connection"]["push"]


async def test_a_center_that_shows_objects_without_an_end_is_not_kept_nor_believed(
    world: World,
) -> None:
    few = {"nodes": 1, "": 300_000}
    async with running(world.hub, center_objects=few):
        told = await world.until_center("north", lambda s: "more than 1 nodes" in str(s))
        found = {c["type"]: (c["status"], c["reason"]) for c in told["conditions"]}
        assert found["Reachable"] == found["Credible"] == ("False", "ClaimRefused")
        await world.submit("train")
        await world.until("train", lambda s: "more than 1 nodes" in s.get("message", ""))
