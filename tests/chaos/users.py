"""The users of a storm: they submit, cancel, pause, move and delete, and try again when refused.

Decides nothing but patience. Invariant: what a user did was done once the hub's API server said so;
an order that could not be carried out is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from huiju.kube.client import Client
from huiju.kube.errors import AlreadyExists, KubeError, NotFound
from huiju.kube.resources import CROSS_REGION_JOBS
from tests.chaos.federation import NAMESPACE
from tests.chaos.load import Course, Order, body

_PAUSE: Final = 0.5
_PATIENCE: Final = 90.0
_FINISHED: Final = ("Succeeded", "Failed", "Cancelled")
_ACTED_ON: Final = (Course.CANCEL, Course.DELETE, Course.PAUSE, Course.MOVE)
T = TypeVar("T")


async def play(
    orders: list[Order], client: Client, lake: Path, started: float, seconds: float
) -> None:
    """Carry out all orders from the loop's time `started` on.

    After so many seconds users wait for nothing any more, and act.
    """
    async with asyncio.TaskGroup() as group:
        for order in orders:
            group.create_task(_play(order, client, lake, started, started + seconds))


async def _play(order: Order, client: Client, lake: Path, started: float, end: float) -> None:
    await asyncio.sleep(max(0.0, started + order.at - asyncio.get_running_loop().time()))
    await stubbornly(lambda: _submit(body(order, NAMESPACE, lake), client))
    if order.course is Course.TIDY:
        await _until(order, client, end, *_FINISHED)
    elif order.course in _ACTED_ON and order.once_running:
        await _until(order, client, end, "Running", *_FINISHED)
    else:
        await asyncio.sleep(order.act_after)
    await stubbornly(lambda: _act(order, client))


async def _until(order: Order, client: Client, end: float, *phases: str) -> None:
    while asyncio.get_running_loop().time() < end:
        job = await stubbornly(lambda: client.get(CROSS_REGION_JOBS, order.name, NAMESPACE))
        if (job.get("status") or {}).get("phase") in phases:
            return
        await asyncio.sleep(_PAUSE)


async def _submit(job: dict[str, Any], client: Client) -> None:
    with suppress(AlreadyExists):
        await client.create(CROSS_REGION_JOBS, job, NAMESPACE)


async def _act(order: Order, client: Client) -> None:
    async def change(**spec: Any) -> None:
        await client.patch(CROSS_REGION_JOBS, order.name, {"spec": spec}, NAMESPACE)

    match order.course:
        case Course.RUN | Course.FAIL | Course.RETRY | Course.GUARD:
            return
        case Course.CANCEL:
            await change(cancel=True)
        case Course.DELETE | Course.TIDY:
            with suppress(NotFound):
                await client.delete(CROSS_REGION_JOBS, order.name, NAMESPACE)
        case Course.PAUSE:
            await change(suspend=True)
            await asyncio.sleep(2.0)
            await stubbornly(lambda: change(suspend=False))
        case Course.MOVE:
            job = await client.get(CROSS_REGION_JOBS, order.name, NAMESPACE)
            epoch = (job.get("status", {}).get("placement") or {}).get("epoch")
            if epoch is not None:
                await change(moveFromEpoch=epoch)


async def stubbornly(work: Callable[[], Awaitable[T]]) -> T:
    """Do it again and again until the API server takes it."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                return await work()
            except (KubeError, TimeoutError):
                await asyncio.sleep(_PAUSE)
