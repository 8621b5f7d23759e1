"""`kubectl huiju` as a program, against a real API server with Huiju's CRDs."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from huiju.cli.preflight import glance
from huiju.cli.session import Session
from huiju.kube.client import Client
from huiju.kube.kubeconfig import from_secret_bytes
from huiju.kube.resources import (
    COMPUTE_CENTERS,
    COMPUTE_QUEUES,
    CROSS_REGION_JOBS,
    NODES,
    PODS,
    SECRETS,
)
from lab import joining
from lab.cluster import Cluster
from lab.fixtures import NamespaceIn
from tests.patience import PATIENCE

# Cluster-scoped objects of the hub are made here: no other hub may run beside these tests.
JOB: dict[str, Any] = {
    "apiVersion": "huiju.dev/v1alpha1",
    "kind": "CrossRegionJob",
    "metadata": {"name": "pretrain", "labels": {"team": "a"}},
    "spec": {
        "queue": "research",
        "accelerators": [{"model": "ascend-910b3", "perWorker": 8}],
        "workers": 2,
        "template": {"spec": {"containers": [{"name": "train", "image": "img"}]}},
    },
}
KIND_OF_CENTER = {"apiVersion": COMPUTE_CENTERS.api_version, "kind": COMPUTE_CENTERS.kind}
FLAGS = ("--queue", "research", "--accelerator", "ascend-910b3:8", "--image", "img")
STAMP = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Cli:
    """Runs the program against one cluster in one namespace."""

    kubeconfig: Path
    namespace: str

    def words(self, words: Sequence[str]) -> list[str]:
        cluster = (f"--kubeconfig={self.kubeconfig}", "-n", self.namespace)
        return [sys.executable, "-m", "huiju.cli.main", *cluster, *words]

    async def __call__(self, *words: str, stdin: str = "") -> Done:
        process = await self.start(*words)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), PATIENCE)
        return Done(process.returncode or 0, out.decode(), err.decode())

    async def start(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self.words(words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )


@pytest.fixture
async def cli(hub: Cluster, namespace_in: NamespaceIn, admin: Client) -> Cli:
    await joining.queue(admin, "research")
    return Cli(hub.kubeconfig, await namespace_in(hub))


@pytest.fixture
async def admin(hub: Cluster) -> AsyncIterator[Client]:
    async with await hub.client() as client:
        yield client


async def status(client: Client, namespace: str, name: str, **fields: Any) -> None:
    await client.patch_status(CROSS_REGION_JOBS, name, namespace, fields)


def condition(kind: str, value: str = "True", reason: str = "Because") -> dict[str, Any]:
    return {"type": kind, "status": value, "reason": reason, "lastTransitionTime": STAMP}


async def test_submit_show_and_switch(cli: Cli, admin: Client, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(yaml.safe_dump(JOB))
    assert (await cli("jobs")).err == f"No crossregionjobs in namespace {cli.namespace}.\n"

    checked = await cli("submit", "-f", str(file), "--dry-run=server")
    assert checked.code == 0, checked.err
    assert "server dry run" in checked.out
    assert (await cli("jobs", "-o", "name")).out == ""

    made = await cli("submit", "-f", "-", stdin=file.read_text())
    assert made.code == 0, made.err
    again = await cli("submit", "-f", str(file))
    assert again.code == 1
    assert "choose another name" in again.err

    placement = {
        "center": "guiyang",
        "epoch": 1,
        "alternative": 0,
        "model": "ascend-910b3",
        "resource": "huawei.com/Ascend910",
        "namespace": "huiju-12345678-a",
        "workload": "pretrain-abcde-e1",
        "placedAt": STAMP,
    }
    await status(
        admin, cli.namespace, "pretrain", phase="Running", reason="Running", placement=placement
    )
    shown = (await cli("jobs")).out.splitlines()
    assert shown[0].split() == ["NAME", "QUEUE", "PHASE", "CENTER", "REASON", "AGE"]
    assert shown[1].split()[:5] == ["pretrain", "research", "Running", "guiyang", "Running"]
    assert "ascend-910b3" in (await cli("jobs", "pretrain", "-o", "wide")).out
    assert (await cli("jobs", "-l", "team=a", "-o", "name")).out.strip() == (
        "crossregionjob.huiju.dev/pretrain"
    )
    assert (await cli("jobs", "--center", "nowhere", "-o", "name")).out == ""
    listed = json.loads((await cli("jobs", "--phase", "Running", "-o", "json")).out)
    assert [i["metadata"]["name"] for i in listed["items"]] == ["pretrain"]
    one = yaml.safe_load((await cli("jobs", "pretrain", "-o", "yaml")).out)
    assert one["kind"] == "CrossRegionJob"
    assert "managedFields" not in one["metadata"]
    titles, line = (await cli("jobs", "-o", "csv")).out.splitlines()
    logged = dict(zip(titles.split(","), line.split(","), strict=True))
    assert (logged["cluster"], logged["gpus"], logged["status"]) == ("guiyang", "16", "Running")
    await joining.queue(admin, "research", homeCenter="beijing")
    assert ",beijing," in (await cli("jobs", "pretrain", "-o", "csv")).out
    refused = await cli("jobs", "-w", "-o", "csv")
    assert (refused.code, "-w prints rows" in refused.err) == (2, True)

    for verb, field, value in (
        ("suspend", "suspend", True),
        ("resume", "suspend", False),
        ("cancel", "cancel", True),
    ):
        assert (await cli(verb, "pretrain")).code == 0
        found = await admin.get(CROSS_REGION_JOBS, "pretrain", cli.namespace)
        assert found["spec"][field] is value
    gone = await cli("cancel", "nothing")
    assert gone.code == 1
    assert "not found" in gone.err


async def test_the_servers_own_words_reach_the_user(cli: Cli) -> None:
    done = await cli("submit", "--name", "bad", *FLAGS[:3], "ascend-910b3:9", *FLAGS[4:])
    assert done.code == 1
    assert "perWorker" in done.err
    assert "Traceback" not in done.err


async def test_what_cannot_run_is_told_at_once(cli: Cli, admin: Client, tmp_path: Path) -> None:
    lost = await cli("submit", "--name", "lost", "--queue", "reserch", *FLAGS[2:])
    assert lost.code == 1
    assert "no queue reserch, did you mean research?" in lost.err
    await joining.queue(admin, "research", namespaces=["team-a"])
    for more in ((), ("--dry-run=server",)):
        shut = await cli("submit", "--name", "shut", *FLAGS, *more)
        assert shut.code == 1
        assert f"takes no jobs of namespace {cli.namespace}" in shut.err
    await joining.queue(admin, "research", namespaces=["*"])

    misspelled = JOB | {"spec": JOB["spec"] | {"worker": 4}}
    unknown = await cli("submit", "-f", "-", stdin=json.dumps(misspelled))
    assert unknown.code == 1
    assert 'unknown field "spec.worker"' in unknown.err
    assert (await cli("jobs", "-o", "name")).out == ""

    secret = {"kubeconfigSecret": {"name": "none"}}
    spec = {"connection": {"push": secret}, "region": "south"}
    center = {**KIND_OF_CENTER, "metadata": {"name": "cli-models"}, "spec": spec}
    await admin.create(COMPUTE_CENTERS, center)
    accelerator = {"model": "ascend-910b3", "resource": "huawei.com/Ascend910", "unit": "device"}
    await admin.patch_status(COMPUTE_CENTERS, "cli-models", None, {"accelerators": [accelerator]})
    try:
        odd = await cli("submit", "--name", "odd", *FLAGS[:3], "ascend-91ob3:8", *FLAGS[4:])
    finally:
        await admin.delete(COMPUTE_CENTERS, "cli-models")
    assert odd.code == 0, odd.err
    assert "no center has ascend-91ob3 now: did you mean ascend-910b3?" in odd.err
    assert "kubectl huiju why odd" in odd.err


async def test_a_refusal_within_a_moment_is_told(
    cli: Cli, admin: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    made = await admin.create(CROSS_REGION_JOBS, JOB, cli.namespace)
    never = condition("Accepted", "False", "InvalidTemplate") | {"message": "no such volume"}
    await status(admin, cli.namespace, "pretrain", conditions=[never])
    session = Session(argparse.Namespace(kubeconfig=str(cli.kubeconfig), namespace=cli.namespace))
    assert await asyncio.to_thread(glance, session, [made]) == 1
    session.api.close()
    told = capfd.readouterr().err
    assert "(InvalidTemplate): no such volume" in told
    assert f"kubectl delete crossregionjob pretrain -n {cli.namespace}" in told


async def test_waiting_ends_with_the_job(cli: Cli, admin: Client) -> None:
    async def submitted(name: str, *more: str) -> asyncio.subprocess.Process:
        process = await cli.start("submit", "--name", name, *FLAGS, "--wait", *more)
        assert process.stdout is not None
        assert b"submitted" in await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        return process

    good, bad, refused, slow = await asyncio.gather(
        submitted("good"), submitted("bad"), submitted("refused"), submitted("slow")
    )
    await status(admin, cli.namespace, "good", phase="Running")
    await status(
        admin, cli.namespace, "good", phase="Succeeded", conditions=[condition("Complete")]
    )
    failed = condition("Failed", reason="ApplicationFailed")
    await status(admin, cli.namespace, "bad", phase="Failed", conditions=[failed], message="exit 1")
    never = condition("Accepted", "False", "UnknownQueue")
    await status(admin, cli.namespace, "refused", conditions=[never], message="no such queue")
    slow.send_signal(signal.SIGINT)
    ends = [await asyncio.wait_for(p.communicate(), PATIENCE) for p in (good, bad, refused, slow)]
    assert [p.returncode for p in (good, bad, refused, slow)] == [0, 1, 1, 130]
    assert "Succeeded" in ends[0][1].decode()
    assert "exit 1" in ends[1][1].decode()
    assert "no such queue" in ends[2][1].decode()
    assert "Traceback" not in ends[3][1].decode()

    late = await submitted("late", "--timeout", "1s")
    assert "it goes on" in (await asyncio.wait_for(late.communicate(), PATIENCE))[1].decode()
    assert late.returncode == 1


async def test_watching_prints_rows_on_change(cli: Cli, admin: Client) -> None:
    await admin.create(CROSS_REGION_JOBS, JOB, cli.namespace)
    process = await cli.start("jobs", "-w")
    assert process.stdout is not None

    async def line() -> list[str]:
        assert process.stdout is not None
        return (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode().split()

    assert (await line())[0] == "NAME"
    assert (await line())[0] == "pretrain"
    body = {"metadata": {"annotations": {"nothing": "shown"}}}
    await admin.patch(CROSS_REGION_JOBS, "pretrain", body, cli.namespace)
    await status(admin, cli.namespace, "pretrain", phase="Queued", reason="NoNodeFits")
    assert (await line())[2:5] == ["Queued", "-", "NoNodeFits"]
    await admin.delete(CROSS_REGION_JOBS, "pretrain", cli.namespace)
    assert (await line())[-1] == "(deleted)"
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode == 130
    assert b"Traceback" not in err


async def test_queues_and_check(cli: Cli, admin: Client) -> None:
    child = {"parent": "cli-root", "guarantee": 950}
    for name, spec in (("cli-root", {"ceiling": 900}), ("cli-a", child)):
        body = {
            "apiVersion": COMPUTE_QUEUES.api_version,
            "kind": COMPUTE_QUEUES.kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        await admin.create(COMPUTE_QUEUES, body)
    try:
        rows = [row.split() for row in (await cli("queues")).out.splitlines()]
        names = [row[0] for row in rows]
        assert names.index("cli-root") < names.index("cli-a")
        assert rows[names.index("cli-root")][rows[0].index("CEILING")] == "900"
        checked = await cli("check")
        assert checked.code == 1
        assert "no hub is at work" in checked.out
        assert "Huiju's kinds are installed" in checked.out
        assert "queues for namespace" in checked.out
        assert "queues below cli-root are guaranteed 950 TFLOPS together" in checked.out
    finally:
        for name in ("cli-a", "cli-root"):
            await admin.delete(COMPUTE_QUEUES, name)


async def test_the_queue_log_and_the_hubs_centers_are_simulated(
    cli: Cli, admin: Client, tmp_path: Path
) -> None:
    spec = {"connection": {"pull": {}}, "region": "south"}
    body = KIND_OF_CENTER | {"metadata": {"name": "simulated"}, "spec": spec}
    await admin.create(COMPUTE_CENTERS, body)
    await joining.queue(admin, "simulated", homeCenter="simulated")
    try:
        model = {"model": "ascend-910b3", "resource": "huawei.com/Ascend910", "unit": "device"}
        told = {
            "accelerators": [model | {"allocatable": 24, "normalizedCompute": 7512}],
            "buckets": [
                {"model": "ascend-910b3", "nodes": 2, "units": 8, "free": 8},
                {"model": "ascend-910b3", "nodes": 1, "units": 8, "free": 0},
            ],
        }
        await admin.patch_status(COMPUTE_CENTERS, "simulated", None, told)
        wish = JOB["spec"] | {"queue": "simulated", "expectedRuntime": "1h"}
        await admin.create(CROSS_REGION_JOBS, JOB | {"spec": wish}, cli.namespace)
        log = tmp_path / "log.csv"
        log.write_text((await cli("jobs", "-o", "csv")).out)
        page = tmp_path / "page.html"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "huiju", "simulate", str(log), "--from-hub",
            f"--kubeconfig={cli.kubeconfig}", "-o", "json", "--html", str(page),
            stdout=subprocess.PIPE,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == 0
        found = json.loads(out)
        told_of = [(c["name"], c["nodes"], c["tflops"]) for c in found["centers"]]
        assert told_of == [("simulated", 3, 313)]
        assert found["policies"]["huiju"]["completion"]["mean"] == 3600
        assert "<svg" in page.read_text()
    finally:
        await admin.delete(COMPUTE_CENTERS, "simulated")
        await admin.delete(COMPUTE_QUEUES, "simulated")


async def test_why_falls_back_to_the_status(cli: Cli, admin: Client) -> None:
    await admin.create(CROSS_REGION_JOBS, JOB, cli.namespace)
    await status(admin, cli.namespace, "pretrain", phase="Queued", reason="NoNodeFits")
    done = await cli("why", "pretrain")
    assert done.code == 0, done.err
    assert "Queued: NoNodeFits" in done.out
    assert "warning" in done.err
    assert (await cli("why", "nothing")).code == 1
    logs = await cli("logs", "pretrain")
    assert logs.code == 1
    assert "kubectl huiju check" in logs.err


async def test_a_server_that_is_gone(cli: Cli, tmp_path: Path) -> None:
    config = yaml.safe_load(cli.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(config))
    done = await Cli(file, "default")("jobs")
    assert done.code == 1
    assert "does not answer" in done.err
    assert "Traceback" not in done.err
    config["clusters"][0]["cluster"] = {"server": "https://127.0.0.1:9", "proxy-url": "http://x"}
    file.write_text(yaml.safe_dump(config))
    assert "proxy-url" in (await Cli(file, "default")("jobs")).err


async def test_join_is_repeatable_and_gives_few_rights(
    cli: Cli, hub: Cluster, admin: Client
) -> None:
    join = ("join", "cli-center", f"--center-kubeconfig={hub.kubeconfig}")
    nameless = await cli(*join)
    assert nameless.code == 2
    assert "--region" in nameless.err
    dry = await cli(*join, "--region", "south", "--dry-run")
    assert dry.code == 0, dry.err
    assert "Nothing was written" in dry.out
    assert (await cli("centers", "cli-center")).code == 1
    try:
        done = await cli(*join, "--region", "south", "--max-share", "50")
        assert done.code == 0, done.err
        assert "no hub is at work" in done.err
        assert "the account reaches the center" in done.out
        again = await cli(*join)
        assert again.code == 0, again.err
        assert ": created" not in again.out
        assert ": changed" not in again.out
        center = await admin.get(COMPUTE_CENTERS, "cli-center")
        assert center["spec"]["sharing"]["maxSharePercent"] == 50
        assert center["spec"]["region"] == "south"
        await _check_account(admin)
        assert (await cli("cordon", "cli-center")).code == 0
        assert "Cordoned" in (await cli("centers", "cli-center")).out
        assert (await cli("uncordon", "cli-center")).code == 0

        patch = {"status": {"identity": {"uid": "another"}}}
        await admin.patch(COMPUTE_CENTERS, "cli-center", patch, subresource="status")
        other = await cli(*join)
        assert other.code == 1
        assert "another cluster" in other.err
    finally:
        await admin.delete(COMPUTE_CENTERS, "cli-center")


async def _check_account(admin: Client) -> None:
    """The hub's kubeconfig works, and for nothing but what the role names."""
    import base64

    from huiju.kube.errors import Forbidden

    secret = await admin.get(SECRETS, "center-cli-center", "huiju-system")
    credentials = from_secret_bytes(base64.b64decode(secret["data"]["kubeconfig"]))
    async with Client(credentials, name="account") as account:
        await account.list_all(NODES)
        await account.list_all(PODS)
        with pytest.raises(Forbidden):
            await account.list_all(SECRETS)
        with pytest.raises(Forbidden):
            await account.create(PODS, {"metadata": {"name": "x"}}, "default")
        with pytest.raises(Forbidden):
            await account.delete(NODES, "x")


async def test_completion_knows_names(cli: Cli, admin: Client) -> None:
    await admin.create(CROSS_REGION_JOBS, JOB, cli.namespace)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "huiju.cli.main", "__complete"),
        *(f"--kubeconfig={cli.kubeconfig}", "-n", cli.namespace, "why", "pre"),
        stdout=subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert out == b"pretrain\n:4\n"


async def test_versions(cli: Cli) -> None:
    told = json.loads((await cli("version", "-o", "json")).out)
    assert told["kubernetes"].startswith("v1.")
    assert (await cli("version", "--client")).out.startswith("kubectl-huiju ")
