"""The owner's word in a pull center, kept by the agent and by the center's own API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest

from huiju.agent.pullerjob import job_body, secret_body
from huiju.api.center import DataStore
from huiju.centers import admission
from huiju.centers.agentrole import POLICY
from huiju.kube.client import Client
from huiju.kube.errors import AlreadyExists, Forbidden, NotFound
from huiju.kube.resources import (
    CONFIG_MAPS,
    JOBS,
    NAMESPACES,
    SECRETS,
    Resource,
)
from lab import joining
from tests.integration.hub.harness import Fields, World, running
from tests.integration.hub.pulling import (
    CENTER,
    MODEL,
    agent,
    become_pull,
    center_account,
    empty_mailbox,
    say_policy,
)
from tests.patience import PATIENCE

GROUP = "admissionregistration.k8s.io"
POLICIES = Resource(GROUP, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False)
BINDINGS = Resource(
    GROUP, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", False
)
ACCOUNTS = "kube-system"
"""Where the lab's accounts are."""
SPACE = "huiju-abcd1234-team"
NAMES = (admission.NAME, admission.OWNERS_NAME)
LABELS = {"huiju.dev/hub": "abcd1234"}
NOWHERE = {"metadata": {"name": "never", "namespace": "default", "labels": LABELS}}


@pytest.fixture
async def pull(world: World) -> AsyncIterator[World]:
    """The world, with its NVIDIA center behind a mailbox; the owner's policy goes with it."""
    await become_pull(world)
    yield world
    await empty_mailbox(world.client)
    center = world.center_clients[CENTER]
    for res, name, space in (
        *((res, n, None) for res in (BINDINGS, POLICIES) for n in NAMES),
        (CONFIG_MAPS, POLICY, ACCOUNTS),
        (CONFIG_MAPS, POLICY, joining.SYSTEM),
    ):
        try:
            await center.delete(res, name, space)
        except NotFound:
            continue


async def test_the_agent_keeps_to_the_owners_policy_as_it_changes(
    pull: World, tmp_path: Path
) -> None:
    owner = pull.center_clients[CENTER]
    await say_policy(owner, joining.SYSTEM, maxUnits="nvidia.com/gpu=8")
    async with running(pull.hub), agent(pull, tmp_path) as process:
        # Both come at once: together they would hold more than the owner lends.
        for name in ("one", "two"):
            await pull.submit(name, model=MODEL, fate={"run_for": "60s"})
        async with asyncio.timeout(PATIENCE):
            while True:
                told = [await pull.status(name) for name in ("one", "two")]
                phases = {status.get("phase") for status in told}
                if "Running" in phases and "SharingLimit" in str(told):
                    break
                await asyncio.sleep(0.1)
        assert len(await pull.all_pods()) == 1
        await say_policy(owner, joining.SYSTEM, imagePrefixes="registry.owner/")
        async with asyncio.timeout(PATIENCE):
            while (await owner.get(CONFIG_MAPS, POLICY, joining.SYSTEM))["data"].get("maxUnits"):
                await asyncio.sleep(0.1)
        await pull.submit("foreign", model=MODEL)
        await pull.until("foreign", lambda s: "does not allow image" in str(s.get("history")))
        await say_policy(owner, joining.SYSTEM, imagePrefix="a misspelled key")
        async with asyncio.timeout(PATIENCE):
            while process.agent is None or "no such key" not in process.agent.trouble:
                await asyncio.sleep(0.1)


def job(name: str, **pod: Any) -> dict[str, Any]:
    spec = {
        "restartPolicy": "Never",
        "priorityClassName": "huiju-federated",
        "containers": [{"name": "c", "image": "registry.owner/train:1"}],
        **pod,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": SPACE, "labels": LABELS},
        "spec": {"template": {"spec": spec}},
    }


def puller(store: str = "/store", **pod: Any) -> Fields:
    """The Job of a transfer, as the agent makes it."""
    made = job_body(
        "uid", "huiju-copy-uid-1pl", ACCOUNTS, DataStore(path=store, capacity="1T"), "huiju:1", 1
    )
    made["spec"]["template"]["spec"] |= pod
    made["spec"]["suspend"] = True  # nothing is to run
    return made


async def pullers_are_bound(acting: Client) -> None:
    """The agent carries data into the store, by pods that reach nothing else."""
    told = secret_body("uid", "huiju-copy-uid-1pl", ACCOUNTS, {"order": b"{}"})
    await acting.create(SECRETS, told, ACCOUNTS)
    await acting.delete(SECRETS, "huiju-copy-uid-1pl", ACCOUNTS)
    gateway = {"metadata": {"name": "huiju-gateway", "namespace": ACCOUNTS}}
    await acting.create(SECRETS, gateway, ACCOUNTS, dry_run=True)
    await acting.create(JOBS, puller(), ACCOUNTS)
    await acting.delete(JOBS, "huiju-copy-uid-1pl", ACCOUNTS)
    for words, body, space in (
        ("the store alone", puller(store="/etc"), ACCOUNTS),
        ("have no token", puller(automountServiceAccountToken=True), ACCOUNTS),
        ("node's network", puller(hostNetwork=True), ACCOUNTS),
        ("carries the label", puller() | {"metadata": {"name": "huiju-copy-x"}}, SPACE),
        ("carries the label", puller() | {"metadata": {"name": "other"}}, ACCOUNTS),
    ):
        with pytest.raises(Forbidden, match=words):
            await acting.create(JOBS, body, space)


