"""`huiju policy`: what the owner of a center lets in, and what would become of jobs that come.

Reads the center (its policy, nodes, pods, classes) and changes nothing. Decides what is read and
how it is printed; `explain.py` decides what is said. Invariant: exit code 0 only if the policy can
be read and every alternative of every job that was given is let in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from pydantic import ValidationError

from huiju.agent.explain import Finding, Known, Units, judge, oddities, rows
from huiju.agent.policy import Policy, PolicyRefused, parse
from huiju.api.center import ComputeCenterSpec
from huiju.api.job import CrossRegionJob
from huiju.centers.agentrole import POLICY
from huiju.centers.inventory import CenterInventory
from huiju.centers.jobview import JobView
from huiju.centers.sensor import Sensor
from huiju.kube.client import Client
from huiju.kube.errors import Forbidden, KubeError, NotFound
from huiju.kube.resources import (
    CONFIG_MAPS,
    CROSS_REGION_JOBS,
    NAMESPACES,
    PRIORITY_CLASSES,
    Resource,
)

_PATIENCE: Final = 60.0
"""Seconds for reading the center."""
_NOBODY: Final = "00000000-0000-0000-0000-000000000000"
Fields = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    namespace: str
    """Huiju's own in the center."""
    policy: Path | None = None
    """A ConfigMap to judge by, in place of the one in the center."""
    jobs: tuple[Path, ...] = ()
    hub_id: str = _NOBODY[:8]
    guard_image: str = ""
    priority_class: str = ""
    """That the hub gives to pods here (`spec.sharing.priorityClassName`)."""


class Unanswerable(Exception):
    """The question cannot be answered; the message says why."""


async def explain_policy(client: Client, asked: Question, say: Say) -> int:
    """Answer; returns the exit code."""
    try:
        jobs = [job for path in asked.jobs for job in _jobs(path)]
        policy = await _policy(client, asked)
        async with asyncio.timeout(_PATIENCE):
            known = await _known(client)
    except (Unanswerable, PolicyRefused) as trouble:
        say(f"FAIL  {trouble}")
        return 1
    except (KubeError, TimeoutError) as error:
        say(f"FAIL  the center cannot be read: {error}")
        return 1
    _print_policy(policy, known, say)
    refused = False
    for job in jobs:
        findings = judge(policy, job, known, asked.hub_id, asked.guard_image, asked.priority_class)
        _print_job(job, findings, say)
        refused = refused or any(found.refusals for found in findings)
    return 1 if refused else 0


def _print_policy(policy: Policy, known: Known, say: Say) -> None:
    shown = list(rows(policy, known))
    width = max(len(key) for key, _ in shown)
    for key, what in shown:
        say(f"{key:{width}}  {what}")
    for odd in oddities(policy, known):
        say(f"note  {odd}")


def _print_job(job: JobView, findings: Sequence[Finding], say: Say) -> None:
    say("")
    say(f"job {job.metadata.namespace}/{job.metadata.name}")
    for found in findings:
        which = f"alternative {found.alternative + 1} ({found.model})"
        if not found.refusals:
            say(f"ok    {which}: let in")
        for refusal in found.refusals:
            say(f"FAIL  {which}: {refusal}")
        for remark in found.remarks:
            say(f"note  {which}: {remark}")


# --- what is read ---------------------------------------------------------------------------------


async def _policy(client: Client, asked: Question) -> Policy:
    if asked.policy is not None:
        found = _config_map(asked.policy)
    else:
        try:
            found = await client.get(CONFIG_MAPS, POLICY, asked.namespace)
        except NotFound:
            raise Unanswerable(
                f"there is no ConfigMap {POLICY} in namespace {asked.namespace}: nothing is let in;"
                " an empty one lets everything in but host paths and foreign namespaces"
            ) from None
    return parse(found.get("data") or {})


def _config_map(path: Path) -> Fields:
    found = [doc for doc in _documents(path) if doc.get("kind") == CONFIG_MAPS.kind]
    named = [doc for doc in found if (doc.get("metadata") or {}).get("name") == POLICY]
    if len(named) != 1:
        raise Unanswerable(f"{path}: there must be one ConfigMap {POLICY} in it")
    return named[0]


def _jobs(path: Path) -> list[JobView]:
    made = []
    for document in _documents(path):
        if document.get("kind") != CROSS_REGION_JOBS.kind:
            continue
        try:
            # As the API server stores it: with every default filled in.
            job = CrossRegionJob.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Unanswerable(f"{path}: {where}: {first['msg']}") from None
        fields = job.model_dump(by_alias=True, exclude_none=True, mode="json")
        meta = {"namespace": "default", **(document.get("metadata") or {}), "uid": _NOBODY}
        made.append(msgspec.convert({"metadata": meta, "spec": fields["spec"]}, JobView))
    if not made:
        raise Unanswerable(f"{path}: there is no {CROSS_REGION_JOBS.kind} in it")
    return made


def _documents(path: Path) -> list[Fields]:
    try:
        return [d for d in yaml.safe_load_all(path.read_bytes()) if isinstance(d, dict)]
    except OSError as error:
        raise Unanswerable(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise Unanswerable(f"{path}: cannot be read as YAML: {error}") from None


async def _known(client: Client) -> Known:
    inventory = await _sense(client)
    units: dict[str, Units] = {}
    resources: dict[str, str] = {}
    for (model, resource), tally in inventory.census().tallies.items():
        before = units.get(resource, Units(0, 0))
        units[resource] = Units(
            before.allocatable + tally.allocatable, before.federated + tally.federated
        )
        resources[model] = inventory.resource_of(model) or resource
    return Known(
        units,
        resources,
        await _names(client, NAMESPACES),
        await _names(client, PRIORITY_CLASSES),
    )


async def _sense(client: Client) -> CenterInventory:
    """The center's inventory as it is now."""
    told = {"connection": {"pull": {}}, "region": "here"}
    sensor = Sensor(client, ComputeCenterSpec.model_validate(told), lambda: None)
    sensing = asyncio.create_task(sensor.run())
    try:
        await asyncio.wait(
            {sensing, asyncio.ensure_future(sensor.synced.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )
        if sensing.done():
            sensing.result()
    finally:
        sensing.cancel()
        with suppress(asyncio.CancelledError):
            await sensing
    return sensor.inventory


async def _names(client: Client, res: Resource) -> frozenset[str] | None:
    """What there is of a kind; None where the account may not know, as the agent's own."""
    try:
        found = await client.list_all(res)
    except Forbidden:
        return None
    return frozenset(str(item["metadata"]["name"]) for item in found.items)
