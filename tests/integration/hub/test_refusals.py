"""What a job is told before it waits, and what a center's owner may refuse."""

from __future__ import annotations

import asyncio
import time

import pytest

from huiju.kube.resources import COMPUTE_CENTERS
from lab import joining
from tests.integration.hub.harness import Fields, World, running
from tests.patience import PATIENCE


async def refused(world: World, name: str, reason: str, **spec: object) -> str:
    """Submit and return the message of the refusal."""
    await world.submit(name, **spec)
    status = await world.until_reason(name, reason)
    accepted: Fields = next(c for c in status["conditions"] if c["type"] == "Accepted")
    assert accepted["status"] == "False"
    assert accepted["message"] == status["message"]
    return str(status["message"])


async def test_an_unknown_queue_is_named_with_the_cure(world: World) -> None:
    async with running(world.hub):
        message = await refused(world, "lost", "UnknownQueue", queue="nowhere")
        assert "'nowhere'" in message
        assert "kubectl get computequeues" in message
        await joining.queue(world.client, "nowhere")
        await world.until_phase("lost", "Succeeded")


async def test_a_queue_keeps_other_namespaces_out(world: World) -> None:
    await joining.queue(world.client, "private", namespaces=["team-a"])
    async with running(world.hub):
        message = await refused(world, "stranger", "NamespaceNotAllowed", queue="private")
    assert "team-a" in message


async def test_a_template_that_no_server_takes_is_refused_in_the_servers_words(
    world: World,
) -> None:
    container = {"name": "train", "image": "i", "volumeMounts": [{"name": "x", "mountPath": "/x"}]}
    async with running(world.hub):
        message = await refused(
            world, "mount", "InvalidTemplate", template={"spec": {"containers": [container]}}
        )
    assert "volumeMounts" in message
    assert "Not found" in message


async def test_a_missing_secret_that_should_travel_is_named(world: World) -> None:
    async with running(world.hub):
        message = await refused(
            world, "carry", "CarriedObjectMissing", carry={"secrets": ["token"]}
        )
    assert "token" in message
    assert "spec.carry.secrets" in message


@pytest.mark.parametrize(
    ("sharing", "reason"),
    [
        ({"namespaces": ["only-me"]}, "SharingPolicy"),
        ({"maxSharePercent": 0}, "SharingLimit"),
        ({"imagePrefixes": ["registry.owner/"]}, "SharingPolicy"),
    ],
)
async def test_the_owner_says_what_the_federation_may_do(
    world: World, sharing: Fields, reason: str
) -> None:
    await world.client.patch(COMPUTE_CENTERS, "north", {"spec": {"sharing": sharing}})
    async with running(world.hub) as hub:
        await world.submit("guest", model="nvidia-h100-sxm")
        uid = (await world.job("guest"))["metadata"]["uid"]
        why = ""
        async with asyncio.timeout(PATIENCE):
            while why != reason:
                await asyncio.sleep(0.1)
                explained = hub.core.explain(uid, time.time())
                refusals = explained.trace.refusals if explained is not None else ()
                why = next((r.reason for r in refusals if r.center == "north"), "")
        assert (await world.status("guest")).get("placement") is None
        await world.client.patch(COMPUTE_CENTERS, "north", {"spec": {"sharing": None}})
        await world.until_phase("guest", "Succeeded")


async def test_kinds_that_the_owner_does_not_let_in_stay_out(world: World) -> None:
    await world.client.patch(COMPUTE_CENTERS, "north", {"spec": {"sharing": {"kinds": ["Secret"]}}})
    async with running(world.hub):
        await world.submit("pair", model="nvidia-h100-sxm", workers=2)
        await world.until("pair", lambda s: "brings a Service" in s.get("message", ""), seconds=30)
        await world.submit("alone", model="nvidia-h100-sxm")
        await world.until_phase("alone", "Succeeded")
        await world.client.patch(COMPUTE_CENTERS, "north", {"spec": {"sharing": None}})
        await world.until_phase("pair", "Succeeded")


async def until_ready(world: World, status: str) -> Fields:
    """The Ready condition of the center once it has this status."""

    def found(center: Fields) -> Fields:
        return next((c for c in center.get("conditions") or () if c["type"] == "Ready"), {})

    return found(await world.until_center("north", lambda c: found(c).get("status") == status))


@pytest.mark.parametrize(
    ("known", "field", "bad", "good"),
    [
        (True, "timeZone", "Asia/Shangai", "Asia/Shanghai"),
        (False, "timeZone", "Asia/Shangai", "Asia/Shanghai"),
        (True, "declaredDead", "2999-01-01T00:00:00Z", None),
    ],
)
async def test_a_center_with_a_spec_that_cannot_be_used_says_so(
    world: World, known: bool, field: str, bad: str, good: str | None
) -> None:
    """The schema knows neither all time zones nor what time it is."""
    wrong, right = ({"spec": {field: value}} for value in (bad, good))
    if not known:
        await world.client.patch(COMPUTE_CENTERS, "north", wrong)
    async with running(world.hub):
        await world.submit("wait", model="nvidia-h100-sxm", suspend=True)
        if known:
            await until_ready(world, "True")
            await world.client.patch(COMPUTE_CENTERS, "north", wrong)
        said = await until_ready(world, "False")
        assert said["reason"] == "InvalidSpec"
        assert f"spec.{field}" in said["message"]
        await world.edit("wait", suspend=False)
        status = await world.until("wait", lambda s: s.get("phase") == "Queued")
        assert status.get("placement") is None
        await world.client.patch(COMPUTE_CENTERS, "north", right)
        await until_ready(world, "True")
        await world.until_phase("wait", "Succeeded")


async def test_a_cordoned_center_takes_nothing_new(world: World) -> None:
    await world.client.patch(COMPUTE_CENTERS, "north", {"spec": {"cordoned": True}})
    async with running(world.hub):
        await world.submit("wait", model="nvidia-h100-sxm")
        status = await world.until(
            "wait", lambda s: s.get("phase") == "Queued" and "ordon" in s.get("message", "")
        )
        assert status.get("placement") is None
        await world.client.patch(COMPUTE_CENTERS, "north", {"spec": {"cordoned": False}})
        await world.until_phase("wait", "Succeeded")


async def test_a_job_with_automatic_failover_waits_for_a_center_that_can_guard_it(
    world: World,
) -> None:
    failover = {"policy": "Reschedule"}
    probe = {"exec": {"command": ["true"]}}
    container = {"name": "train", "image": "i", "livenessProbe": probe}
    async with running(world.hub):
        message = await refused(
            world,
            "asked-by-exec",
            "InvalidTemplate",
            failover=failover,
            template={"spec": {"containers": [container]}},
        )
        assert "spec.template.spec.containers[0].livenessProbe.exec" in message
        await world.submit("guarded", failover=failover)
        status = await world.until_reason("guarded", "GuardUnavailable")
        assert "no sentinel" in status["message"]
        await world.submit("plain", failover={"policy": "Ask"})
        await world.until_phase("plain", "Succeeded")