async def test_the_centers_own_api_server_refuses_what_the_owner_does_not_allow(
    pull: World,
) -> None:
    owner = pull.center_clients[CENTER]
    account = await center_account(pull)
    for body in admission.objects(ACCOUNTS, "/store"):
        res = BINDINGS if body["kind"] == BINDINGS.kind else POLICIES
        await owner.apply(res, body, manager="owner", force=True)
    await say_policy(
        owner,
        ACCOUNTS,
        imagePrefixes="registry.owner/,\nregistry.other/,",
        priorityClasses="huiju-federated",
        serviceAccounts="default",
        hostPaths="/usr/local/driver",
        kinds="Job Service Secret",
    )
    own = job("owners-own") | {"metadata": {"generateName": "own-", "namespace": "default"}}
    theirs = (await owner.create(JOBS, own, "default"))["metadata"]["name"]
    async with Client(account, name="account") as acting:
        await _in_force(acting)
        space = {"metadata": {"name": SPACE, "labels": LABELS}}
        with contextlib.suppress(AlreadyExists):  # a try before this one made it
            await acting.create(NAMESPACES, space)
        good = job("good")
        good["metadata"] = {"generateName": "good-", "namespace": SPACE, "labels": LABELS}
        made = (await acting.create(JOBS, good, SPACE))["metadata"]
        driver = [{"name": "d", "hostPath": {"path": "/usr/local/driver/lib"}}]
        await acting.create(JOBS, job("driver", volumes=driver), SPACE, dry_run=True)
        root = [{"name": "r", "hostPath": {"path": "/"}}]
        up = [{"name": "r", "hostPath": {"path": "/usr/local/driver2"}}]
        evil = {"name": "e", "image": "evil/x"}
        strong = {"name": "e", "image": "registry.owner/x", "securityContext": {"privileged": True}}
        config = {"apiVersion": "v1", "kind": "ConfigMap"}
        named = {"metadata": {"name": "x", "namespace": SPACE, "labels": LABELS}}
        hostile: dict[str, Awaitable[Any]] = {
            "imagePrefixes": acting.create(JOBS, job("a", containers=[evil]), SPACE),
            "none of imagePrefixes": acting.create(JOBS, job("a", initContainers=[evil]), SPACE),
            "serviceAccounts": acting.create(JOBS, job("a", serviceAccountName="admin"), SPACE),
            "priorityClasses": acting.create(
                JOBS, job("a", priorityClassName="system-node-critical"), SPACE
            ),
            "node's network": acting.create(JOBS, job("a", hostNetwork=True), SPACE),
            "by name": acting.create(JOBS, job("a", nodeName="n"), SPACE),
            "hostPaths": acting.create(JOBS, job("a", volumes=root), SPACE),
            "none of hostPaths": acting.create(JOBS, job("a", volumes=up), SPACE),
            "privileged": acting.create(JOBS, job("a", initContainers=[strong]), SPACE),
            "in kinds": acting.create(CONFIG_MAPS, config | named, SPACE),
            "centerNamespaces": acting.create(
                SECRETS, {"metadata": {"name": "x", "labels": LABELS}}, "kube-system"
            ),
            "carries the label": acting.create(SECRETS, {"metadata": {"name": "x"}}, SPACE),
            "only what it made": acting.delete(CONFIG_MAPS, POLICY, ACCOUNTS),
            "delete only": acting.delete(JOBS, theirs, "default"),
            "change and": acting.patch(JOBS, theirs, {"spec": {"suspend": True}}, "default"),
            "begin with huiju-": acting.create(
                NAMESPACES, {"metadata": {"name": "other", "labels": LABELS}}
            ),
            "Pod Security": acting.create(
                NAMESPACES,
                {
                    "metadata": {
                        "name": "huiju-x",
                        "labels": LABELS | {"pod-security.kubernetes.io/enforce": "privileged"},
                    }
                },
            ),
        }
        answers = await asyncio.gather(*hostile.values(), return_exceptions=True)
        wrong = {
            words: answer
            for words, answer in zip(hostile, answers, strict=True)
            if not isinstance(answer, Forbidden) or words not in str(answer)
        }
        assert wrong == {}
        await pullers_are_bound(acting)
        await acting.patch(JOBS, made["name"], {"spec": {"suspend": True}}, SPACE)
        await acting.delete(JOBS, made["name"], SPACE, uid=made["uid"])
        # Without the owner's ConfigMap nobody else is hindered, and what holds always still does.
        await owner.delete(CONFIG_MAPS, POLICY, ACCOUNTS)
        await owner.create(JOBS, own, "default", dry_run=True)
        with pytest.raises(Forbidden, match="node's network"):
            await acting.create(JOBS, job("late", hostNetwork=True), SPACE)


async def _in_force(acting: Client) -> None:
    """Wait until the API server judges by both policies: it takes a moment to see each of them."""
    elsewhere = job("never") | NOWHERE
    foreign = {"metadata": {"name": "other", "labels": LABELS}}
    probes: tuple[tuple[Resource, Fields, str | None, str], ...] = (
        (JOBS, elsewhere, "default", "centerNamespaces"),
        (NAMESPACES, foreign, None, "begin with huiju-"),
    )
    async with asyncio.timeout(PATIENCE):
        for res, body, space, words in probes:
            while True:
                try:
                    await acting.create(res, body, space, dry_run=True)
                except Forbidden as error:
                    if words in str(error):
                        break
                await asyncio.sleep(0.2)
