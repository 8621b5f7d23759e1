"""What must hold after a storm, once it is calm.

Decides what is a violation; each is one sentence. Invariant: nothing is judged by what Huiju says
of itself alone: the objects in the clusters and the record of pods are held against it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from huiju.api.reasons import Reason
from huiju.centers.mailbox import mailbox_of
from huiju.hub.settings import ANNOTATION_ALLOW_ORPHAN_REMOVAL
from huiju.kube.resources import (
    CENTER_WORKS,
    COMPUTE_CENTERS,
    CONFIG_MAPS,
    CROSS_REGION_JOBS,
    EVENTS,
    JOBS,
    PODS,
    SECRETS,
    SERVICES,
    Resource,
)
from tests.chaos.federation import NAMESPACE, Federation
from tests.chaos.load import ENDS, WORD, Order
from tests.chaos.plan import CENTERS, PULL
from tests.chaos.users import stubbornly

_OURS: Final[tuple[Resource, ...]] = (JOBS, SERVICES, CONFIG_MAPS, SECRETS)
_HUB: Final = "huiju.dev/hub"
_ASKED: Final = re.compile(f"{re.escape(ANNOTATION_ALLOW_ORPHAN_REMOVAL)}=(\\w+)")
Fields = dict[str, Any]


async def settle(
    made: Federation, orders: Iterable[Order], wiped: Container[str], seconds: float
) -> list[str]:
    """Wait until every job has its right end; tell of those that have not.

    A job of a center that was `wiped` may wait for the word of a person, and says so.
    """
    wanted = {order.name: ENDS[order.course] for order in orders}
    wrong: list[str] = []
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        found = await stubbornly(lambda: made.user.list_all(CROSS_REGION_JOBS, NAMESPACE))
        jobs = {job["metadata"]["name"]: job for job in found.items}
        wrong = [told for name, ends in wanted.items() if (told := _wrong(name, ends, jobs, wiped))]
        if not wrong:
            return []
        await asyncio.sleep(0.5)
    return wrong


def _wrong(
    name: str, ends: frozenset[str], jobs: Mapping[str, Fields], wiped: Container[str]
) -> str:
    job = jobs.get(name)
    if job is None:
        return "" if not ends else f"job {name} is gone; it must end {_either(ends)}"
    status = job.get("status") or {}
    if not ends:
        return f"job {name} must be gone, is {_short(status)}"
    if status.get("phase") in ends or _waits_for_a_person(status, wiped):
        return ""
    return f"job {name} must end {_either(ends)}, is {_short(status)}"


def _waits_for_a_person(status: Mapping[str, Any], wiped: Container[str]) -> bool:
    place = status.get("placement") or {}
    return status.get("reason") == Reason.CENTER_DELETED and place.get("center") in wiped


async def failovers(made: Federation) -> int:
    """How often jobs have left lost centers."""
    jobs = (await made.user.list_all(CROSS_REGION_JOBS, NAMESPACE)).items
    return sum((job.get("status") or {}).get("failovers", 0) for job in jobs)


def _either(ends: frozenset[str]) -> str:
    return " or ".join(sorted(ends))


def _short(status: Mapping[str, Any]) -> str:
    known = {key: status.get(key) for key in ("phase", "reason", "message", "epoch", "placement")}
    return json.dumps({key: value for key, value in known.items() if value})


async def truthful(made: Federation) -> list[str]:
    """Every job that says where it ended did so there: its workload or a later one is known."""
    wrong = []
    for job in (await made.user.list_all(CROSS_REGION_JOBS, NAMESPACE)).items:
        status = job.get("status") or {}
        if status.get("phase") != "Succeeded":
            continue
        place = status.get("placement") or {}
        uid, epoch = job["metadata"]["uid"], place.get("epoch")
        client = made.clients[place["center"]]
        label = f"huiju.dev/job-uid={uid},huiju.dev/epoch={epoch}"
        workloads = (await client.list_all(JOBS, labels=label)).items
        if not all(one.get("status", {}).get("succeeded") for one in workloads):
            wrong.append(f"job {job['metadata']['name']} Succeeded, its workload did not")
    return wrong


async def secrets_kept(made: Federation) -> list[str]:
    """The word of the carried Secret is in Secrets alone: no object, event or log has it."""
    wrong = []
    for name, client in made.clients.items():
        for kind in (CROSS_REGION_JOBS, JOBS, PODS, CONFIG_MAPS, EVENTS):
            if name != "hub" and kind is CROSS_REGION_JOBS:
                continue
            page = await client.list_all(kind)
            if WORD in json.dumps(page.items):
                wrong.append(f"a {kind.kind} of {name} holds a Secret's word")
    logs = [log for log in made.folder.glob("*.log") if WORD in log.read_text(errors="replace")]
    return wrong + [f"{log.name} holds a Secret's word" for log in logs]


async def nothing_left(made: Federation, seconds: float) -> list[str]:
    """Once all jobs are deleted, nothing that was made for them stays anywhere.

    Where the hub dies before it removed them all, the next one finds more orphans than it removes
    unasked. It asks in the ComputeCenter's conditions, and is answered as operators would.
    """
    await stubbornly(lambda: made.user.raw("DELETE", CROSS_REGION_JOBS.path(NAMESPACE)))
    left: list[str] = []
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        left = [one for center in CENTERS for one in await _left(made, center)]
        left += await _in_mailbox(made)
        jobs = (await made.user.list_all(CROSS_REGION_JOBS, NAMESPACE)).items
        left += [f"job {job['metadata']['name']} stays on the hub" for job in jobs]
        if not left:
            return []
        await _consent(made)
        await asyncio.sleep(0.5)
    return left


async def _consent(made: Federation) -> None:
    for center in (await made.user.list_all(COMPUTE_CENTERS)).items:
        for condition in (center.get("status") or {}).get("conditions") or ():
            asked = _ASKED.search(condition.get("message", ""))
            if condition.get("reason") == Reason.MASS_ORPHANS and asked:
                notes = {"metadata": {"annotations": {ANNOTATION_ALLOW_ORPHAN_REMOVAL: asked[1]}}}
                await made.user.patch(COMPUTE_CENTERS, center["metadata"]["name"], notes)


async def _left(made: Federation, center: str) -> list[str]:
    client = made.clients[center]
    return [
        f"{kind.kind} {one['metadata']['name']} is left in {center}"
        for kind in _OURS
        for one in (await client.list_all(kind, labels=_HUB)).items
    ]


async def _in_mailbox(made: Federation) -> list[str]:
    """Wishes of the hub for the pull center, and what travels with them."""
    space = mailbox_of(PULL)
    found = [(CENTER_WORKS, one) for one in (await made.user.list_all(CENTER_WORKS, space)).items]
    for kind in (SECRETS, CONFIG_MAPS):
        for one in (await made.user.list_all(kind, space)).items:
            owners = one["metadata"].get("ownerReferences") or ()
            if any(owner["kind"] == CENTER_WORKS.kind for owner in owners):
                found.append((kind, one))
    return [f"{kind.kind} {one['metadata']['name']} is left in {space}" for kind, one in found]


def crashes(logs: Iterable[Path]) -> list[str]:
    """Programs told of no bug of their own."""
    return [
        f"{log.name}: {line}"
        for log in logs
        for line in log.read_text(errors="replace").splitlines()
        if " ERROR   huiju." in line or "Unclosed" in line or "never retrieved" in line
    ][:10]
